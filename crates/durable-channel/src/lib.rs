//! TODO spec

mod batch;
mod channel;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod disk;
mod durable;
mod error;
mod format;
mod frame;
mod identity;
mod journal;
mod memory;
mod options;
mod queue;
mod ranges;
mod reader;
mod recovery;
mod registry;
mod scan;
mod segment;
mod shared;
#[cfg(any(test, feature = "test-util"))]
pub mod sim;
mod slots;
mod writer;

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
