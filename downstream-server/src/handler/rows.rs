//! The rows of an object as they come: what batches, files and the feed are made of.

use bytes::Bytes;
use object_format::{ReadError, Reader, Row, Rows};

use super::HandlerError;
use crate::fetch::{Content, FetchError};
use crate::reading::Reading;

/// The largest row that is taken, and the setting that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowLimit {
    pub(crate) bytes: usize,
    pub(crate) setting: &'static str,
}

/// Takes an object of which nothing was read apart. In memory are one row and one piece of the stream.
#[derive(Debug)]
pub(crate) struct ObjectRows<'a> {
    content: &'a mut Content,
    reader: Reader,
    limit: RowLimit,
    /// Number of the next row, from 0.
    number: u64,
    ended: bool,
}

impl<'a> ObjectRows<'a> {
    /// The rows by `reading`; an error if that is none that this server knows.
    pub(crate) fn new(
        content: &'a mut Content,
        reading: &Reading,
        limit: RowLimit,
    ) -> Result<Self, FetchError> {
        let reader = Reader::new(reading.rows()?, limit.bytes);
        Ok(Self { content, reader, limit, number: 0, ended: false })
    }

    /// What the rows are.
    pub(crate) fn rows(&self) -> Rows {
        self.reader.rows()
    }

    /// The next row without its newline. `None` at the object's end: length and checksum were right.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, HandlerError> {
        loop {
            let row = self.reader.next().map_err(|error| self.unread(error))?;
            if let Some(row) = row {
                return Ok(Some(self.count(row)));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(piece) = self.content.next().await? {
                self.reader.feed(piece);
                continue;
            }
            self.ended = true;
            let last = self.reader.finish().map_err(|error| self.unread(error))?;
            return Ok(last.map(|row| self.count(row)));
        }
    }

    fn count(&mut self, row: Row) -> Bytes {
        self.number += 1;
        row.into_bytes()
    }

    fn unread(&self, error: ReadError) -> HandlerError {
        let ReadError::TooLong { .. } = error else { return HandlerError::Never(error.into()) };
        let too_large = TooLarge { row: one(self.rows()), number: self.number, limit: self.limit };
        HandlerError::Never(too_large.into())
    }
}

/// What one row is called.
pub(crate) fn one(rows: Rows) -> &'static str {
    match rows {
        Rows::Events => "event",
        Rows::Lines => "line",
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "{row} {number} of the object, counted from 0, is larger than {}, which is {}; raise it and replay the object",
    limit.setting,
    limit.bytes
)]
struct TooLarge {
    row: &'static str,
    number: u64,
    limit: RowLimit,
}
