//! From an object's stream to batches of its rows, for those who take objects in parts.

use bytes::Bytes;
use object_format::Rows;

use super::rows::{ObjectRows, RowLimit};
use super::{Delivery, HandlerError};
use crate::fetch::Content;
use crate::reading::Reading;

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events in a batch at most, from 1.
    pub events: usize,
    /// Bytes in a batch at most, except that one larger event makes a batch of its own.
    pub bytes: usize,
    /// Bytes in an event at most; an object that holds a larger one is a dead letter.
    pub event_bytes: usize,
}

impl BatchLimits {
    /// Up to 1000 events and 1 MiB at a time.
    pub const SOME: Self = Self { events: 1000, bytes: 1 << 20, event_bytes: 16 << 20 };
    /// One event at a time.
    pub const ONE_BY_ONE: Self = Self { events: 1, ..Self::SOME };
    /// All of an object at once, up to 64 MiB; a larger one comes in several batches.
    pub const WHOLE: Self = Self { events: usize::MAX, bytes: 64 << 20, event_bytes: 64 << 20 };
}

/// Some of an object's rows, in their order: its events, or, where its format does not keep the
/// borders of events, its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What the rows are.
    pub rows: Rows,
    /// Number of its first row in the object, from 0. With the delivery's id it names the row in
    /// every attempt.
    pub first: u64,
    /// Rows in it, at least one.
    pub count: u64,
    /// The rows, each ended by a newline.
    pub bytes: Bytes,
    /// Whether the object ends with it. Then length and checksum of the whole were right.
    pub is_last: bool,
}

impl Batch {
    /// The rows, one after the other, without their newlines.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let rows = self.bytes.split_inclusive(|byte| *byte == b'\n');
        rows.map(|row| row.strip_suffix(b"\n").unwrap_or(row))
    }

    /// The position in its channel of the batch's first event, where that is known; see
    /// [`Delivery::position_of`].
    pub fn position(&self, delivery: &Delivery) -> Option<u64> {
        delivery.position_of(self.first).filter(|_| self.rows == Rows::Events)
    }

    /// Number of the first row in the object that is behind the batch.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// An object's batches. A batch is given out once a row beyond it has come, or the object's end;
/// in memory are one batch, one row and one piece of the stream.
#[derive(Debug)]
pub struct Batches<'a> {
    rows: ObjectRows<'a>,
    limits: BatchLimits,
    /// The row that begins the next batch.
    ahead: Option<Bytes>,
    first: u64,
}

impl<'a> Batches<'a> {
    /// The batches of an object of which nothing was read. An error if it is of a format that this
    /// server does not know.
    pub fn new(content: &'a mut Content, limits: BatchLimits) -> Result<Self, HandlerError> {
        let reading = content.reading().clone();
        Self::read_by(content, &reading, limits, "handler.max_event_bytes")
    }

    /// The same by another reading than the object's own; `setting` says how large an event may be.
    pub(crate) fn read_by(
        content: &'a mut Content,
        reading: &Reading,
        limits: BatchLimits,
        setting: &'static str,
    ) -> Result<Self, HandlerError> {
        let limit = RowLimit { bytes: limits.event_bytes, setting };
        Ok(Self { rows: ObjectRows::new(content, reading, limit)?, limits, ahead: None, first: 0 })
    }

    /// The next batch; `None` after the last one, and for an object without rows.
    pub async fn next(&mut self) -> Result<Option<Batch>, HandlerError> {
        let (mut bytes, mut count) = (Vec::new(), 0);
        let row = match self.ahead.take() {
            Some(row) => Some(row),
            None => self.rows.next().await?,
        };
        let mut next = row;
        while let Some(row) = next {
            if count > 0 && self.is_full(&bytes, count, &row) {
                self.ahead = Some(row);
                break;
            }
            bytes.extend_from_slice(&row);
            bytes.push(b'\n');
            count += 1;
            next = self.rows.next().await?;
        }
        Ok((count > 0).then(|| self.batch(bytes, count)))
    }

    /// Whether `row` belongs into the next batch.
    fn is_full(&self, bytes: &[u8], count: u64, row: &[u8]) -> bool {
        count >= self.limits.events as u64 || bytes.len() + row.len() + 1 > self.limits.bytes
    }

    fn batch(&mut self, bytes: Vec<u8>, count: u64) -> Batch {
        let first = self.first;
        self.first += count;
        let is_last = self.ahead.is_none();
        Batch { rows: self.rows.rows(), first, count, bytes: Bytes::from(bytes), is_last }
    }
}

#[cfg(test)]
mod tests;
