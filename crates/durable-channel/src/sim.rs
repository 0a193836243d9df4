//! A simulated disk, for tests: it forgets what was not synced, runs full, and fails on purpose.
//!
//! A power cut keeps any part of the unsynced writes, in sectors and in any order, and of the unsynced names any
//! number of the first ones. A failed sync drops the unsynced writes and yet goes on showing them, as Linux does.
//! Everything is decided by the seed that the caller gives.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Entry, Free, LOCK_FILE, Lock, Mode, OpenDir};

mod state;

use state::{FileState, Node, SECTOR, State};

/// A disk in memory. Clones are the same disk, as one start of the machine sees it.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Files opened before the last [`restart`](Self::restart) or [`power_cut`](Self::power_cut) are dead.
    boot: u64,
}

/// A deterministic source of choices.
#[derive(Debug, Clone)]
pub struct Choices(u64);

struct SimFile {
    disk: SimDisk,
    file: u64,
}

struct SimDir {
    disk: SimDisk,
    path: PathBuf,
}

// === impl Choices ===

impl Choices {
    /// The choices that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

// === impl SimDisk ===

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        let state = State { names: BTreeMap::from([(PathBuf::from("/"), Node::Dir)]), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), boot: 0 }
    }

    /// The same disk for the next process, everything as it was shown: a `kill -9`.
    #[must_use]
    pub fn restart(&self) -> Self {
        let mut state = self.state();
        state.boot += 1;
        state.locks.clear();
        state.operations_left = None;
        state.fail_syncs = 0;
        state.reads_left = None;
        Self { state: Arc::clone(&self.state), boot: state.boot }
    }

    /// The same disk after the power was cut: of what was not synced, any part is lost.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let choices = &mut Choices::new(seed);
        let disk = self.restart();
        let mut guard = disk.state();
        let state = &mut *guard;
        let kept = choices.below(state.unsynced_names.len() as u64 + 1) as usize;
        for change in std::mem::take(&mut state.unsynced_names).iter().take(kept) {
            change.apply(&mut state.durable_names);
        }
        state.names.clone_from(&state.durable_names);
        state.names.insert(PathBuf::from("/"), Node::Dir);
        for file in state.files.values_mut() {
            file.lose_unsynced(choices);
        }
        drop(guard);
        disk
    }

    /// The next `syncs` syncs of files fail, and lose what they should have written.
    pub fn fail_syncs(&self, syncs: u64) {
        self.state().fail_syncs = syncs;
    }

    /// After `operations` more writes, syncs and changes of names, every one of them fails.
    pub fn stop_after(&self, operations: u64) {
        self.state().operations_left = Some(operations);
    }

    /// After `reads` more reads of files and folders one fails with EIO; those after it work again.
    pub fn fail_read_after(&self, reads: u64) {
        self.state().reads_left = Some(reads);
    }

    /// How many reads of files and folders there were.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many writes, syncs and changes of names there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many bytes were read of all files.
    pub fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// All files together may have this many bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// There may be this many files.
    pub fn set_inodes(&self, files: Option<u64>) {
        self.state().inodes = files;
    }

    /// Whether files and directories can be opened: if not, there are no descriptors left.
    pub fn set_descriptors(&self, left: bool) {
        self.state().no_descriptors = !left;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// The paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        state
            .names
            .iter()
            .filter(|(_, node)| matches!(node, Node::File(_)))
            .map(|(path, _)| path.clone())
            .collect()
    }

    /// Changes a file behind everyone's back: damage.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let Some(&Node::File(file)) = state.names.get(path) else { panic!("{} is no file", path.display()) };
        let file = state.files.get_mut(&file).expect("a name leads to a file");
        change(&mut file.bytes);
        file.durable.clone_from(&file.bytes);
        file.dirty.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for reading.
    fn look(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.boot == self.boot { Ok(state) } else { Err(io::Error::other("the machine was restarted")) }
    }

    /// The state, for one change.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.look()?;
        state.operations += 1;
        match &mut state.operations_left {
            Some(0) => return Err(io::Error::other("the disk stopped")),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(state)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        for dir in dir.ancestors().collect::<Vec<_>>().into_iter().rev() {
            if !self.look()?.names.contains_key(dir) {
                self.change()?.rename_nodes(dir, Vec::new(), vec![(dir.to_owned(), Node::Dir)]);
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.look()?;
        state.read()?;
        if state.names.get(dir) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, node)| Entry {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: if let Node::File(file) = node { state.files[file].bytes.len() as u64 } else { 0 },
                is_dir: *node == Node::Dir,
            })
            .collect())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        self.look()?.descriptor()?;
        let found = self.look()?.names.get(path).copied();
        let file = match (found, mode) {
            (Some(Node::Dir), _) => return Err(ErrorKind::IsADirectory.into()),
            (Some(Node::File(file)), Mode::Read | Mode::Write) => file,
            (Some(Node::File(file)), Mode::Create) => {
                self.change()?.file(file).resize(0);
                file
            }
            (None, Mode::Create) => {
                let mut state = self.change()?;
                state.inode()?;
                let file = state.next_file;
                state.next_file += 1;
                state.files.insert(file, FileState::default());
                state.rename_nodes(path, Vec::new(), vec![(path.to_owned(), Node::File(file))]);
                file
            }
            (None, _) => return Err(ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let moved: Vec<_> = state.below(from);
        if moved.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        let added = moved
            .iter()
            .map(|(path, node)| {
                let rest = path.strip_prefix(from).expect("it is below `from`");
                (if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) }, *node)
            })
            .collect();
        state.rename_nodes(to, moved.into_iter().map(|(path, _)| path).collect(), added);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        match state.names.get(path) {
            Some(Node::File(_)) => {
                state.rename_nodes(path, vec![path.to_owned()], Vec::new());
                Ok(())
            }
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let removed = state.below(dir).into_iter().map(|(path, _)| path).collect();
        state.rename_nodes(dir, removed, Vec::new());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.open_dir(dir)?.sync()
    }

    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.look()?.descriptor()?;
        Ok(Arc::new(SimDir { disk: self.clone(), path: dir.to_owned() }))
    }

    fn free(&self, _dir: &Path) -> io::Result<Free> {
        let state = self.look()?;
        Ok(Free {
            bytes: state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())),
            inodes: state.inodes.map_or(u64::MAX, |inodes| inodes.saturating_sub(state.named_files())),
        })
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Lock>> {
        struct Held(SimDisk, PathBuf);
        impl Drop for Held {
            fn drop(&mut self) {
                let mut state = self.0.state();
                if state.boot == self.0.boot {
                    state.locks.remove(&self.1);
                }
            }
        }
        // As the real one does, so that a directory looks the same after it.
        let file = dir.join(LOCK_FILE);
        if !self.look()?.names.contains_key(&file) {
            self.open(&file, Mode::Create)?;
        }
        let free = self.look()?.locks.insert(dir.to_owned());
        Ok(free.then(|| Box::new(Held(self.clone(), dir.to_owned())) as Lock))
    }
}

