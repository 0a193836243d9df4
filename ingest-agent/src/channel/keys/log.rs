//! The key log: keys that outlive the segments of their events, in one file of a fixed size.
//!
//! The file is a ring of slots. Each key is written once, to the slot that its number says, over the oldest one. The
//! size is allocated ahead, so a full disk stops no key from being logged and with it no segment from being freed.
//! Format version 1, little-endian, checksums crc32c:
//!
//! ```text
//! the header, at 0 and again at 2048; the slots begin at 4096
//!  0   8  "SLGKEYLG"
//!  8   4  format version, 1
//! 12   4  checksum of bytes 0..12 and 16..32
//! 16   8  the file's id: random, the salt of the slots' checksums
//! 24   8  how many slots there are
//!
//! a slot, 64 bytes; zeros are no key
//!  0  16  id of the key, as in the frame
//! 16  16  digest, as in the frame
//! 32   8  first position of its events
//! 40   8  number of the key, from 1; it lies in the slot (number mod slots)
//! 48   4  count of its events
//! 52   4  when they arrived, in seconds since 1970
//! 56   4  back: every key numbered below (number - back) was synced when this was written
//! 60   4  checksum of bytes 0..60, salted
//! ```
//!
//! Keys are logged in the order of their positions, after the sync of their frames. **What counts**: every number below
//! what any good slot attests by `back`, or up to a good slot whose position the reader of the channel has released,
//! was synced. A number among these that has no good slot is damage: that key is lost, and counted. From there on
//! nothing counts, whatever the slots look like: the append that wrote them never returned. Their frames are still in
//! the channel, are found there, and are logged again. Damage to the end of the last append looks the same, if the
//! frames are gone by then. An I/O error is never taken for damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable_channel::OpenError;
use durable_channel::disk::{self, Disk, DiskFile, Mode};

use super::index::Entry;
use crate::event::KeyStamp;

/// The ring of slots.
pub(super) struct KeyLog {
    file: Arc<dyn DiskFile>,
    header: Header,
    /// The number of the next key.
    next: u64,
    buffer: Vec<u8>,
}

/// What opening a key log found.
pub(super) struct Opened {
    pub(super) log: KeyLog,
    /// The newest keys, oldest first.
    pub(super) entries: Vec<Entry>,
    /// Keys that were synced and are lost to damage.
    pub(super) damaged: u64,
}

/// What has to be known to open one.
pub(super) struct Place<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    /// How many keys it shall keep.
    pub(super) keys: u32,
    /// Every position below this is attested as synced, with its key in the log.
    pub(super) released: u64,
    /// Nothing was ever released, so there may be no file yet.
    pub(super) fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    id: u64,
    slots: u64,
}

struct Slot {
    number: u64,
    back: u32,
    entry: Entry,
}

/// The file's name, and that of the one which replaces it.
pub(super) const FILE: &str = "keys";
const NEW: &str = "keys.new";

/// The most keys of one append: what one may overwrite beyond those that count.
pub(super) const MAX_APPEND: usize = 4096;

const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"SLGKEYLG";
const COPIES_AT: [usize; 2] = [0, 2048];
const HEADER_BYTES: usize = 32;
const SLOTS_AT: u64 = 4096;
const SLOT_BYTES: usize = 64;
const READ_SLOTS: usize = 4096;

// === impl KeyLog ===

impl KeyLog {
    /// Opens the log, or makes one; in another size if the number of keys to keep has changed.
    pub(super) fn open(place: &Place<'_>) -> Result<Opened, OpenError> {
        let Place { disk, dir, .. } = *place;
        let path = dir.join(FILE);
        let io_error = |doing: &str| io_error(format!("{doing} {}", path.display()));
        let slots = u64::from(place.keys) + MAX_APPEND as u64;
        let listed = disk.list(dir).map_err(io_error("listing the folder of"))?;
        if !listed.iter().any(|entry| entry.name == FILE) {
            if !place.fresh {
                return Err(damaged(&path, "it is missing, though keys were logged"));
            }
            let log = Self::create(disk, dir, slots, &[]).map_err(io_error("creating"))?;
            return Ok(Opened { log, entries: Vec::new(), damaged: 0 });
        }
        let file = disk.open(&path, Mode::Write).map_err(io_error("opening"))?;
        let header = Header::read(&*file, &path)?;
        let mut found = Self { file, header, next: 1, buffer: Vec::new() }
            .read(place.released)
            .map_err(io_error("reading"))?;
        if found.log.header.slots != slots {
            let kept = found.entries.len().saturating_sub(place.keys as usize);
            found.entries.drain(..kept);
            found.log = Self::create(disk, dir, slots, &found.entries).map_err(io_error("replacing"))?;
        }
        Ok(found)
    }

