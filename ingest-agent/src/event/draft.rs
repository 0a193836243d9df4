//! A batch while a source fills it.

use durable_channel::Batch;

use super::{KeyStamp, Known, encode, encode_body, known};

/// A batch of the channel that events are encoded into, and what is counted of them.
///
/// Dropping it gives the buffer back to the channel; nothing was stored.
pub struct Draft {
    batch: Batch,
    body_bytes: u64,
    /// What is known of every body so far.
    known: Known,
}

impl Draft {
    /// An empty draft in `batch`, which must be empty.
    pub fn new(batch: Batch) -> Self {
        debug_assert!(batch.is_empty());
        // Of no body at all everything is known.
        Self { batch, body_bytes: 0, known: Known::PLAIN_OBJECT }
    }

    /// Adds an event that is nothing but a body.
    #[inline]
    pub fn push_body(&mut self, body: &[u8]) {
        self.push_known(body, Known::NOTHING);
    }

    /// As [`push_body`](Self::push_body), of a body of which something is known.
    #[inline]
    pub fn push_known(&mut self, body: &[u8], known: Known) {
        self.known = self.known.and(known);
        self.body_bytes += body.len() as u64;
        self.batch.push(|buf| encode_body(buf, body));
    }

    /// Adds an event.
    pub fn push<'h>(
        &mut self,
        timestamp_ms: Option<i64>,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: &[u8],
    ) {
        self.known = Known::NOTHING;
        self.body_bytes += body.len() as u64;
        self.batch.push(|buf| encode(buf, timestamp_ms, headers, body));
    }

    /// How many events it holds.
    pub fn count(&self) -> u32 {
        self.batch.count()
    }

    /// Whether it holds no event.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Bytes of memory that it fills.
    pub fn len_bytes(&self) -> usize {
        self.batch.len_bytes()
    }

    /// Bytes of the bodies alone.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// The batch, ready to append.
    pub fn into_batch(mut self) -> Batch {
        if self.known != Known::NOTHING && !self.is_empty() {
            self.batch.annotate(|buf| known::encode(self.known, buf));
        }
        self.batch
    }

    /// The batch with the key of its request in the same frame.
    pub fn into_keyed_batch(self, key: &KeyStamp) -> Batch {
        let mut batch = self.into_batch();
        batch.annotate(|buf| key.encode(buf));
        batch
    }
}
