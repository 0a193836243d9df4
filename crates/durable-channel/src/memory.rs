//! A channel in memory, for those who choose speed over durability.

use std::sync::Arc;

use crate::batch::Batch;
use crate::channel::{Appended, Channel, ReaderStatus, Start, Stats};
use crate::error::{AppendError, ChannelFailure, CloseError, OpenError, RetireError};
use crate::reader::Reader;

/// A channel that is lost with the process.
pub struct MemoryChannel {}

impl MemoryChannel {
    /// A channel of at most `capacity_events` events and `capacity_bytes` bytes, `transaction_capacity` events
    /// in one batch.
    pub fn new(_capacity_events: u64, _transaction_capacity: u64, _capacity_bytes: u64) -> Result<Self, OpenError> {
        unimplemented!()
    }
}

impl Channel for MemoryChannel {
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
