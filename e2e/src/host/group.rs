//! A control group of its own: what its members may take of the machine, all together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Program;

/// What a whole period of the scheduler has, in microseconds.
const PERIOD_US: u64 = 100_000;

/// A control group, of version 1 or 2; removed when dropped.
#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
    first: bool,
}

impl Group {
    /// One whose members have so many bytes of memory, and are killed beyond that.
    pub fn of_memory(bytes: u64) -> Result<Self, String> {
        let group = Self::make("memory")?;
        group.set(if group.first { "memory.limit_in_bytes" } else { "memory.max" }, &bytes.to_string())?;
        Ok(group)
    }

    /// One whose members have all processors, until they are given [less](Self::processors).
    pub fn of_processors() -> Result<Self, String> {
        let group = Self::make("cpu")?;
        group.processors(None)?;
        Ok(group)
    }

    /// So much of one processor in a thousand for all members together; `None` for all there is.
    pub fn processors(&self, per_mille: Option<u64>) -> Result<(), String> {
        let quota = per_mille.map(|share| PERIOD_US * share / 1000);
        if self.first {
            let quota = quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
            self.set("cpu.cfs_quota_us", &quota)
        } else {
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            self.set("cpu.max", &format!("{quota} {PERIOD_US}"))
        }
    }

    /// The program, started as a member of the group.
    pub fn member(&self, program: &Program) -> Program {
        let join = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.folder.display());
        program.under(["sh", "-c", &join, "sh"])
    }

    fn make(controller: &str) -> Result<Self, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = Path::new("/sys/fs/cgroup");
        let first = root.join(controller).is_dir();
        let root = if first { root.join(controller) } else { root.to_owned() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = root.join(format!("sluicegate-e2e-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder, first })
    }

    fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let file = self.folder.join(name);
        std::fs::write(&file, value).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last member may still be on its way out.
        for _ in 0..200 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
