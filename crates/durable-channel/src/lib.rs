//! A durable channel: a segmented, checksummed, synced log of batches with registered readers.
//!
//! This header is the specification of format version 1, to the byte. [`Channel`] is the contract of its use.
//!
//! ## Words
//!
//! A *position* is an event's number in its channel, from 0, dense, never given twice (I2). A *frame* is one
//! appended batch, whole or absent. A *segment* is one file of frames. The *synced end* is the position below which
//! everything is on the disk. To *attest* a synced end is to prove that it was reached.
//!
//! All numbers are little-endian and unsigned. All checksums are crc32c. Where a checksum is said to be *salted*, it
//! continues from the crc32c of the eight bytes of its file's id, so that blocks that were part of another file
//! never look valid. Reserved bytes are zero.
//!
//! ## The directory
//!
//! ```text
//! lock                                empty; locked (flock) while a process has the channel open, as is the directory
//! identity                            slots: who the channel is
//! segments/00000000000000001234.seg   the segment whose first position is 1234
//! segments/reserve                    the next segment, allocated ahead; its contents mean nothing
//! readers/NAME/progress               slots: where the reader NAME is
//! readers/NAME/*                      journals and other files of the reader's owner
//! readers/NAME.retired/               the reader NAME was retired: the name is used up under this channel id
//! damaged/SEGMENT-OFFSET.bin          damaged bytes, copied before they were forgotten; nobody reads them
//! damaged/NAME-progress.bin           the same of a reader's progress
//! ```
//!
//! `identity.new` and `readers/NAME.new` are halfway made, and removed. That `readers/NAME.retired` exists is what
//! counts; it is emptied of all but `progress`, which nobody reads any more. `adopt` removes it.
//!
//! ## Slots: `identity`, `progress`
//!
//! Two slots of 4096 bytes take turns, so that overwriting one never endangers the other. The good one with the higher
//! sequence counts. The first record goes to the first slot, so neighbouring sequences take turns; two good slots of
//! different channels or readers are refused. A slot that was not synced yet is overwritten in place; the synced one waits.
//!
//! ```text
//!  0   8  "SLGSLOTS"
//!  8   4  format version, 1
//! 12   4  checksum of bytes 0..12 and 16..32+length
//! 16   8  sequence, from 1
//! 24   4  length of the record, at most 480
//! 28   4  reserved
//! 32   .  the record
//!
//! identity:  16 channel id | 8 incarnation | 16 nonce of this incarnation | 8 a synced end
//! progress:   8 start      | 8 released: the reader is done with every position below
//! ```
//!
//! ## The header block: segments and journals
//!
//! The first 4096 bytes. It is there twice, at 0 and at 2048; either copy serves, of two good ones the one with the
//! higher number.
//!
//! ```text
//!  0   8  "SLGSEGMT" or "SLGJOURN"
//!  8   4  format version, 1
//! 12   4  checksum of bytes 0..12 and 16..64
//! 16   8  the file's id: random, new for each use of the file, the salt of its checksums
//! 24   8  a segment's first position, a journal's generation
//! 32  32  reserved
//! ```
//!
//! ## Segments
//!
//! From 4096 on, frames at multiples of eight, padded with zeros. A frame never spans segments. A segment is
//! allocated at its full size; behind its last frame are zeros. It ends, in positions, where the next one starts.
//!
//! ```text
//!  0   4  length of header and payload, without padding; 0 is no frame
//!  4   4  checksum of the payload, salted
//!  8   8  first position
//! 16   4  count of positions; 0 is no frame
//! 20   4  checksum of bytes 0..20 and 24..40, salted
//! 24   8  arrival: when it was appended, in milliseconds since 1970
//! 32   8  the synced end known when the frame was written
//! 40   .  payload: the encoded events one after the other, opaque here
//! ```
//!
//! ## Writing
//!
//! One thread takes all batches that are queued, up to `max_group_bytes`, writes them with one call, syncs once, and
//! then moves the synced end past them: what was acknowledged is durable (I1). A segment gets its name only after its
//! header and all frames before it are synced, so a name attests everything below its position. A frame attests
//! the synced end that it carries, the identity record the one at each start and clean close, and a reader's progress
//! everything that it released. A failed write or sync ends the channel; a sync is never retried.
//!
//! ## Opening
//!
//! Only the last segment is scanned: the time does not grow with the channel. Let E be the highest synced end that
//! anything attests. A bad frame below E is damage: its positions stay used, are read as [`Item::Damaged`] and are
//! counted. At or above E, the first bad frame is where the tail is torn: it and all behind it are cut; their sync
//! never returned. The good frames from E on may be in memory only, looking clean after a failed sync: they are copied
//! into a new segment, which is synced, named (a name says where the segment before it ends), and synced by name,
//! before anyone reads or appends. The last group before a crash has no later witness: damage that hits just that
//! group looks like a torn tail.
//!
//! What cannot be told without risking that a position is given twice is refused ([`OpenError::Damaged`]):
//! a last segment whose header is bad, a missing identity, segments that are all gone. `adopt` mints a new id, under
//! which every position is new. An I/O error is never taken for damage.
//!
//! ## Reading, releasing, deleting
//!
//! Readers never look past the synced end. After damage a reader goes on at the next good frame header, which the salt
//! and its own checksum make unmistakable; a bad payload under a good header costs that frame only. Progress is
//! written at each release, and synced before a segment is deleted, which happens when every registered reader is
//! done with it (I6). The last segment is never deleted: its name keeps the channel's place.
//!
//! ## A full disk
//!
//! Appends are refused while there is no reserve, or less free space than the floor; without a reserve nothing is
//! written either, and what was accepted waits for one ([`Channel::waits_for`]). Bytes, inodes, quotas and file
//! descriptors are all the same here: what has run out has failed nothing, and the refusal names it ([`Shortage`]). The
//! reserve and the directory stay open, so that going on in the next segment opens nothing. Everything that drains works without new space: progress and
//! identity are overwritten in place, journals are allocated ahead, and the frames that opening copies go to the
//! reserve.
//!
//! ## Journals: `NAME.a`, `NAME.b`
//!
//! The header block, then entries at multiples of eight, padded with zeros; what one append wrote is one entry. A
//! snapshot starts the other file with the next generation; the generation 1 starts with nothing. The file with the
//! higher generation counts if its snapshot is good, else the other one. A bad entry is a torn tail if no good one
//! follows; else, and if a header is bad in both copies, the journal is refused.
//!
//! ```text
//!  0   4  length of the entry, without padding; 0 is no entry
//!  4   4  checksum of the entry's offset in the file (8 bytes) and bytes 0..4 and 8..length, salted
//!  8   4  count of records
//! 12   4  1: a snapshot, 2: records
//! 16   .  records: 4 bytes of length, then its bytes
//! ```
//!
//! ## The code, in the order in which a batch meets it

mod channel;
mod options;

mod batch;
mod queue;
mod reservation;
mod writer;

mod frame;
mod segment;

mod durable;
mod shared;

mod identity;
mod recovery;

mod reader;
mod registry;
mod scan;
mod walk;

mod aside;

mod journal;

mod inspect;
mod repair;

mod memory;

pub mod disk;
mod error;
mod format;
mod ranges;
mod slots;

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(any(test, feature = "test-util"))]
pub mod sim;

pub use batch::{Batch, Mark};
pub use channel::{Appended, Channel, ReaderStatus, Start, Stats};
pub use durable::{DurableChannel, Recovery};
pub use error::{
    AppendError, ChannelFailure, CloseError, JournalError, OpenError, ReadError, RetireError, Shortage, Unit,
};
pub use inspect::{Inspection, JournalStatus, Problem, ReaderFiles, SegmentStatus, Severity};
pub use journal::{Journal, JournalContents};
pub use memory::MemoryChannel;
pub use options::Options;
pub use reader::{Cursor, Item, Reader};
pub use repair::Repair;
pub use reservation::Reservation;

/// The newest format version of the files of a channel; every older one is read, a newer one refused.
pub const FORMAT_VERSION: u32 = format::VERSION;
