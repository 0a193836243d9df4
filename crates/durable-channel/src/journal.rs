//! Journals: small synced records of a reader's owner, on space that was allocated ahead.
//!
//! Two files take turns: one holds the last snapshot and every entry since, the other one waits for the next
//! snapshot and is overwritten by it. So a full disk stops a journal only if a snapshot has outgrown its file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, DiskFile, Mode, OsDisk};
use crate::error::JournalError;
use crate::format::{Block, FileHeader, HEADER_BLOCK_BYTES, JOURNAL_MAGIC, VERSION};

mod entry;

use entry::{Entries, Kind};

/// A journal of records since the last snapshot, in two preallocated files that alternate.
pub struct Journal {
    /// The file that is appended to, and the one that the next snapshot goes to.
    current: Half,
    other: Half,
    header: FileHeader,
    /// Where the next entry goes, and where the snapshot ends.
    offset: u64,
    snapshot_end: u64,
    poisoned: bool,
    buffer: Vec<u8>,
}

/// What a journal held when it was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalContents {
    /// How many snapshots there were, and one; 0 if there is no journal.
    pub generation: u64,
    /// Bytes of the file in use, its header among them.
    pub used_bytes: u64,
    /// The size of that file.
    pub file_bytes: u64,
    /// Bytes of a torn tail. Nothing that was answered for is in them.
    pub torn_bytes: u64,
    /// The records since the last snapshot, that first.
    pub records: Vec<Vec<u8>>,
}

