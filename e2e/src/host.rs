//! What a test may need of the machine beside the programs: a small disk of its own, and a clock
//! that is set. Both are looked for first; where one is missing, whoever wants it says NOT RUN.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use crate::process::Program;

/// A file system in memory, of a size of its own; gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl SmallDisk {
    /// Mounts one; the reason if that is not allowed here.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self, String> {
        Self::mount_as(path, &format!("size={bytes}"))
    }

    /// As [`mount`](Self::mount), with room for so many files and folders.
    pub fn mount_with_inodes(path: &Path, bytes: u64, inodes: u64) -> Result<Self, String> {
        Self::mount_as(path, &format!("size={bytes},nr_inodes={inodes}"))
    }

    fn mount_as(path: &Path, options: &str) -> Result<Self, String> {
        std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path);
        let output = mount.output().map_err(|error| format!("starting mount: {error}"))?;
        if output.status.success() {
            Ok(Self { path: path.to_owned() })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Takes all the room that is left, until the ballast is dropped.
    pub fn fill(&self) -> Ballast {
        let path = self.path.join("ballast");
        let file = File::options().create(true).append(true).open(&path).expect("a file can be made");
        let mut held = 0;
        loop {
            let state = statvfs(&self.path).expect("the disk is mounted");
            let free = state.f_bavail * state.f_frsize;
            match fallocate(&file, FallocateFlags::empty(), held, free.max(1)) {
                Ok(()) => held += free.max(1),
                // Somebody else has taken some of it meanwhile, or all of it.
                Err(Errno::NOSPC) if free > 0 => {}
                Err(Errno::NOSPC) => return Ballast { path },
                Err(error) => panic!("filling {}: {error}", path.display()),
            }
        }
    }
}

impl SmallDisk {
    /// Takes all the inodes that are left, until the ballast is dropped.
    pub fn fill_inodes(&self) -> Ballast {
        let path = self.path.join("ballast");
        std::fs::create_dir(&path).expect("a folder can be made");
        for number in 0.. {
            match File::create_new(path.join(number.to_string())) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ballast { path },
                Err(error) => panic!("filling {}: {error}", path.display()),
            }
        }
        unreachable!("inodes end before numbers do")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a program that was just killed may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// What fills a disk; the room is free again when dropped.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path).or_else(|_| std::fs::remove_dir_all(&self.path));
    }
}

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
