//! What the handle, the writer and the readers of one open channel share.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::batch::Pool;
use crate::error::{AppendError, ChannelFailure};
use crate::queue::Queue;
use crate::segment::Log;

/// Called at each progress.
pub(crate) type Hook = Box<dyn Fn() + Send + Sync>;

/// Whoever waits for progress of a channel.
#[derive(Default)]
pub(crate) struct Hooks(RwLock<Vec<Hook>>);

/// One open durable channel.
pub(crate) struct Shared {
    pub(crate) log: Log,
    pub(crate) queue: Queue,
    pub(crate) pool: Arc<Pool>,
    pub(crate) hooks: Hooks,
    failure: OnceLock<Arc<ChannelFailure>>,
}

// === impl Hooks ===

impl Hooks {
    pub(crate) fn add(&self, hook: Hook) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    pub(crate) fn call(&self) {
        for hook in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            hook();
        }
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(log: Log, queue: Queue, pool: Arc<Pool>) -> Self {
        Self { log, queue, pool, hooks: Hooks::default(), failure: OnceLock::new() }
    }

    pub(crate) fn failure(&self) -> Option<Arc<ChannelFailure>> {
        self.failure.get().cloned()
    }

    /// Ends the channel for good: the first failure counts.
    pub(crate) fn fail(&self, operation: String, source: io::Error) {
        // A later failure is a consequence of the first one.
        let _ = self.failure.set(Arc::new(ChannelFailure { operation, source }));
        self.queue.fail();
        self.hooks.call();
    }

    /// Why a closed queue takes nothing: the failure that closed it, if one did.
    pub(crate) fn explained(&self, error: AppendError) -> AppendError {
        match (error, self.failure()) {
            (AppendError::Closed, Some(failure)) => AppendError::Poisoned(failure),
            (error, _) => error,
        }
    }

    pub(crate) fn progress(&self) {
        self.hooks.call();
    }
}
