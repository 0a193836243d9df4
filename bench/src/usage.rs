//! What a process and the machine have used, read from `/proc`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

/// What a process has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Peak resident memory (VmHWM) in bytes.
    pub(crate) peak_bytes: u64,
}

/// Samples a process's anonymous memory until it is asked for the peak.
pub(crate) struct AnonymousPeak {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// What the process `pid` has used.
pub(crate) fn of_process(pid: u32) -> anyhow::Result<Usage> {
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let stat = std::fs::read_to_string(dir.join("stat"))?;
    // The command's name may hold blanks: count from the parenthesis that closes it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("reading stat")?.1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Usage { cpu: time_of(ticks), peak_bytes: status_kib(pid, "VmHWM:").context("reading VmHWM")? << 10 })
}

/// Time that the whole machine was not idle: of all its cores together.
pub(crate) fn of_machine() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().context("reading /proc/stat")?.split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    Ok(time_of(ticks.iter().take(8).sum::<u64>() - ticks[3] - ticks[4]))
}

fn time_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}

fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().trim_end_matches("kB").trim().parse().ok()
}

// === impl AnonymousPeak ===

impl AnonymousPeak {
    /// Begins to sample.
    pub(crate) fn of(pid: u32) -> Self {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let sampler = std::thread::spawn({
            let (peak, stop) = (Arc::clone(&peak), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let kib = status_kib(pid, "RssAnon:").unwrap_or_default();
                    peak.fetch_max(kib << 10, Ordering::Relaxed);
                    std::thread::sleep(SAMPLE_EVERY);
                }
            }
        });
        Self { peak, stop, sampler: Some(sampler) }
    }

    /// The most that was seen, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for AnonymousPeak {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            let _ = sampler.join();
        }
    }
}
