//! The registered readers: where each one is, and when a segment may go.
//!
//! `readers/NAME/progress` holds a reader's start and released position. A registration is made in `NAME.new` and ends
//! as `NAME.retired`, so that one rename decides either. The latter stays: under the same channel id the name is used
//! up, because what its next owner numbered from 1 would be taken for what the first one did.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::channel::{ReaderStatus, Start};
use crate::disk::Disk;
use crate::error::{OpenError, RetireError};
use crate::format::u64_at;
use crate::segment::Log;
use crate::slots::{Found, Slots};

/// The folder of the readers.
pub(crate) const DIR: &str = "readers";
pub(crate) const PROGRESS: &str = "progress";
const NEW: &str = ".new";
pub(crate) const RETIRED: &str = ".retired";
const RECORD_BYTES: usize = 16;

/// Every registered reader of a channel on disk.
pub(crate) struct Registry {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
}

struct State {
    readers: BTreeMap<String, Registered>,
    retired: BTreeSet<String>,
    closed: bool,
}

struct Registered {
    slots: Slots,
    start: u64,
    released: u64,
    open: bool,
}

/// Whether `name` can name a reader.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Lets the names of retired readers be used again: for a channel below `dir` that has a new id.
pub(crate) fn forget_retired(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let io_error = || OpenError::io(format!("forgetting retired readers in {}", dir.display()));
    let entries = match disk.list(dir) {
        // A channel that was never opened, or lost its folder, has no readers.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error())?,
    };
    for entry in entries.iter().filter(|entry| entry.is_dir && entry.name.ends_with(RETIRED)) {
        disk.remove_dir_all(&dir.join(&entry.name)).map_err(io_error())?;
    }
    disk.sync_dir(dir).map_err(io_error())
}

/// Removes all that a retired reader's owner kept. That the folder exists is what counts; its progress is for people.
fn strip(disk: &dyn Disk, retired: &Path) -> io::Result<()> {
    for entry in disk.list(retired)?.into_iter().filter(|entry| entry.name != PROGRESS) {
        let path = retired.join(&entry.name);
        if entry.is_dir { disk.remove_dir_all(&path)? } else { disk.remove(&path)? }
    }
    Ok(())
}

// === impl Registry ===

impl Registry {
    /// Loads the registrations below `dir`, their newest records made durable.
    pub(crate) fn load(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Self, OpenError> {
        let (mut readers, mut retired) = (BTreeMap::new(), BTreeSet::new());
        let entries =
            disk.list(&dir).map_err(OpenError::io(format!("listing readers in {}", dir.display())))?;
        for entry in entries.into_iter().filter(|entry| entry.is_dir) {
            let name = entry.name;
            let path = dir.join(&name);
            if name.ends_with(NEW) {
                disk.remove_dir_all(&path).map_err(OpenError::io(format!("removing {}", path.display())))?;
            } else if let Some(name) = name.strip_suffix(RETIRED) {
                strip(&*disk, &path).map_err(OpenError::io(format!("emptying {}", path.display())))?;
                retired.insert(name.to_owned());
            } else if is_name(&name) {
                let path = path.join(PROGRESS);
                let (slots, found) = Slots::open(&*disk, &path).map_err(with_advice)?;
                let [start, released] = progress(&found, &path)?;
                readers.insert(name, Registered { slots, start, released, open: false });
            }
        }
        Ok(Self { disk, dir, state: Mutex::new(State { readers, retired, closed: false }) })
    }

    /// The highest released position: a reader never passes the synced end, so everything below it was synced.
    pub(crate) fn highest_released(&self) -> u64 {
        self.state().readers.values().map(|reader| reader.released).max().unwrap_or(0)
    }

    /// Opens the reader `name`, registering it first if need be.
    pub(crate) fn open(&self, name: &str, start: Start, log: &Log) -> Result<(), OpenError> {
        if !is_name(name) {
            return Err(OpenError::Name(name.to_owned()));
        }
        let mut state = self.state();
        if state.closed {
            return Err(OpenError::NotOpen);
        }
        if !state.readers.contains_key(name) {
            if state.retired.contains(name) {
                return Err(OpenError::Retired(name.to_owned()));
            }
            let start = match start {
                Start::Oldest => log.oldest(),
                Start::Newest => log.synced_end(),
            };
            let registered =
                self.register(name, start).map_err(OpenError::io(format!("registering reader {name}")))?;
            state.readers.insert(name.to_owned(), registered);
        }
        match state.readers.get_mut(name) {
            Some(reader) if !reader.open => {
                reader.open = true;
                Ok(())
            }
            _ => Err(OpenError::ReaderOpen(name.to_owned())),
        }
    }

    fn register(&self, name: &str, start: u64) -> io::Result<Registered> {
        let new = self.dir.join(format!("{name}{NEW}"));
        self.disk.create_dir_all(&new)?;
        Slots::create(&*self.disk, &new.join(PROGRESS), &encode(start, start))?;
        self.disk.sync_dir(&new)?;
        self.disk.rename(&new, &self.dir(name))?;
        self.disk.sync_dir(&self.dir)?;
        let (slots, _) =
            Slots::open(&*self.disk, &self.dir(name).join(PROGRESS)).map_err(io::Error::other)?;
        Ok(Registered { slots, start, released: start, open: false })
    }

    /// Where the owner of the reader `name` may keep files.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn released(&self, name: &str) -> u64 {
        self.state().readers.get(name).map_or(0, |reader| reader.released)
    }

