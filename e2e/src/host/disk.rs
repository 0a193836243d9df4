//! A small disk: full in bytes, full in files, or read-only.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// A file system in memory, of a size of its own; gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Where it is mounted.
    pub path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many bytes; the reason if that is not allowed here.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self, String> {
        Self::mount_with_inodes(path, bytes, 2000)
    }

    /// As [`mount`](Self::mount), with room for so many files and folders.
    pub fn mount_with_inodes(path: &Path, bytes: u64, inodes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
        mount(&format!("size={bytes},nr_inodes={inodes}"), path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Lets nobody write to it any more; the reason if somebody still has a file open to write.
    pub fn read_only(&self) -> Result<(), String> {
        mount("remount,ro", &self.path)
    }

    /// As it was before [`read_only`](Self::read_only).
    pub fn writable(&self) -> Result<(), String> {
        mount("remount,rw", &self.path)
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

    /// Takes all the inodes that are left, and none of the bytes, until the ballast is dropped.
    pub fn fill_inodes(&self) -> Ballast {
        let path = self.path.join("files");
        // Without this one there is none to be had, and nothing to be given back.
        let made = std::fs::create_dir(&path);
        let mut files = 0..;
        while made.is_ok() && File::create(path.join(files.next().expect("no end").to_string())).is_ok() {}
        Ballast { path }
    }
}

/// Mounts a file system in memory, with these options.
fn mount(options: &str, path: &Path) -> Result<(), String> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path);
    let output = mount.output().map_err(|error| format!("starting mount: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
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
        let _ = if self.path.is_dir() {
            std::fs::remove_dir_all(&self.path)
        } else {
            std::fs::remove_file(&self.path)
        };
    }
}
