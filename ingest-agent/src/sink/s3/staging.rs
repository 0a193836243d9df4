//! The staging log: encoded bytes of open and sealed cuts, in a few large files beside the sink's journal.
//!
//! Extents of all partitions lie one after the other in the order in which they were written. Each file counts the
//! bytes in it that a cut still needs; at zero it is deleted. A file that an earlier run wrote is never appended to,
//! and a number is never used again while a cut refers to it.
//!
//! Staging is a second copy: every position in it is still in the channel until its object is confirmed. So what no
//! sealed cut holds is dropped at start, and lost staging is made again from the channel. Where the disk is full or
//! descriptors are used up (or the channel lives in memory) a file lies in memory; its bytes do not survive a crash, which costs nothing but
//! the work of making them again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use durable_channel::disk::{self, Disk, DiskFile, Mode};

use super::cut::Extent;

/// The staging log of one sink.
pub(crate) struct Staging {
    disk: Arc<dyn Disk>,
    dir: Option<PathBuf>,
    file_bytes: u64,
    files: BTreeMap<u64, LogFile>,
    /// The file that is written to; always the one with the highest number.
    current: Option<u64>,
    next: u64,
    used: u64,
}

/// Where extents of one file can be read, also after the log has deleted it.
#[derive(Clone)]
pub(crate) struct Bytes {
    backing: Arc<Backing>,
}

struct LogFile {
    backing: Arc<Backing>,
    length: u64,
    live: u64,
    dirty: bool,
}

enum Backing {
    Disk(Arc<dyn DiskFile>),
    Memory(RwLock<Vec<u8>>),
}

const PREFIX: &str = "staging-";

