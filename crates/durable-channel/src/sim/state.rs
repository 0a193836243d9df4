//! What a simulated disk knows: what the system shows, and what is on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Choices;

pub(super) const SECTOR: usize = 512;
const EIO: i32 = 5;
const EMFILE: i32 = 24;

#[derive(Default)]
pub(super) struct State {
    pub(super) files: BTreeMap<u64, FileState>,
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) durable_names: BTreeMap<PathBuf, Node>,
    /// Changes of names since their directory was synced, in order.
    pub(super) unsynced_names: Vec<Change>,
    pub(super) next_file: u64,
    pub(super) boot: u64,
    pub(super) locks: BTreeSet<PathBuf>,
    pub(super) capacity: Option<u64>,
    pub(super) inodes: Option<u64>,
    pub(super) no_descriptors: bool,
    /// Writes, syncs and changes of names that still work.
    pub(super) operations_left: Option<u64>,
    pub(super) operations: u64,
    pub(super) bytes_read: u64,
    pub(super) fail_syncs: u64,
    /// Reads and listings so far, and how many more work before one fails.
    pub(super) reads: u64,
    pub(super) reads_left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(u64),
}

#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) dir: PathBuf,
    pub(super) removed: Vec<PathBuf>,
    pub(super) added: Vec<(PathBuf, Node)>,
}

#[derive(Default, Clone)]
pub(super) struct FileState {
    /// What the system shows.
    pub(super) bytes: Vec<u8>,
    /// What is on the disk.
    pub(super) durable: Vec<u8>,
    /// Sectors that differ from the disk, as far as the system knows.
    pub(super) dirty: BTreeSet<usize>,
}

// === impl State ===

impl State {
    /// One more read, unless it is the one that fails.
    pub(super) fn read(&mut self) -> io::Result<()> {
        self.reads += 1;
        match &mut self.reads_left {
            Some(0) => {
                self.reads_left = None;
                Err(io::Error::from_raw_os_error(EIO))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn file(&mut self, file: u64) -> &mut FileState {
        self.files.get_mut(&file).expect("files stay as long as the disk")
    }

    pub(super) fn used(&self) -> u64 {
        let named = self
            .names
            .values()
            .filter_map(|node| if let Node::File(file) = node { Some(file) } else { None });
        named.map(|file| self.files[file].bytes.len() as u64).sum()
    }

    pub(super) fn named_files(&self) -> u64 {
        self.names.values().filter(|node| matches!(node, Node::File(_))).count() as u64
    }

    /// Whether there is a descriptor for one more open file.
    pub(super) fn descriptor(&self) -> io::Result<()> {
        if self.no_descriptors { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
    }

    /// Whether there is an inode for one more file.
    pub(super) fn inode(&self) -> io::Result<()> {
        let left = self.inodes.is_none_or(|inodes| self.named_files() < inodes);
        if left { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }

    pub(super) fn room_for(&mut self, file: u64, bytes: usize) -> io::Result<()> {
        let more = bytes.saturating_sub(self.file(file).bytes.len()) as u64;
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more > capacity => Err(ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn below(&self, path: &Path) -> Vec<(PathBuf, Node)> {
        self.names
            .iter()
            .filter(|(name, _)| name.starts_with(path))
            .map(|(name, node)| (name.clone(), *node))
            .collect()
    }

    pub(super) fn rename_nodes(&mut self, at: &Path, removed: Vec<PathBuf>, added: Vec<(PathBuf, Node)>) {
        let dir = at.parent().unwrap_or(at).to_owned();
        let change = Change { dir, removed, added };
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

// === impl Change ===

impl Change {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        for path in &self.removed {
            names.remove(path);
        }
        names.extend(self.added.iter().cloned());
    }
}

// === impl FileState ===

impl FileState {
    pub(super) fn resize(&mut self, bytes: usize) {
        let old = self.bytes.len();
        self.bytes.resize(bytes, 0);
        self.dirty.extend(old.min(bytes) / SECTOR..old.max(bytes).div_ceil(SECTOR));
    }

    pub(super) fn write_sector(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.bytes.len());
        let to = (from + SECTOR).min(self.bytes.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        self.durable[from..to].copy_from_slice(&self.bytes[from..to]);
    }

    pub(super) fn lose_unsynced(&mut self, choices: &mut Choices) {
        // Half the time all or nothing, half the time sector by sector.
        let (style, length) = (choices.below(4), choices.below(2));
        for sector in std::mem::take(&mut self.dirty) {
            let keep = match style {
                0 => false,
                1 => true,
                _ => choices.below(2) == 0,
            };
            if keep {
                self.write_sector(sector);
            }
        }
        if length == 0 {
            self.durable.resize(self.bytes.len(), 0);
        }
        self.bytes.clone_from(&self.durable);
    }
}
