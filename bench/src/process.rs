//! Children of a run: started, found by the address in their ready file, measured, killed.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::usage::{self, Usage};

/// A child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) ready: Value,
}

/// A Java virtual machine may need some of it.
const READY_WITHIN: Duration = Duration::from_secs(30);

impl Process {
    /// Starts `command` and waits for the JSON that it writes to `ready_file`.
    pub(crate) fn start(command: &mut Command, ready_file: &Path) -> anyhow::Result<Self> {
        // One that an earlier process left would name its addresses.
        let _ = std::fs::remove_file(ready_file);
        Self::when(command, || {
            let text = std::fs::read_to_string(ready_file).unwrap_or_default();
            serde_json::from_str(&text).ok()
        })
    }

    /// Starts `command` and waits until somebody listens on `addr`.
    pub(crate) fn listening(command: &mut Command, addr: SocketAddr) -> anyhow::Result<Self> {
        Self::when(command, || TcpStream::connect(addr).ok().map(|_| Value::Null))
    }

    /// Starts `command` and waits until it is `ready`.
    fn when(command: &mut Command, ready: impl Fn() -> Option<Value>) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {command:?}"))?;
        // Killed when it is dropped, so also where this fails.
        let mut process = Self { child, ready: Value::Null };
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = process.child.try_wait()? {
                bail!("{command:?} ended with {status} before it was ready");
            }
            if let Some(ready) = ready() {
                process.ready = ready;
                return Ok(process);
            }
            ensure!(Instant::now() < deadline, "{command:?} was not ready within {READY_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address that stands at `pointer` (RFC 6901) of the ready file.
    pub(crate) fn addr(&self, pointer: &str) -> anyhow::Result<SocketAddr> {
        let value = self.ready.pointer(pointer).and_then(Value::as_str);
        value
            .with_context(|| format!("no {pointer} in {}", self.ready))?
            .parse()
            .context("parsing an address")
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        usage::of_process(self.child.id())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `{"addr": ...}` to a child's own ready file, whole or not at all.
pub(crate) fn announce(ready_file: &Path, addr: SocketAddr) -> anyhow::Result<()> {
    let temporary = ready_file.with_extension("new");
    std::fs::write(&temporary, serde_json::json!({ "addr": addr }).to_string())?;
    Ok(std::fs::rename(temporary, ready_file)?)
}
