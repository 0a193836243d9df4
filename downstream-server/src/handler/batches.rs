//! From an object's stream to batches of whole lines, an event each, for those who take objects
//! in parts.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::HandlerError;
use crate::fetch::Content;

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

/// Some of an object's events, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of its first event in the object, from 0. With the delivery's id it names the event
    /// in every attempt.
    pub first: u64,
    /// Events in it, at least one.
    pub events: u64,
    /// The events, each ended by a newline.
    pub lines: Bytes,
    /// Whether the object ends with it. Then length and checksum of the whole were right.
    pub is_last: bool,
}

impl Batch {
    /// The events, one after the other, without their newlines.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}

/// An object's batches. A batch is given out once a byte beyond it has come, or the object's end;
/// in memory are one batch, one event and one piece of the stream.
#[derive(Debug)]
pub struct Batches<'a> {
    content: &'a mut Content,
    limits: BatchLimits,
    buffer: BytesMut,
    /// Number of the batch's first event.
    first: u64,
    /// Whole events in the batch so far, and where the last of them ends.
    events: u64,
    end: usize,
    /// How far the buffer was searched for the end of the next event.
    searched: usize,
    is_full: bool,
    ended: bool,
}

impl<'a> Batches<'a> {
    /// The batches of an object of which nothing was read.
    pub fn new(content: &'a mut Content, limits: BatchLimits) -> Self {
        let buffer = BytesMut::new();
        Self {
            content,
            limits,
            buffer,
            first: 0,
            events: 0,
            end: 0,
            searched: 0,
            is_full: false,
            ended: false,
        }
    }

    /// The next batch; `None` after the last one, and for an object without events.
    pub async fn next(&mut self) -> Result<Option<Batch>, HandlerError> {
        loop {
            self.search()?;
            if (self.is_full && self.buffer.len() > self.end) || (self.ended && self.end > 0) {
                return Ok(Some(self.take()));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(piece) = self.content.next().await? {
                self.buffer.extend_from_slice(&piece);
            } else {
                self.ended = true;
                if self.buffer.last().is_some_and(|last| *last != b'\n') {
                    self.buffer.extend_from_slice(b"\n");
                }
            }
        }
    }

    /// Adds whole events to the batch until it is full.
    fn search(&mut self) -> Result<(), HandlerError> {
        while !self.is_full {
            let found = memchr(b'\n', &self.buffer[self.searched..]);
            let end = found.map_or(self.buffer.len(), |at| self.searched + at);
            if end - self.end > self.limits.event_bytes {
                return Err(HandlerError::Never(Box::new(TooLarge {
                    number: self.first + self.events,
                    limit: self.limits.event_bytes,
                })));
            }
            self.searched = end;
            if found.is_none() {
                break;
            }
            if self.events > 0 && end + 1 > self.limits.bytes {
                self.is_full = true;
                break;
            }
            self.events += 1;
            self.end = end + 1;
            self.searched = self.end;
            self.is_full = self.events >= self.limits.events as u64 || self.end >= self.limits.bytes;
        }
        Ok(())
    }

    fn take(&mut self) -> Batch {
        let lines = self.buffer.split_to(self.end).freeze();
        let batch = Batch {
            first: self.first,
            events: self.events,
            lines,
            is_last: self.ended && self.buffer.is_empty(),
        };
        self.first += self.events;
        (self.events, self.end, self.searched, self.is_full) = (0, 0, 0, false);
        batch
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "event {number} of the object, counted from 0, is larger than handler.max_event_bytes, which is {limit}"
)]
struct TooLarge {
    number: u64,
    limit: usize,
}

#[cfg(test)]
mod tests;
