//! Journals: small synced records of a reader's owner, on space that was allocated ahead.

use std::path::Path;

use crate::error::JournalError;

/// A journal of records since the last snapshot, in two preallocated files that alternate.
pub struct Journal {}

// === impl Journal ===

impl Journal {
    /// Opens `NAME.a` and `NAME.b` in `dir`, creating them with `bytes` each, and returns the records since the
    /// last snapshot, that snapshot first.
    pub fn open(_dir: &Path, _name: &str, _bytes: u64) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        unimplemented!()
    }

    /// Appends one record. It is synced when this returns.
    pub fn append(&mut self, _record: &[u8]) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Appends all of `records` with one sync: after a crash all of them are there, or none.
    pub fn append_all(&mut self, _records: &[&[u8]]) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Whether enough was appended since the last snapshot that another is worth its write.
    pub fn snapshot_due(&self) -> bool {
        unimplemented!()
    }

    /// Replaces everything by one record, `state`, synced in the other file before this one is given up.
    pub fn snapshot(&mut self, _state: &[u8]) -> Result<(), JournalError> {
        unimplemented!()
    }
}
