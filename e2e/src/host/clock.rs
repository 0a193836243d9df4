//! A wall clock that is set while programs run.

use std::path::{Path, PathBuf};

use crate::process::Program;

/// A wall clock that can be set while programs run; what measures time goes on evenly.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// The clock of the programs that are [given](Self::give) it; the reason if there is none here.
    pub fn new(offset: &Path) -> Result<Self, String> {
        let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
        let libraries = folders.map(|folder| Path::new(folder).join("faketime/libfaketime.so.1"));
        let library = libraries.into_iter().find(|library| library.exists());
        let clock = Self { library: library.ok_or("libfaketime is missing")?, offset: offset.to_owned() };
        clock.set(0);
        Ok(clock)
    }

    /// The program will go by this clock.
    pub fn give(&self, program: &mut Program) {
        program.env.extend([
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
        ]);
    }

    /// Sets it to so many seconds beside the true time.
    pub fn set(&self, seconds: i64) {
        let new = self.offset.with_extension("new");
        let written = std::fs::write(&new, format!("{seconds:+}\n"));
        written.and_then(|()| std::fs::rename(&new, &self.offset)).expect("the offset can be written");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // Whoever is killed leaves its library's shared memory behind, named after its process.
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.rsplit('_').next().filter(|_| name.contains("faketime_s"));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}
