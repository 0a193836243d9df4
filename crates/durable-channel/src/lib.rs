//! A segmented, checksummed, synced log of batches with registered readers.

pub mod batch;
pub mod channel;
pub mod durable;
pub mod error;
mod format;
pub mod journal;
pub mod memory;
pub mod options;
pub mod reader;

pub use batch::{Batch, Mark};
pub use channel::{Appended, Channel, ReaderStatus, Start, Stats};
pub use durable::{DurableChannel, Recovery};
pub use error::{
    AppendError, ChannelFailure, CloseError, JournalError, OpenError, ReadError, RetireError, Unit,
};
pub use journal::Journal;
pub use memory::MemoryChannel;
pub use options::Options;
pub use reader::{Cursor, Item, Reader};
