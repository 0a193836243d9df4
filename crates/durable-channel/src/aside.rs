//! Damaged bytes, set aside for people before anything forgets them: `damaged/SEGMENT-OFFSET.bin`.
//!
//! Nothing here is ever read again by the channel, so nothing here may stop it: beyond the limit, on a full disk, and
//! without descriptors, damaged bytes are counted and not kept.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{self, Disk, DiskFile, Mode};

/// The folder of what was set aside.
pub(crate) const DIR: &str = "damaged";
const NEW: &str = ".new";
const PIECE_BYTES: usize = 64 << 10;

/// The folder with damaged bytes of one channel.
pub(crate) struct Aside {
    disk: Arc<dyn Disk>,
    /// The channel's folder.
    parent: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: BTreeSet<String>,
    bytes: u64,
    added: u64,
    /// Names that found no room, so that each is looked at once.
    refused: BTreeSet<String>,
}

/// The files in the folder below `parent`: name and bytes. Halfway made ones too.
pub(crate) fn list(disk: &dyn Disk, parent: &Path) -> io::Result<Vec<(String, u64)>> {
    match disk.list(&parent.join(DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => Ok(entries?.into_iter().map(|entry| (entry.name, entry.bytes)).collect()),
    }
}

// === impl Aside ===

impl Aside {
    /// Looks at what earlier starts have kept below `parent`.
    pub(crate) fn open(disk: Arc<dyn Disk>, parent: &Path, limit_bytes: u64) -> io::Result<Self> {
        let mut state = State::default();
        for (name, bytes) in list(&*disk, parent)? {
            if name.ends_with(NEW) {
                disk.remove(&parent.join(DIR).join(name))?;
            } else {
                state.bytes += bytes;
                state.names.insert(name);
            }
        }
        Ok(Self { disk, parent: parent.to_owned(), limit_bytes, state: Mutex::new(state) })
    }

    /// Keeps a copy of `range` of a segment's file, synced, unless it has one or has no room.
    pub(crate) fn keep(&self, segment: u64, file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        self.keep_as(&format!("{segment:020}-{}.bin", range.start), file, range)
    }

    /// As [`keep`](Self::keep), for a file that is no segment.
    pub(crate) fn keep_as(&self, name: &str, file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
        let bytes = range.end.min(file.size()?).saturating_sub(range.start);
        let mut state = self.state();
        if bytes == 0 || state.names.contains(name) || state.refused.contains(name) {
            return Ok(());
        }
        if state.bytes + bytes > self.limit_bytes {
            state.refused.insert(name.to_owned());
            return Ok(());
        }
        match self.copy(name, file, range.start, bytes) {
            Ok(()) => {
                state.names.insert(name.to_owned());
                state.bytes += bytes;
                state.added += bytes;
                Ok(())
            }
            Err(error) if disk::is_short(&error) => {
                state.refused.insert(name.to_owned());
                // What is left of it is removed at the next start at the latest.
                let _ = self.disk.remove(&self.dir().join(format!("{name}{NEW}")));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Bytes kept since it was opened.
    pub(crate) fn added_bytes(&self) -> u64 {
        self.state().added
    }

    fn copy(&self, name: &str, from: &dyn DiskFile, start: u64, bytes: u64) -> io::Result<()> {
        let dir = self.dir();
        self.disk.create_dir_all(&dir)?;
        let new = dir.join(format!("{name}{NEW}"));
        let to = self.disk.open(&new, Mode::Create)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut done = 0;
        while done < bytes {
            let wanted = PIECE_BYTES.min((bytes - done) as usize);
            let read = disk::read_full(from, &mut piece[..wanted], start + done)?;
            if read == 0 {
                break;
            }
            disk::write_piece(&*to, &piece[..read], done)?;
            done += read as u64;
        }
        to.sync()?;
        self.disk.rename(&new, &dir.join(name))?;
        self.disk.sync_dir(&dir)?;
        self.disk.sync_dir(&self.parent)
    }

    fn dir(&self) -> PathBuf {
        self.parent.join(DIR)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