    /// Makes a log of `entries` in the place of whatever is there.
    fn create(disk: &dyn Disk, dir: &Path, slots: u64, entries: &[Entry]) -> io::Result<Self> {
        let new = dir.join(NEW);
        let file = disk.open(&new, Mode::Create)?;
        file.allocate(SLOTS_AT + slots * SLOT_BYTES as u64)?;
        let header = Header { id: getrandom::u64().map_err(io::Error::other)?, slots };
        disk::write_piece(&*file, &header.encode(), 0)?;
        let mut log = Self { file, header, next: 1, buffer: Vec::new() };
        for entries in entries.chunks(MAX_APPEND) {
            log.append(entries)?;
        }
        log.file.sync()?;
        disk.rename(&new, &dir.join(FILE))?;
        disk.sync_dir(dir)?;
        Ok(log)
    }

    /// Writes keys, [`MAX_APPEND`] at most, and syncs them.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        assert!(entries.len() <= MAX_APPEND, "more would overwrite keys that count");
        let first = self.next;
        let seed = self.header.seed();
        // As few pieces as the end of the file makes: one or two.
        let mut rest = entries;
        while !rest.is_empty() {
            let slot = self.next % self.header.slots;
            let fit = rest.len().min((self.header.slots - slot) as usize);
            let (piece, behind) = rest.split_at(fit);
            self.buffer.clear();
            for entry in piece {
                let slot = Slot { number: self.next, back: (self.next - first) as u32, entry: *entry };
                slot.encode(seed, &mut self.buffer);
                self.next += 1;
            }
            disk::write_piece(&*self.file, &self.buffer, SLOTS_AT + slot * SLOT_BYTES as u64)?;
            rest = behind;
        }
        if entries.is_empty() { Ok(()) } else { self.file.sync() }
    }

    /// Reads all slots and clears those that do not count.
    fn read(mut self, released: u64) -> io::Result<Opened> {
        let mut slots = self.slots()?;
        slots.sort_unstable_by_key(|slot| slot.number);
        let attested = slots.iter().map(|slot| {
            let below = slot.number - u64::from(slot.back);
            if slot.entry.first < released { slot.number + 1 } else { below }
        });
        let end = attested.max().unwrap_or(1);
        let start = end.saturating_sub(self.header.slots - MAX_APPEND as u64).max(1);
        // What never counted may lie where it would be taken for a key that does, once the numbers are there.
        for slot in slots.iter().filter(|slot| slot.number >= end) {
            let at = SLOTS_AT + slot.number % self.header.slots * SLOT_BYTES as u64;
            disk::write_piece(&*self.file, &[0; SLOT_BYTES], at)?;
        }
        if slots.last().is_some_and(|slot| slot.number >= end) {
            self.file.sync()?;
        }
        let counting = slots.into_iter().filter(|slot| (start..end).contains(&slot.number));
        let entries: Vec<_> = counting.map(|slot| slot.entry).collect();
        self.next = end;
        let damaged = (end - start) - entries.len() as u64;
        Ok(Opened { log: self, entries, damaged })
    }

    /// The good slots.
    fn slots(&self) -> io::Result<Vec<Slot>> {
        let Header { slots, .. } = self.header;
        let (mut good, seed) = (Vec::new(), self.header.seed());
        let mut bytes = vec![0; READ_SLOTS * SLOT_BYTES];
        for at in (0..slots).step_by(READ_SLOTS) {
            let wanted = (slots - at).min(READ_SLOTS as u64) as usize * SLOT_BYTES;
            let read = disk::read_full(&*self.file, &mut bytes[..wanted], SLOTS_AT + at * SLOT_BYTES as u64)?;
            let parsed = bytes[..read].chunks_exact(SLOT_BYTES).map(|bytes| Slot::parse(bytes, seed));
            let in_place = (at..).zip(parsed).filter_map(|(index, slot)| {
                slot.filter(|slot| slot.number % slots == index && slot.number > u64::from(slot.back))
            });
            good.extend(in_place);
        }
        Ok(good)
    }
}

