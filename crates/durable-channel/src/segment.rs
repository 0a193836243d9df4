//! The segments of a channel: their names, the table of those held, and what of them may be read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::aside::Aside;
use crate::disk::Disk;
use crate::format::HEADER_BLOCK_BYTES;
use crate::ranges::Ranges;

/// The folder of the segments.
pub(crate) const DIR: &str = "segments";
/// The next segment, allocated ahead.
pub(crate) const RESERVE: &str = "reserve";

/// What the writer, the readers and the registry share about the files.
pub(crate) struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    /// Takes damaged bytes before their segment is deleted.
    pub(crate) aside: Aside,
    table: Mutex<Table>,
    /// The same as the table's, to look at without its lock.
    synced_end: AtomicU64,
    damage: Mutex<Ranges>,
}

/// The segments held, by first position. A segment ends where the next one starts, the last one at the synced end.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// First position to bytes of complete frames with the header block: the synced ones of the last segment.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// Every position below this is synced.
    pub(crate) synced_end: u64,
}

/// Where a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the segment that starts at `first`, which holds the positions below `limit` in its bytes below `end`.
    Segment { first: u64, limit: u64, end: u64 },
    /// Before the oldest that is held.
    Before { oldest: u64 },
    /// Not synced yet.
    Ahead,
}

/// The name of the segment that starts at `first`.
pub(crate) fn name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first position that a name says, if it is a segment's.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// What of a segment's bytes counts as used: its frames.
fn frame_bytes(bytes: u64) -> u64 {
    bytes.saturating_sub(HEADER_BLOCK_BYTES)
}

// === impl Log ===

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, aside: Aside, table: Table) -> Self {
        let synced_end = AtomicU64::new(table.synced_end);
        Self { disk, dir, aside, table: Mutex::new(table), synced_end, damage: Mutex::default() }
    }

    pub(crate) fn path(&self, first: u64) -> PathBuf {
        self.dir.join(name(first))
    }

    pub(crate) fn synced_end(&self) -> u64 {
        self.synced_end.load(Ordering::Acquire)
    }

    pub(crate) fn place(&self, position: u64) -> Place {
        self.table().place(position)
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.table().oldest()
    }

    pub(crate) fn segments(&self) -> u64 {
        self.table().segments.len() as u64
    }

    /// A new last segment, without frames yet. An empty one may have had its name.
    pub(crate) fn add(&self, first: u64) {
        self.table().segments.insert(first, HEADER_BLOCK_BYTES);
    }

    /// The last segment's frames below `bytes`, and so all positions below `synced_end`, are synced.
    pub(crate) fn publish(&self, bytes: u64, synced_end: u64) {
        let mut table = self.table();
        if let Some(mut last) = table.segments.last_entry() {
            *last.get_mut() = bytes;
        }
        table.synced_end = synced_end;
        self.synced_end.store(synced_end, Ordering::Release);
    }

    /// Deletes the segments that hold only positions below `below`, oldest first; returns the bytes of their frames.
    ///
    /// The caller made durable that every reader is done with them (I6). The last segment stays: its name keeps
    /// the channel's place.
    pub(crate) fn delete_below(&self, below: u64) -> io::Result<u64> {
        let mut freed = 0;
        loop {
            let Some(first) = self.table().first_deletable(below) else { break };
            // Unlinked before it leaves the table: after an error it is still accounted for.
            match self.disk.remove(&self.path(first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => freed += self.table().segments.remove(&first).map_or(0, frame_bytes),
            }
        }
        if freed > 0 {
            self.damage().forget_below(self.oldest());
        }
        Ok(freed)
    }

    /// Whether [`delete_below`](Self::delete_below) would delete anything.
    pub(crate) fn can_delete_below(&self, below: u64) -> bool {
        self.table().first_deletable(below).is_some()
    }

    /// Counts damaged positions, each once.
    pub(crate) fn note_damage(&self, first: u64, end: u64) {
        self.damage().insert(first..end);
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.damage().total()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damage(&self) -> MutexGuard<'_, Ranges> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    /// Bytes of all frames.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.segments.values().copied().map(frame_bytes).sum()
    }

    fn place(&self, position: u64) -> Place {
        if position >= self.synced_end {
            return Place::Ahead;
        }
        let Some((&first, &end)) = self.segments.range(..=position).next_back() else {
            return Place::Before { oldest: self.oldest() };
        };
        let next = self.segments.range(position + 1..).next();
        Place::Segment { first, limit: next.map_or(self.synced_end, |(&next, _)| next), end }
    }

    fn oldest(&self) -> u64 {
        self.segments.keys().next().copied().unwrap_or(self.synced_end).min(self.synced_end)
    }

    fn first_deletable(&self, below: u64) -> Option<u64> {
        let mut firsts = self.segments.keys();
        let (&first, &next) = (firsts.next()?, firsts.next()?);
        (next <= below).then_some(first)
    }
}

/// The segments in a directory: first position to file size.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let entries = disk.list(dir)?;
    Ok(entries.iter().filter_map(|entry| Some((parse_name(&entry.name)?, entry.bytes))).collect())
}
