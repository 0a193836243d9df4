//! Cores of their own for what is measured, where load on the same ones would take what is to be seen.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use, in two halves.
pub(crate) struct Cores {
    all: CpuSet,
    measured: CpuSet,
    others: CpuSet,
}

impl Cores {
    /// Half of them for what is measured; this thread and what it starts are on the other. A single core is both.
    pub(crate) fn halved() -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        let (mut measured, mut others) = (CpuSet::new(), CpuSet::new());
        for (nth, core) in (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core)).enumerate() {
            let half = if nth < all.count().div_ceil(2) as usize { &mut measured } else { &mut others };
            half.set(core);
        }
        let others = if others.count() == 0 { measured } else { others };
        sched_setaffinity(None, &others)?;
        Ok(Self { all, measured, others })
    }

    /// Starts what is measured.
    pub(crate) fn start<T>(&self, start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        sched_setaffinity(None, &self.measured)?;
        let started = start();
        sched_setaffinity(None, &self.others)?;
        started
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // What comes after is measured on all of them again; where that fails, the kernel has taken cores away.
        let _ = sched_setaffinity(None, &self.all);
    }
}
