//! The durable channel: a directory, opened.

use std::path::Path;
use std::sync::Arc;

use crate::batch::Batch;
use crate::channel::{Appended, Channel, ReaderStatus, Start, Stats};
use crate::error::{AppendError, ChannelFailure, CloseError, OpenError, RetireError};
use crate::options::Options;
use crate::reader::Reader;

/// A channel on disk: what it calls synced survives the process and the machine.
pub struct DurableChannel {}


/// What opening a channel found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the channel was made just now.
    pub created: bool,
    /// The first position held.
    pub first: u64,
    /// The position that the next event gets.
    pub next: u64,
    /// Frames beyond the last recorded synced end, copied into a new segment and synced.
    pub copied_frames: u64,
    /// Bytes of a torn tail that were cut. Nothing acknowledged was in them.
    pub torn_bytes: u64,
    /// Positions lost to damage that were found while opening: first and count.
    pub damaged: Vec<(u64, u64)>,
}

impl DurableChannel {
    /// Opens the channel in `dir`, or makes one there. Recovers whatever a crash left.
    pub fn open(_dir: &Path, _options: &Options) -> Result<(Self, Recovery), OpenError> {
        unimplemented!()
    }

    /// Gives a channel that nobody has open a new id: for a clone, which must not write under the original's.
    pub fn adopt(_dir: &Path) -> Result<[u8; 16], OpenError> {
        unimplemented!()
    }

    /// The random number of this incarnation. A clone of the directory that is started has another one for the
    /// same id and incarnation.
    pub fn claim_nonce(&self) -> [u8; 16] {
        unimplemented!()
    }
}

impl Channel for DurableChannel {
    fn id(&self) -> [u8; 16] {
        unimplemented!()
    }
    fn incarnation(&self) -> u64 {
        unimplemented!()
    }
    fn batch(&self) -> Batch {
        unimplemented!()
    }
    fn append(&self, _batch: Batch) -> Result<Appended, AppendError> {
        unimplemented!()
    }
    fn synced_end(&self) -> u64 {
        unimplemented!()
    }
    fn failure(&self) -> Option<Arc<ChannelFailure>> {
        unimplemented!()
    }
    fn on_progress(&self, _hook: Box<dyn Fn() + Send + Sync>) {
        unimplemented!()
    }
    fn reader(&self, _name: &str, _start: Start) -> Result<Reader, OpenError> {
        unimplemented!()
    }
    fn readers(&self) -> Vec<ReaderStatus> {
        unimplemented!()
    }
    fn retire(&self, _name: &str) -> Result<(), RetireError> {
        unimplemented!()
    }
    fn stats(&self) -> Stats {
        unimplemented!()
    }
    fn close(&self) -> Result<(), CloseError> {
        unimplemented!()
    }
}
