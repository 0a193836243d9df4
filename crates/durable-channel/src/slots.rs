//! Small records that are overwritten in place, safely: two slots in blocks of their own take turns.
//!
//! Overwriting needs no free space, so a start, and a release that frees a segment, work on a full disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, DiskFile, Mode};
use crate::error::OpenError;
use crate::format::{VERSION, checksum_around, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SLGSLOTS";
const SLOT_BYTES: usize = 4096;
const CRC_AT: usize = 12;
const RECORD_AT: usize = 32;
/// A slot's contents fit one sector, so that a torn write leaves it old or new.
const MAX_RECORD_BYTES: usize = 512 - RECORD_AT;

/// A file with two slots. The slot that is known to be durable is never the one that is written to.
pub(crate) struct Slots {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    durable_slot: u64,
    sequence: u64,
    written: bool,
    /// A sync failed: what the slots hold is only known after they were read again.
    failed: bool,
}

/// What opening a file of slots found.
pub(crate) struct Found {
    pub(crate) record: Vec<u8>,
    /// The record before it, if it is still there.
    pub(crate) older: Option<Vec<u8>>,
    /// The other slot does not hold the record before this one: a newer one may have been lost.
    pub(crate) newer_lost: bool,
}

/// The slot that counts.
struct Newest {
    slot: u64,
    sequence: u64,
    found: Found,
}

enum Slot {
    Zero,
    Bad,
    Newer(u32),
    Valid { sequence: u64, record: Vec<u8> },
}

// === impl Slots ===

impl Slots {
    /// Makes a file with `record` in it, durable but for its name.
    pub(crate) fn create(disk: &dyn Disk, path: &Path, record: &[u8]) -> io::Result<Self> {
        let file = disk.open(path, Mode::Create)?;
        file.allocate(2 * SLOT_BYTES as u64)?;
        let mut slots =
            Self { file, path: path.to_owned(), durable_slot: 1, sequence: 0, written: false, failed: false };
        slots.write(record)?;
        slots.sync()?;
        Ok(slots)
    }

    /// Opens a file and gives its newest record, made durable: what the page cache shows may not be.
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<(Self, Found), OpenError> {
        let (file, newest) = read(disk, path, Mode::Write)?;
        // Read and written anew as if it were the other slot's turn, so that the older record stays until then.
        let mut slots = Self {
            file,
            path: path.to_owned(),
            durable_slot: 1 - newest.slot,
            sequence: newest.sequence - 1,
            written: false,
            failed: false,
        };
        slots
            .write(&newest.found.record)
            .and_then(|()| slots.sync())
            .map_err(OpenError::io(format!("writing {}", path.display())))?;
        Ok((slots, newest.found))
    }

    /// The newest record, without changing anything.
    pub(crate) fn look(disk: &dyn Disk, path: &Path) -> Result<Found, OpenError> {
        Ok(read(disk, path, Mode::Read)?.1.found)
    }

    /// Writes the newest record. It may be lost, or come back, until [`sync`](Self::sync).
    pub(crate) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        assert!(record.len() <= MAX_RECORD_BYTES, "slot records are small and of a fixed layout");
        if !self.written {
            self.sequence += 1;
        }
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&(record.len() as u32).to_le_bytes());
        bytes[RECORD_AT..RECORD_AT + record.len()].copy_from_slice(record);
        let crc = checksum_around(0, &bytes[..RECORD_AT + record.len()], CRC_AT);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        self.written = true;
        disk::write_piece(&*self.file, &bytes, (1 - self.durable_slot) * SLOT_BYTES as u64)
    }

    /// Makes the newest record durable. After an error the file must be opened again: a sync is never retried.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other(format!("an earlier sync of {} failed", self.path.display())));
        }
        if self.written {
            self.file.sync().inspect_err(|_| self.failed = true)?;
            self.durable_slot = 1 - self.durable_slot;
            self.written = false;
        }
        Ok(())
    }
}

fn read(disk: &dyn Disk, path: &Path, mode: Mode) -> Result<(Arc<dyn DiskFile>, Newest), OpenError> {
    let damaged = |what: &str| OpenError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let io_error = || OpenError::io(format!("reading {}", path.display()));
    let file = disk.open(path, mode).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged("it is missing"),
        _ => io_error()(error),
    })?;
    let mut slots = [Slot::Zero, Slot::Zero];
    for (index, slot) in slots.iter_mut().enumerate() {
        let mut bytes = [0; SLOT_BYTES];
        let read = disk::read_full(&*file, &mut bytes, (index * SLOT_BYTES) as u64).map_err(io_error())?;
        *slot = Slot::parse(&bytes[..read]);
        if let Slot::Newer(found) = *slot {
            return Err(OpenError::Version { path: path.to_owned(), found, known: VERSION });
        }
    }
    let sequences = slots.each_ref().map(|slot| match slot {
        Slot::Valid { sequence, .. } => *sequence,
        _ => 0,
    });
    let slot = u64::from(sequences[1] > sequences[0]);
    let [first, second] = slots;
    let (newest, older) = if slot == 0 { (first, second) } else { (second, first) };
    let Slot::Valid { sequence, record } = newest else {
        return Err(damaged("neither of its two records is good"));
    };
    // They take turns: the first record goes to the first slot, and each is one above the one it leaves.
    let (older, in_turn) = match older {
        Slot::Zero => (None, sequence == 1),
        Slot::Valid { sequence: before, record } => (Some(record), before + 1 == sequence),
        Slot::Bad | Slot::Newer(_) => (None, false),
    };
    Ok((file, Newest { slot, sequence, found: Found { record, older, newer_lost: !in_turn } }))
}

// === impl Slot ===

impl Slot {
    fn parse(bytes: &[u8]) -> Self {
        if bytes.iter().all(|&byte| byte == 0) {
            return Self::Zero;
        }
        if bytes.len() < RECORD_AT || bytes[..8] != MAGIC {
            return Self::Bad;
        }
        let len = u32_at(bytes, 24) as usize;
        if len > MAX_RECORD_BYTES || bytes.len() < RECORD_AT + len {
            return Self::Bad;
        }
        let bytes = &bytes[..RECORD_AT + len];
        if u32_at(bytes, CRC_AT) != checksum_around(0, bytes, CRC_AT) {
            return Self::Bad;
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            version => return Self::Newer(version),
        }
        match u64_at(bytes, 16) {
            0 => Self::Bad,
            sequence => Self::Valid { sequence, record: bytes[RECORD_AT..].to_vec() },
        }
    }
}
