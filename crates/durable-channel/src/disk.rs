//! The seam to the file system: the few operations that the engine needs, so that a simulated disk can lose
//! pages, run full and fail syncs under it.
//!
//! What the engine assumes of it: a rename within a directory is atomic; what [`DiskFile::sync`] and
//! [`Disk::sync_dir`] returned for is durable; after a failed sync nothing is known about what was written.

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file system.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents where they are missing.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// What a directory holds; names that are not UTF-8 are none of ours and left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file or directory, replacing a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens a directory, so that its names can be made durable later without a descriptor for it.
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn OpenDir>>;
    /// What is free for us on the disk that holds `dir`.
    fn free(&self, dir: &Path) -> io::Result<Free>;
    /// Locks a directory against other processes until the answer is dropped; `None` if another has it.
    fn lock(&self, dir: &Path) -> io::Result<Option<Lock>>;
}

/// An open directory.
pub trait OpenDir: Send + Sync {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file. All offsets are absolute, so that readers and the writer share nothing.
pub trait DiskFile: Send + Sync {
    /// Reads some bytes; 0 only at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some bytes, possibly fewer than given.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes everything written durable, with the metadata needed to read it.
    fn sync(&self) -> io::Result<()>;
    /// Allocates the file's first `bytes` on the disk, as zeros where nothing was.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// The file's size.
    fn size(&self) -> io::Result<u64>;
}

/// What is free for us on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Bytes.
    pub bytes: u64,
    /// Inodes: how many files can be made. Without a limit where the file system has none.
    pub inodes: u64,
}

/// Held as long as a directory is locked.
pub type Lock = Box<dyn Any + Send + Sync>;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, or an old one emptied, to read and write.
    Create,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// The size of a file.
    pub bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

struct OsDir(File);

/// The file in a directory that is locked beside it.
pub(crate) const LOCK_FILE: &str = "lock";

/// The most slices that one `pwritev` takes.
const MAX_SLICES: usize = 1024;

/// Reads until `bytes` is full or the file ends; returns how much that was.
pub fn read_full(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `slices`, one system call if the system takes them at once.
pub(crate) fn write_all(
    file: &dyn DiskFile,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_at(slices, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                offset += written as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`.
pub fn write_piece(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all(file, &mut [IoSlice::new(bytes)], offset)
}

/// Whether something has run out that comes free again, so that nothing has failed and waiting can help: room on the
/// disk (bytes, inodes, our share of it), or file descriptors.
pub fn is_short(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) || is_out_of_descriptors(error)
}

/// Whether this process, or the whole system, has as many files open as it may.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

// === impl OsDisk ===

impl Disk for OsDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = entry.metadata()?;
            entries.push(Entry { name, bytes: metadata.len(), is_dir: metadata.is_dir() });
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            Mode::Read => &mut options,
            Mode::Write => options.write(true),
            Mode::Create => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn OpenDir>> {
        Ok(Arc::new(OsDir(File::open(dir)?)))
    }

    fn free(&self, dir: &Path) -> io::Result<Free> {
        let status = rustix::fs::statvfs(dir)?;
        // A file system that makes inodes as it needs them says that it has none at all.
        let inodes = if status.f_files == 0 { u64::MAX } else { status.f_favail };
        Ok(Free { bytes: status.f_bavail.saturating_mul(status.f_frsize), inodes })
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Lock>> {
        // The directory itself: whoever deletes a file in it does not let a second process in.
        let dir_lock = match try_lock(File::open(dir)?) {
            Ok(None) => return Ok(None),
            Ok(locked) => locked,
            // Some network file systems lock files alone.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        // Programs from before directories were locked look at this file alone.
        let file_lock = match lock_file(&dir.join(LOCK_FILE)) {
            Ok(None) => return Ok(None),
            Ok(locked) => locked,
            // A directory that cannot be written can be looked at all the same.
            Err(_) if dir_lock.is_some() => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Box::new((dir_lock, file_lock))))
    }
}

impl OpenDir for OsDir {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn lock_file(path: &Path) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).open(path)?
        }
        opened => opened?,
    };
    try_lock(file)
}

/// The file, locked; `None` if somebody else has it.
fn try_lock(file: File) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl DiskFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, &slices[..slices.len().min(MAX_SLICES)], offset)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        slices.first().map_or(Ok(0), |slice| FileExt::write_at(self, slice, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(self, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, bytes),
            result => Ok(result?),
        }
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// What `allocate` comes to on a file system that cannot: real zeros behind what is there.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut offset = file.metadata()?.len();
    while offset < bytes {
        let piece = (bytes - offset).min(zeros.len() as u64);
        write_piece(file, &zeros[..piece as usize], offset)?;
        offset += piece;
    }
    Ok(())
}
