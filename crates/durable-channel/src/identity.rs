//! Who a channel is: its id, how often it was started, and the nonce of this start.
//!
//! The nonce is what tells a clone: two copies of a directory raise the incarnation to the same number,
//! each with a nonce of its own.

use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{random_bytes, u64_at};
use crate::slots::{Found, Slots};

pub(crate) const FILE: &str = "identity";
const NEW: &str = "identity.new";
const RECORD_BYTES: usize = 48;

/// A channel's identity and the file that keeps it.
pub(crate) struct Identity {
    slots: Slots,
    pub(crate) record: Record,
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: [u8; 16],
    /// 0 until the first start under this id.
    pub(crate) incarnation: u64,
    pub(crate) nonce: [u8; 16],
    /// Every position below this was synced when the record was written.
    pub(crate) synced_end: u64,
}

// === impl Identity ===

impl Identity {
    /// Mints a new id in `dir`, replacing whatever identity there was. Positions go on where they are, and not below
    /// `used_below`.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, used_below: u64) -> Result<Self, OpenError> {
        let synced_end = match Self::look(disk, dir) {
            Ok(old) => old.synced_end.max(used_below),
            // What the old record attests is lost with it: that is why someone adopts.
            Err(OpenError::Damaged { .. }) => used_below,
            Err(error) => return Err(error),
        };
        let io_error = || OpenError::io(format!("creating the identity in {}", dir.display()));
        let record =
            Record { id: random_bytes().map_err(io_error())?, incarnation: 0, nonce: [0; 16], synced_end };
        Slots::create(disk, &dir.join(NEW), &record.encode()).map_err(io_error())?;
        disk.rename(&dir.join(NEW), &dir.join(FILE)).map_err(io_error())?;
        disk.sync_dir(dir).map_err(io_error())?;
        Self::load(disk, dir)
    }

    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE);
        let (slots, found) = Slots::open(disk, &path).map_err(with_advice)?;
        Ok(Self { slots, record: Record::of(&found, path)? })
    }

    /// What the file says, without changing anything.
    pub(crate) fn look(disk: &dyn Disk, dir: &Path) -> Result<Record, OpenError> {
        let path = dir.join(FILE);
        Record::of(&Slots::look(disk, &path).map_err(with_advice)?, path)
    }

    /// Records a start, synced: a higher incarnation with a nonce of its own.
    pub(crate) fn start(&mut self, synced_end: u64) -> Result<(), OpenError> {
        let io_error = || OpenError::io("recording the start of the channel");
        self.record.incarnation += 1;
        self.record.nonce = random_bytes().map_err(io_error())?;
        self.record_synced_end(synced_end).map_err(io_error())
    }

    /// Records that every position below `synced_end` is synced: the witness of a last group that no later
    /// frame attests.
    pub(crate) fn record_synced_end(&mut self, synced_end: u64) -> std::io::Result<()> {
        self.record.synced_end = synced_end;
        self.slots.write(&self.record.encode())?;
        self.slots.sync()
    }
}

fn with_advice(error: OpenError) -> OpenError {
    error.with_advice("restore it, or give the channel a new id with `channel adopt`")
}

// === impl Record ===

impl Record {
    fn of(found: &Found, path: PathBuf) -> Result<Self, OpenError> {
        let Some(mut record) = Self::decode(&found.record) else {
            return Err(with_advice(OpenError::Damaged {
                path,
                what: "its record has another layout".to_owned(),
            }));
        };
        if found.older.as_deref().and_then(Self::decode).is_some_and(|older| older.id != record.id) {
            let what = "its two records are of different channels".to_owned();
            return Err(with_advice(OpenError::Damaged { path, what }));
        }
        // A start that was recorded in the lost slot may have claimed its number.
        record.incarnation += u64::from(found.newer_lost);
        Ok(record)
    }

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..24].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.nonce);
        bytes[40..48].copy_from_slice(&self.synced_end.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        Some(Self {
            id: bytes[..16].try_into().expect("sixteen bytes were taken"),
            incarnation: u64_at(bytes, 16),
            nonce: bytes[24..40].try_into().expect("sixteen bytes were taken"),
            synced_end: u64_at(bytes, 40),
        })
    }
}