// === impl Header ===

impl Header {
    fn encode(self) -> Vec<u8> {
        let mut block = vec![0; SLOTS_AT as usize];
        for at in COPIES_AT {
            let copy = &mut block[at..at + HEADER_BYTES];
            copy[..8].copy_from_slice(&MAGIC);
            copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
            copy[16..24].copy_from_slice(&self.id.to_le_bytes());
            copy[24..32].copy_from_slice(&self.slots.to_le_bytes());
            let crc = Self::checksum(copy);
            copy[12..16].copy_from_slice(&crc.to_le_bytes());
        }
        block
    }

    /// Either copy serves: both were written once, before the file had its name.
    fn read(file: &dyn DiskFile, path: &Path) -> Result<Self, OpenError> {
        let mut block = [0; SLOTS_AT as usize];
        let read = disk::read_full(file, &mut block, 0);
        read.map_err(io_error(format!("reading {}", path.display())))?;
        for at in COPIES_AT {
            let copy = &block[at..at + HEADER_BYTES];
            if copy[..8] != MAGIC || u32_at(copy, 12) != Self::checksum(copy) {
                continue;
            }
            let (found, header) = (u32_at(copy, 8), Self { id: u64_at(copy, 16), slots: u64_at(copy, 24) });
            if found != VERSION {
                return Err(OpenError::Version { path: path.to_owned(), found, known: VERSION });
            }
            if header.slots > MAX_APPEND as u64 && u32::try_from(header.slots).is_ok() {
                return Ok(header);
            }
        }
        Err(damaged(path, "its header is bad in both copies"))
    }

    fn checksum(copy: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&copy[..12]), &copy[16..HEADER_BYTES])
    }

    fn seed(self) -> u32 {
        crc32c::crc32c(&self.id.to_le_bytes())
    }
}

// === impl Slot ===

impl Slot {
    fn encode(&self, seed: u32, buffer: &mut Vec<u8>) {
        let at = buffer.len();
        let Entry { stamp, first, count, arrival_s } = self.entry;
        buffer.extend_from_slice(&stamp.id);
        buffer.extend_from_slice(&stamp.digest);
        buffer.extend_from_slice(&first.to_le_bytes());
        buffer.extend_from_slice(&self.number.to_le_bytes());
        buffer.extend_from_slice(&count.to_le_bytes());
        buffer.extend_from_slice(&arrival_s.to_le_bytes());
        buffer.extend_from_slice(&self.back.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &buffer[at..]);
        buffer.extend_from_slice(&crc.to_le_bytes());
    }

    fn parse(bytes: &[u8], seed: u32) -> Option<Self> {
        if u32_at(bytes, 60) != crc32c::crc32c_append(seed, &bytes[..60]) || u64_at(bytes, 40) == 0 {
            return None;
        }
        let (id, rest) = bytes.split_first_chunk()?;
        let (digest, _) = rest.split_first_chunk()?;
        let stamp = KeyStamp { id: *id, digest: *digest };
        let entry =
            Entry { stamp, first: u64_at(bytes, 32), count: u32_at(bytes, 48), arrival_s: u32_at(bytes, 52) };
        Some(Self { number: u64_at(bytes, 40), back: u32_at(bytes, 56), entry })
    }
}

fn damaged(path: &Path, what: &str) -> OpenError {
    let what = format!(
        "{what}; restore it, or give up the keys in it, so that what is sent again under them is stored again, \
         with `channel retire {}`",
        path.parent().and_then(Path::file_name).unwrap_or_default().display()
    );
    OpenError::Damaged { path: PathBuf::from(path), what }
}

fn io_error(operation: String) -> impl FnOnce(io::Error) -> OpenError {
    |source| OpenError::Io { operation, source }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