impl Staging {
    /// Opens the log in `dir` (`None`: in memory) and deletes what none of `needed` refers to.
    ///
    /// A file is closed once it holds `file_bytes`.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: Option<&Path>,
        file_bytes: u64,
        needed: impl IntoIterator<Item = Extent>,
    ) -> io::Result<Self> {
        let mut live: BTreeMap<u64, u64> = BTreeMap::new();
        for extent in needed {
            *live.entry(extent.file).or_default() += extent.length;
        }
        let mut staging = Self {
            disk: Arc::clone(disk),
            dir: dir.map(Path::to_owned),
            file_bytes,
            files: BTreeMap::new(),
            current: None,
            next: live.keys().next_back().map_or(1, |last| last + 1),
            used: 0,
        };
        let Some(dir) = dir else { return Ok(staging) };
        for entry in disk.list(dir)? {
            let Some(number) = number_of(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            staging.next = staging.next.max(number + 1);
            match live.get(&number) {
                None => disk.remove(&path)?,
                Some(&live) => {
                    let (file, length) = (disk.open(&path, Mode::Read)?, entry.bytes);
                    let backing = Arc::new(Backing::Disk(file));
                    staging.used += length;
                    staging.files.insert(number, LogFile { backing, length, live, dirty: false });
                }
            }
        }
        Ok(staging)
    }

    /// Appends `bytes`, which are not empty. Not synced.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<Extent> {
        let length = bytes.len() as u64;
        loop {
            let number = match self.current {
                Some(number) if self.files[&number].length < self.file_bytes => number,
                _ => self.begin_file(false)?,
            };
            let file = self.files.get_mut(&number).expect("the current file is there");
            match file.backing.write_all_at(bytes, file.length) {
                Err(error) if disk::is_short(&error) => {
                    tracing::warn!(%error, "no room on the disk for staging; going on in memory until some is shipped");
                    self.begin_file(true)?;
                }
                written => {
                    written?;
                    let extent = Extent { file: number, offset: file.length, length };
                    file.length += length;
                    file.live += length;
                    file.dirty = true;
                    self.used += length;
                    return Ok(extent);
                }
            }
        }
    }

    /// Syncs everything that was appended, except what lies in memory.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        for file in self.files.values_mut().filter(|file| file.dirty) {
            if let Backing::Disk(disk) = &*file.backing {
                disk.sync()?;
            }
            file.dirty = false;
        }
        Ok(())
    }

    /// The file of `extent` for reading; `None` if it is lost.
    pub(crate) fn open_extent(&self, extent: &Extent) -> Option<Bytes> {
        let file = self.files.get(&extent.file)?;
        let there = extent.offset.checked_add(extent.length)? <= file.length;
        there.then(|| Bytes { backing: Arc::clone(&file.backing) })
    }

    /// Gives extents up; a file that nobody needs any more is deleted.
    pub(crate) fn free<'a>(&mut self, extents: impl IntoIterator<Item = &'a Extent>) {
        for extent in extents {
            let Some(file) = self.files.get_mut(&extent.file) else { continue };
            file.live = file.live.saturating_sub(extent.length);
            if file.live == 0 && self.current != Some(extent.file) {
                self.delete(extent.file);
            }
        }
        if let Some(current) = self.current
            && self.files[&current].live == 0
            && self.files[&current].length > 0
        {
            self.current = None;
            self.delete(current);
        }
    }

    /// Bytes of all files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used
    }

    /// The oldest file, which pins the most.
    pub(crate) fn oldest_file(&self) -> Option<u64> {
        self.files.keys().next().copied()
    }

    /// Whether a full disk has driven it into memory.
    pub(crate) fn is_squeezed(&self) -> bool {
        self.dir.is_some() && self.files.values().any(|file| matches!(*file.backing, Backing::Memory(_)))
    }

    fn begin_file(&mut self, in_memory: bool) -> io::Result<u64> {
        let number = self.next;
        let backing = match &self.dir {
            Some(dir) if !in_memory => {
                let path = path_of(dir, number);
                let made = self.disk.open(&path, Mode::Create).and_then(|file| {
                    self.disk.sync_dir(dir)?;
                    Ok(file)
                });
                match made {
                    Ok(file) => Backing::Disk(file),
                    Err(error) if disk::is_short(&error) => {
                        // Its name may be there all the same; if it stays, the next start removes it.
                        let _ = self.disk.remove(&path);
                        tracing::warn!(%error, "no file for staging; going on in memory until some is shipped");
                        Backing::memory()
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => Backing::memory(),
        };
        self.next += 1;
        let left = self.current.replace(number);
        self.files.insert(number, LogFile { backing: Arc::new(backing), length: 0, live: 0, dirty: false });
        if let Some(left) = left
            && self.files[&left].live == 0
        {
            self.delete(left);
        }
        Ok(number)
    }

    fn delete(&mut self, number: u64) {
        let Some(file) = self.files.remove(&number) else { return };
        self.used -= file.length;
        if let (Some(dir), Backing::Disk(_)) = (&self.dir, &*file.backing)
            && let Err(error) = self.disk.remove(&path_of(dir, number))
        {
            tracing::warn!(%error, number, "a staging file could not be deleted; the next start tries again");
        }
    }
}

impl Bytes {
    /// Those of any file.
    pub(crate) fn of(file: Arc<dyn DiskFile>) -> Self {
        Self { backing: Arc::new(Backing::Disk(file)) }
    }

    /// Reads exactly `length` bytes from `offset` of the file on.
    pub(crate) fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_into(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Fills `bytes` from `offset` of the file on.
    pub(crate) fn read_into(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.backing.read_exact_at(bytes, offset)
    }
}

impl Backing {
    fn memory() -> Self {
        Self::Memory(RwLock::default())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Disk(file) => disk::write_piece(&**file, bytes, offset),
            Self::Memory(memory) => {
                memory.write().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Disk(file) if disk::read_full(&**file, bytes, offset)? < bytes.len() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Self::Disk(_) => Ok(()),
            Self::Memory(memory) => {
                let memory = memory.read().unwrap_or_else(PoisonError::into_inner);
                let offset = offset as usize;
                let there = memory.get(offset..offset + bytes.len());
                bytes.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number:012}"))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use durable_channel::disk::OsDisk;

    use super::*;

    fn open(dir: Option<&Path>, needed: impl IntoIterator<Item = Extent>) -> Staging {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        Staging::open(&disk, dir, 100, needed).unwrap()
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    fn read(staging: &Staging, extent: &Extent) -> Option<Vec<u8>> {
        Some(staging.open_extent(extent)?.read(extent.offset, extent.length as usize).unwrap())
    }

    #[test]
    fn an_extent_reads_back_until_it_is_freed_and_its_file_goes_with_its_last_one() {
        let dir = tempfile::tempdir().unwrap();
        for dir in [Some(dir.path()), None] {
            let mut staging = open(dir, []);
            let extents: Vec<_> = (0..10u8).map(|byte| staging.append(&[byte; 40]).unwrap()).collect();
            assert_eq!(staging.used_bytes(), 400);
            for (byte, extent) in (0..10u8).zip(&extents) {
                assert_eq!(read(&staging, extent), Some(vec![byte; 40]));
            }
            let reading = staging.open_extent(&extents[0]).unwrap();
            staging.free(&extents[..2]);
            assert_eq!(staging.used_bytes(), 400, "the third extent still pins the first file");
            staging.free(&extents[2..3]);
            assert_eq!(staging.used_bytes(), 280);
            assert_eq!(reading.read(0, 40).unwrap(), [0; 40], "who reads an extent keeps it");
            assert_eq!(read(&staging, &extents[1]), None);
            staging.free(&extents[3..]);
            assert_eq!(staging.used_bytes(), 0);
        }
        assert_eq!(names(dir.path()), 0);
    }

    #[test]
    fn a_start_keeps_what_cuts_need_and_drops_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = open(Some(dir.path()), []);
        let extents: Vec<_> = (0..10u8).map(|byte| staging.append(&[byte; 40]).unwrap()).collect();
        staging.sync().unwrap();
        drop(staging);

        let mut staging = open(Some(dir.path()), [extents[4]]);
        assert_eq!(read(&staging, &extents[4]), Some(vec![4; 40]));
        assert_eq!(names(dir.path()), 1);
        let new = staging.append(b"new").unwrap();
        assert!(new.file > extents[9].file, "numbers are not used again");
        staging.free([&extents[4]]);
        assert_eq!(read(&staging, &new), Some(b"new".to_vec()));
        drop(staging);

        let lost = Extent { file: 77, offset: 0, length: 10 };
        let mut staging = open(Some(dir.path()), [lost]);
        assert!(staging.open_extent(&lost).is_none());
        assert!(staging.append(b"x").unwrap().file > 77, "a lost extent never meets other bytes");
    }

    #[test]
    fn a_full_disk_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = open(Some(dir.path()), []);
        // /dev/full answers every write with "no space left on device".
        std::os::unix::fs::symlink("/dev/full", path_of(dir.path(), 1)).unwrap();
        let file = File::options().write(true).open("/dev/full").unwrap();
        let backing = Arc::new(Backing::Disk(Arc::new(file)));
        staging.files.insert(1, LogFile { backing, length: 0, live: 0, dirty: false });
        (staging.current, staging.next) = (Some(1), 2);
        let extent = staging.append(b"bytes").unwrap();
        assert_eq!(read(&staging, &extent), Some(b"bytes".to_vec()));
        assert!(staging.is_squeezed());
        staging.free([&extent]);
        assert!(!staging.is_squeezed(), "once it is shipped the disk is tried again");
    }
}
