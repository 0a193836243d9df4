//! Who a channel is: its id, how often it was started, and the nonce of this start.
//!
//! The nonce is what tells a clone: two copies of a directory raise the incarnation to the same number,
//! each with a nonce of its own.

use std::path::Path;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::format::{random_bytes, u64_at};
use crate::slots::Slots;

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
    /// Mints a new id in `dir`, replacing whatever identity there was. Positions go on where they are.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        // What the old record attests is lost with it if it cannot be read: that is why someone adopts.
        let synced_end = Self::load(disk, dir).map_or(0, |old| old.record.synced_end);
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
        let (slots, found) = Slots::open(disk, &path).map_err(|error| match error {
            OpenError::Damaged { path, what } => OpenError::Damaged {
                path,
                what: format!("{what}; give the channel a new id with `channel adopt`, or restore the file"),
            },
            other => other,
        })?;
        let Some(mut record) = Record::decode(&found.record) else {
            return Err(OpenError::Damaged { path, what: "its record has another layout".to_owned() });
        };
        // A start that was recorded in the lost slot may have claimed its number.
        record.incarnation += u64::from(found.newer_lost);
        Ok(Self { slots, record })
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

// === impl Record ===

impl Record {
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
