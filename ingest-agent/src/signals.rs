//! Signals: the first SIGTERM or SIGINT stops the agent in order, the second ends it at once, SIGUSR1 flushes.

use std::io;
use std::time::Duration;

use contract::exit;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::flush::Flusher;

/// The signals that ask a process to end.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

// === impl StopSignals ===

impl StopSignals {
    /// Takes both signals over from now on.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Completes at the first signal. From then on a further one ends the process at once: nothing that was
    /// acknowledged is lost by that, the next start goes on.
    pub async fn stop(mut self) {
        self.next().await;
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("ending at once, at the second signal");
            std::process::exit(i32::from(exit::KILLED));
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Flushes at each SIGUSR1 and logs what came of it; for ever.
pub async fn flush_on_usr1(mut signals: Signal, flusher: Flusher, timeout: Duration) {
    while signals.recv().await.is_some() {
        let flushed = flusher.flush(timeout).await;
        let (complete, objects, late) = (flushed.complete, flushed.keys.len(), flushed.late.join(", "));
        for key in flushed.keys {
            tracing::debug!(key, "stored before the end of the flush");
        }
        tracing::info!(complete, objects, late, "flushed at SIGUSR1");
    }
}

/// Takes SIGUSR1 over from now on.
pub fn usr1() -> io::Result<Signal> {
    signal(SignalKind::user_defined1())
}
