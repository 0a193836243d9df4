//! Batches: frames in the making, in buffers that are used again.
//!
//! A source encodes its events straight behind the room for the frame's header. What it encoded is never copied
//! again: the writer fills in the header, checksums once and hands the buffer to the system.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::format::FRAME_HEADER_BYTES;

/// One batch of events on its way into a channel: whole or absent, one frame.
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
    pool: Arc<Pool>,
}

/// A point of a batch to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    len: usize,
    count: u32,
}

/// Buffers of finished batches, kept for the next ones up to a bound in bytes.
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    limit_bytes: usize,
}

#[derive(Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer beyond this share of the pool's bound is given back to the system rather than kept.
const LARGEST_KEPT_SHARE: usize = 4;

// === impl Batch ===

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the payload: events are nobody's business in a log.
        f.debug_struct("Batch")
            .field("count", &self.count)
            .field("len_bytes", &self.len_bytes())
            .finish_non_exhaustive()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}

impl Batch {
    /// Adds one event: `encode` appends its bytes to the buffer, and must leave what it finds there alone.
    pub fn push<R>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.bytes.len();
        let result = encode(&mut self.bytes);
        debug_assert!(self.bytes.len() >= before, "an encoder only appends");
        self.count += 1;
        result
    }

    /// As [`push`](Self::push), but takes back what `encode` appended if it fails.
    pub fn try_push<R, E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<R, E>) -> Result<R, E> {
        let mark = self.mark();
        let result = self.push(encode);
        if result.is_err() {
            self.rollback_to(mark);
        }
        result
    }

    /// Adds bytes that belong to no event: what is to be known of the batch as a whole. `encode` only appends.
    pub fn annotate(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        encode(&mut self.bytes);
        debug_assert!(self.bytes.len() >= before, "an encoder only appends");
    }

    /// Adds all that another batch holds, possibly of another channel.
    pub fn copy_from(&mut self, other: &Self) {
        self.bytes.extend_from_slice(other.payload());
        self.count += other.count;
    }

    /// This point, to go back to.
    pub fn mark(&self) -> Mark {
        Mark { len: self.bytes.len(), count: self.count }
    }

    /// Forgets every event added since `mark`.
    pub fn rollback_to(&mut self, mark: Mark) {
        debug_assert!(mark.len >= FRAME_HEADER_BYTES && mark.len <= self.bytes.len(), "a mark of this batch");
        self.bytes.truncate(mark.len);
        self.count = mark.count;
    }

    /// Forgets every event.
    pub fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEADER_BYTES);
        self.count = 0;
    }

    /// The encoded events, one after the other.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER_BYTES..]
    }

    /// The bytes of its frame: payload and header. What limits and reservations count.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many events it holds.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether it holds no event.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The whole frame, its header not filled in yet.
    pub(crate) fn frame_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The whole frame.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.bytes
    }
}

// === impl Pool ===

impl Pool {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), limit_bytes })
    }

    /// An empty batch, its buffer a used one if there is one.
    pub(crate) fn batch(self: &Arc<Self>) -> Batch {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = idle.buffers.pop().unwrap_or_default();
        idle.bytes -= bytes.capacity();
        drop(idle);
        bytes.clear();
        bytes.resize(FRAME_HEADER_BYTES, 0);
        Batch { bytes, count: 0, pool: Arc::clone(self) }
    }

    fn give(&self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > self.limit_bytes / LARGEST_KEPT_SHARE {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.bytes + capacity <= self.limit_bytes {
            idle.bytes += capacity;
            idle.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_event_leaves_no_trace_in_its_batch() {
        let mut batch = Pool::new(1024).batch();
        batch.push(|buf| buf.extend_from_slice(b"one"));
        let failed: Result<(), &str> = batch.try_push(|buf| {
            buf.extend_from_slice(b"half an ev");
            Err("too long")
        });
        assert_eq!(failed, Err("too long"));
        assert_eq!((batch.payload(), batch.count()), (&b"one"[..], 1));
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = Pool::new(4096);
        let batches: Vec<_> = (0..32)
            .map(|_| {
                let mut batch = pool.batch();
                batch.push(|buf| buf.resize(600, 7));
                batch
            })
            .collect();
        drop(batches);
        let idle = pool.idle.lock().unwrap();
        let held: usize = idle.buffers.iter().map(Vec::capacity).sum();
        assert_eq!(held, idle.bytes);
        assert!(held <= 4096 && !idle.buffers.is_empty(), "{held} bytes kept");
    }

    #[test]
    fn a_used_buffer_comes_back_empty() {
        let pool = Pool::new(1 << 16);
        let mut batch = pool.batch();
        batch.push(|buf| buf.extend_from_slice(b"secret of the first"));
        drop(batch);
        let batch = pool.batch();
        assert!(batch.is_empty() && batch.payload().is_empty());
        assert_eq!(batch.frame(), [0; FRAME_HEADER_BYTES]);
    }
}