    /// Notes that `name` is done with every position below `below`, and deletes the segments that everyone is done
    /// with. Returns the bytes freed.
    pub(crate) fn release(&self, name: &str, below: u64, log: &Log) -> io::Result<u64> {
        if below > log.synced_end() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("position {below} is released before it is synced"),
            ));
        }
        let mut state = self.state();
        if state.closed {
            return Err(io::Error::other("channel closed"));
        }
        let Some(reader) = state.readers.get_mut(name).filter(|reader| reader.released < below) else {
            return Ok(0);
        };
        reader.released = below;
        reader.slots.write(&encode(reader.start, below))?;
        state.delete_released(log)
    }

    /// Makes the progress of `name` durable.
    pub(crate) fn sync_reader(&self, name: &str) -> io::Result<()> {
        self.state().readers.get_mut(name).map_or(Ok(()), |reader| reader.slots.sync())
    }

    /// Deletes whatever every reader is done with.
    pub(crate) fn delete_released(&self, log: &Log) -> io::Result<u64> {
        self.state().delete_released(log)
    }

    pub(crate) fn close_reader(&self, name: &str) {
        if let Some(reader) = self.state().readers.get_mut(name) {
            reader.open = false;
        }
    }

    /// Forgets the reader `name` and its files, but not that its name is used up. Returns the bytes freed.
    pub(crate) fn retire(&self, name: &str, log: &Log) -> Result<u64, RetireError> {
        let io_error = || {
            let name = name.to_owned();
            move |source| RetireError::Io { name, source }
        };
        let mut state = self.state();
        match state.readers.get(name) {
            None => return Err(RetireError::Unknown(name.to_owned())),
            Some(reader) if reader.open => return Err(RetireError::Open(name.to_owned())),
            Some(_) => {}
        }
        let retired = self.dir.join(format!("{name}{RETIRED}"));
        self.disk.rename(&self.dir(name), &retired).map_err(io_error())?;
        state.readers.remove(name);
        state.retired.insert(name.to_owned());
        self.disk.sync_dir(&self.dir).map_err(io_error())?;
        strip(&*self.disk, &retired).map_err(io_error())?;
        state.delete_released(log).map_err(io_error())
    }

    pub(crate) fn status(&self) -> Vec<ReaderStatus> {
        let status = |(name, reader): (&String, &Registered)| ReaderStatus {
            name: name.clone(),
            start: reader.start,
            released: reader.released,
            open: reader.open,
        };
        self.state().readers.iter().map(status).collect()
    }

    /// Makes all progress durable and takes no more of it.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut state = self.state();
        state.closed = true;
        state.sync()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// A segment goes only after the progress that allows it is durable (I6). Without readers nothing goes.
    fn delete_released(&mut self, log: &Log) -> io::Result<u64> {
        let Some(below) = self.readers.values().map(|reader| reader.released).min() else { return Ok(0) };
        if !log.can_delete_below(below) {
            return Ok(0);
        }
        self.sync()?;
        log.delete_below(below)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.readers.values_mut().try_for_each(|reader| reader.slots.sync())
    }
}

/// Where the reader in the folder `path` started, and what it has released, without changing anything.
pub(crate) fn look(disk: &dyn Disk, path: &Path) -> Result<[u64; 2], OpenError> {
    let path = path.join(PROGRESS);
    progress(&Slots::look(disk, &path).map_err(with_advice)?, &path)
}

/// Records that the reader in the folder `path` starts at `start`, replacing what it had.
pub(crate) fn write_progress(disk: &dyn Disk, path: &Path, start: u64) -> io::Result<()> {
    let new = path.join(format!("{PROGRESS}{NEW}"));
    Slots::create(disk, &new, &encode(start, start))?;
    disk.rename(&new, &path.join(PROGRESS))?;
    disk.sync_dir(path)
}

fn progress(found: &Found, path: &Path) -> Result<[u64; 2], OpenError> {
    let damaged =
        |what: &str| with_advice(OpenError::Damaged { path: path.to_owned(), what: what.to_owned() });
    let [start, released] = decode(&found.record).ok_or_else(|| damaged("its record has another layout"))?;
    if found.older.as_deref().and_then(decode).is_some_and(|[older, _]| older != start) {
        return Err(damaged("its two records are of different readers"));
    }
    Ok([start, released])
}

fn with_advice(error: OpenError) -> OpenError {
    error.with_advice("restore it, or let `channel repair` start the reader again at the oldest event held")
}

fn encode(start: u64, released: u64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&start.to_le_bytes());
    bytes[8..].copy_from_slice(&released.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<[u64; 2]> {
    (bytes.len() == RECORD_BYTES).then(|| [u64_at(bytes, 0), u64_at(bytes, 8)])
}