/// One of the two files.
struct Half {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

/// The smallest file of a journal.
const MIN_BYTES: u64 = 4 * HEADER_BLOCK_BYTES;

// === impl Journal ===

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("path", &self.current.path).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens `NAME.a` and `NAME.b` in `dir`, creating them with `bytes` each, and returns the records since the
    /// last snapshot, that snapshot first.
    ///
    /// The torn tail of a crash is cut: `append` did not return for it. A bad entry with a good one behind it is
    /// damage, and an error: what a journal says is never guessed.
    pub fn open(dir: &Path, name: &str, bytes: u64) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        Self::open_on(&OsDisk, dir, name, bytes)
    }

    /// As [`open`](Self::open), on another file system.
    pub fn open_on(
        disk: &dyn Disk,
        dir: &Path,
        name: &str,
        bytes: u64,
    ) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let bytes = bytes.max(MIN_BYTES);
        let paths = paths(dir, name);
        if !exists(disk, dir, &paths[0])? {
            // The first file is named last: with it the journal is complete.
            create(disk, dir, &paths[1], bytes, None)?;
            create(disk, dir, &paths[0], bytes, Some(1))?;
        }
        let (current, other, header, contents) = read(disk, paths, Mode::Write)?;
        let mut journal = Self {
            current,
            other,
            header,
            offset: contents.end,
            snapshot_end: contents.snapshot_end,
            poisoned: false,
            buffer: Vec::new(),
        };
        journal.make_durable(&contents)?;
        Ok((journal, contents.records))
    }

    /// As [`open`](Self::open), without changing anything: what the journal holds now. A journal that was never made,
    /// or not completely, holds nothing.
    pub fn look(dir: &Path, name: &str) -> Result<JournalContents, JournalError> {
        Self::look_on(&OsDisk, dir, name)
    }

    /// As [`look`](Self::look), on another file system.
    pub fn look_on(disk: &dyn Disk, dir: &Path, name: &str) -> Result<JournalContents, JournalError> {
        let paths = paths(dir, name);
        if !exists(disk, dir, &paths[0])? {
            return Ok(JournalContents::default());
        }
        let (current, _, header, entries) = read(disk, paths, Mode::Read)?;
        Ok(JournalContents {
            generation: header.number,
            used_bytes: entries.end,
            file_bytes: current.bytes,
            torn_bytes: entries.torn_bytes,
            records: entries.records,
        })
    }

    /// Appends one record. It is synced when this returns.
    pub fn append(&mut self, record: &[u8]) -> Result<(), JournalError> {
        self.append_all(&[record])
    }

    /// Appends all of `records` with one sync: after a crash all of them are there, or none.
    pub fn append_all(&mut self, records: &[&[u8]]) -> Result<(), JournalError> {
        self.guard()?;
        let (offset, seed) = (self.offset, self.header.seed());
        entry::encode(&mut self.buffer, Kind::Records, records, offset, seed);
        let end = offset + self.buffer.len() as u64;
        let failed = JournalError::io(format!("appending to journal {}", self.current.path.display()));
        if let Err(error) = self.current.grow(end) {
            // Nothing was written: the journal is as it was.
            return Err(failed(error));
        }
        let file = &*self.current.file;
        if let Err(error) = disk::write_piece(file, &self.buffer, offset).and_then(|()| file.sync()) {
            self.poisoned = true;
            return Err(failed(error));
        }
        self.offset = end;
        Ok(())
    }

    /// Whether enough was appended since the last snapshot that another is worth its write: as much as half the
    /// file, or as the snapshot itself if that is more.
    pub fn snapshot_due(&self) -> bool {
        let appended = self.offset - self.snapshot_end;
        appended >= (self.current.bytes / 2).max(self.snapshot_end)
    }

    /// Replaces everything by one record, `state`, synced in the other file before this one is given up.
    pub fn snapshot(&mut self, state: &[u8]) -> Result<(), JournalError> {
        self.guard()?;
        let failed = JournalError::io(format!("writing a snapshot to journal {}", self.other.path.display()));
        let header = match FileHeader::random(self.header.number + 1) {
            Ok(header) => header,
            Err(error) => return Err(failed(error)),
        };
        entry::encode(&mut self.buffer, Kind::Snapshot, &[state], HEADER_BLOCK_BYTES, header.seed());
        let end = HEADER_BLOCK_BYTES + self.buffer.len() as u64;
        if let Err(error) = self.other.grow(end) {
            return Err(failed(error));
        }
        let file = &*self.other.file;
        let written = header
            .write(file, JOURNAL_MAGIC)
            .and_then(|()| disk::write_piece(file, &self.buffer, HEADER_BLOCK_BYTES))
            .and_then(|()| file.sync());
        if let Err(error) = written {
            // Which of the two a later start would find is not known any more.
            self.poisoned = true;
            return Err(failed(error));
        }
        std::mem::swap(&mut self.current, &mut self.other);
        (self.header, self.offset, self.snapshot_end) = (header, end, end);
        Ok(())
    }

    fn guard(&self) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned { path: self.current.path.clone() });
        }
        Ok(())
    }

    /// Writes the header and the last entry again and syncs: after a failed sync of an earlier process they may be
    /// in memory only, and look clean there. Everything before the last entry was synced before that was written.
    fn make_durable(&mut self, contents: &Entries) -> Result<(), JournalError> {
        let Half { path, file, .. } = &self.current;
        self.header
            .write(&**file, JOURNAL_MAGIC)
            .and_then(|()| disk::write_piece(&**file, &contents.last_entry, contents.last_at))
            .and_then(|()| file.sync())
            .map_err(JournalError::io(format!("syncing journal {}", path.display())))
    }
}

// === impl Half ===

impl Half {
    fn open(disk: &dyn Disk, path: PathBuf, mode: Mode) -> Result<Self, JournalError> {
        let opened = disk.open(&path, mode).and_then(|file| Ok((file.size()?, file)));
        match opened {
            // Allocated with its first byte: what is shorter was cut.
            Ok((bytes, _)) if bytes < MIN_BYTES => Err(damaged(&path, "it was cut")),
            Ok((bytes, file)) => Ok(Self { path, file, bytes }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged(&path, "it is missing")),
            Err(error) => Err(JournalError::io(format!("opening journal {}", path.display()))(error)),
        }
    }

