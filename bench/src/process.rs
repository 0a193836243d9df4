//! Children of a run: started, found by the address in their ready file, measured, killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// A child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) ready: Value,
}

/// What a process has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Peak resident memory (VmHWM) in bytes.
    pub(crate) peak_bytes: u64,
}

impl Process {
    /// Starts `command` and waits for the JSON that it writes to `ready_file`.
    pub(crate) fn start(command: &mut Command, ready_file: &Path) -> anyhow::Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("starting {command:?}"))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = std::fs::read_to_string(ready_file).unwrap_or_default();
            if let Ok(ready) = serde_json::from_str(&text) {
                return Ok(Self { child, ready });
            }
            if let Some(status) = child.try_wait()? {
                bail!("{command:?} ended with {status} before it was ready");
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                bail!("{command:?} was not ready within 20 s");
            }
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

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let dir = PathBuf::from(format!("/proc/{}", self.child.id()));
        let stat = std::fs::read_to_string(dir.join("stat"))?;
        // The command's name may hold blanks: count from the parenthesis that closes it.
        let fields: Vec<&str> = stat.rsplit_once(')').context("reading stat")?.1.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let status = std::fs::read_to_string(dir.join("status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("reading VmHWM")?;
        let peak_kib: u64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Usage { cpu: Duration::from_millis(ticks * 1000 / per_second), peak_bytes: peak_kib << 10 })
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