// === impl SimDir ===

impl OpenDir for SimDir {
    fn sync(&self) -> io::Result<()> {
        let dir = &self.path;
        let mut guard = self.disk.change()?;
        let state = &mut *guard;
        let (synced, left): (Vec<_>, _) =
            std::mem::take(&mut state.unsynced_names).into_iter().partition(|change| change.dir == *dir);
        state.unsynced_names = left;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

// === impl SimFile ===

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.look()?;
        state.read()?;
        let held = &state.file(self.file).bytes;
        let from = held.len().min(offset as usize);
        let read = bytes.len().min(held.len() - from);
        bytes[..read].copy_from_slice(&held[from..from + read]);
        state.bytes_read += read as u64;
        Ok(read)
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.change()?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        // Every other write is short, as any write may be.
        let total = if state.operations % 2 == 0 { total } else { total.div_ceil(2) };
        let end = offset as usize + total;
        state.room_for(self.file, end)?;
        let file = state.file(self.file);
        if file.bytes.len() < end {
            file.resize(end);
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter()).take(total);
        for (target, byte) in file.bytes[offset as usize..end].iter_mut().zip(bytes) {
            *target = *byte;
        }
        file.dirty.extend(offset as usize / SECTOR..end.div_ceil(SECTOR));
        Ok(total)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let failed = state.fail_syncs > 0;
        state.fail_syncs = state.fail_syncs.saturating_sub(1);
        let file = state.file(self.file);
        let dirty = std::mem::take(&mut file.dirty);
        if failed {
            return Err(io::Error::other("the sync failed, as asked for"));
        }
        file.durable.resize(file.bytes.len(), 0);
        for sector in dirty {
            file.write_sector(sector);
        }
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        state.room_for(self.file, bytes as usize)?;
        let file = state.file(self.file);
        if file.bytes.len() < bytes as usize {
            file.resize(bytes as usize);
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        state.room_for(self.file, bytes as usize)?;
        state.file(self.file).resize(bytes as usize);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.look()?.file(self.file).bytes.len() as u64)
    }
}