    fn with_header(self) -> Result<WithHeader, JournalError> {
        let read = FileHeader::read(&*self.file, JOURNAL_MAGIC);
        match read.map_err(JournalError::io(format!("reading journal {}", self.path.display())))? {
            Block::Valid(header) => Ok((self, Some(header))),
            Block::Zero => Ok((self, None)),
            Block::Newer(found) => {
                Err(JournalError::Version { path: self.path.clone(), found, known: VERSION })
            }
            // A torn header has one old and one new copy, both good. This file may hold the latest records.
            Block::Bad => Err(self.damaged("its header is bad")),
        }
    }

    fn grow(&mut self, needed: u64) -> io::Result<()> {
        if needed > self.bytes {
            let bytes = needed.next_multiple_of(MIN_BYTES).max(self.bytes + self.bytes / 2);
            self.file.allocate(bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> JournalError {
        damaged(&self.path, what)
    }
}

type WithHeader = (Half, Option<FileHeader>);
/// The file that counts, the other one, and what the first says.
type Read = (Half, Half, FileHeader, Entries);

fn paths(dir: &Path, name: &str) -> [PathBuf; 2] {
    ["a", "b"].map(|half| dir.join(format!("{name}.{half}")))
}

fn read(disk: &dyn Disk, paths: [PathBuf; 2], mode: Mode) -> Result<Read, JournalError> {
    let [a, b] = paths.map(|path| Half::open(disk, path, mode));
    let (a, b) = (a?.with_header()?, b?.with_header()?);
    let generation = |half: &WithHeader| half.1.map_or(0, |header| header.number);
    let (newer, older) = if generation(&b) > generation(&a) { (b, a) } else { (a, b) };
    choose(newer, older)
}

/// What a journal says is never guessed, so its owner starts anew.
fn damaged(path: &Path, what: &str) -> JournalError {
    let what = format!(
        "{what}; restore it, or give its reader up with `channel retire` and start one of another name"
    );
    JournalError::Damaged { path: path.to_owned(), what }
}

/// The file whose snapshot is complete: the newer one, or the older one if the newer one's never was.
fn choose(newer: WithHeader, older: WithHeader) -> Result<Read, JournalError> {
    let read = |half: &Half, header: FileHeader| {
        entry::read(&*half.file, half.bytes, header.seed())
            .map_err(JournalError::io(format!("reading journal {}", half.path.display())))
    };
    let ((newer, header), (older, older_header)) = (newer, older);
    let Some(header) = header else { return Err(newer.damaged("neither file has a header")) };
    let contents = read(&newer, header)?;
    if contents.good_after_bad {
        return Err(newer.damaged("a bad entry has good ones behind it"));
    }
    // The first generation starts from nothing, every later one from a snapshot.
    if header.number == 1 || contents.starts_with_snapshot {
        return Ok((newer, older, header, contents));
    }
    let Some(older_header) = older_header else { return Err(newer.damaged("its snapshot is bad")) };
    let contents = read(&older, older_header)?;
    if contents.good_after_bad || !(older_header.number == 1 || contents.starts_with_snapshot) {
        return Err(older.damaged("its snapshot or an entry is bad, and so is the newer file's snapshot"));
    }
    // The next snapshot takes a number above the one that failed.
    let header = older_header;
    Ok((older, newer, header, contents))
}

fn exists(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<bool, JournalError> {
    let entries = disk.list(dir).map_err(JournalError::io(format!("listing {}", dir.display())))?;
    Ok(entries.iter().any(|entry| path.file_name().is_some_and(|name| *name == *entry.name)))
}

fn create(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    bytes: u64,
    generation: Option<u64>,
) -> Result<(), JournalError> {
    let new = path.with_added_extension("new");
    let create = || -> io::Result<()> {
        let file = disk.open(&new, Mode::Create)?;
        file.allocate(bytes)?;
        if let Some(generation) = generation {
            FileHeader::random(generation)?.write(&*file, JOURNAL_MAGIC)?;
        }
        file.sync()?;
        disk.rename(&new, path)?;
        disk.sync_dir(dir)
    };
    create().map_err(JournalError::io(format!("creating journal {}", path.display())))
}
