//! From an object's decoded bytes to its rows, wherever the bytes are cut.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;

use crate::Rows;

/// Takes the bytes of an object apart into rows.
///
/// It holds the piece that it was fed last and the beginning of one row. A row that lies within one piece shares its
/// memory, and keeps that piece alive.
#[derive(Debug)]
pub struct Reader {
    rows: Rows,
    max_row_bytes: usize,
    input: Bytes,
    partial: BytesMut,
}

/// What stands between two newlines of an object, without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// One event, as its format wrote it.
    Event(Bytes),
    /// A line, which may be less or more than one event.
    Line(Bytes),
}

/// Why an object's rows cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A row is longer than one may be.
    #[error("a row has more than {limit} bytes")]
    TooLong {
        /// The most bytes of a row.
        limit: usize,
    },
}

impl Reader {
    /// The way in which rows are found and numbered, from 0. A changed one is a new number.
    pub const VERSION: u32 = 1;

    /// A reader of an object whose rows are `rows`, none of them longer than `max_row_bytes`.
    pub fn new(rows: Rows, max_row_bytes: usize) -> Self {
        Self { rows, max_row_bytes, input: Bytes::new(), partial: BytesMut::new() }
    }

    /// What its rows are.
    pub fn rows(&self) -> Rows {
        self.rows
    }

    /// Takes the next bytes. Call it only after [`next`](Self::next) gave `None`.
    pub fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "feeding a reader that is not empty");
        self.input = input;
    }

    /// The next row, or `None` when it needs more bytes. After an error there are no further rows.
    #[expect(clippy::should_implement_trait, reason = "None means: feed it, and go on")]
    pub fn next(&mut self) -> Result<Option<Row>, ReadError> {
        let end = memchr(b'\n', &self.input);
        let length = end.unwrap_or(self.input.len());
        if self.partial.len().saturating_add(length) > self.max_row_bytes {
            return Err(ReadError::TooLong { limit: self.max_row_bytes });
        }
        let piece = self.input.split_to(length);
        if end.is_none() {
            self.partial.extend_from_slice(&piece);
            return Ok(None);
        }
        self.input.advance(1);
        if self.partial.is_empty() {
            return Ok(Some(self.row(piece)));
        }
        self.partial.extend_from_slice(&piece);
        let whole = std::mem::take(&mut self.partial).freeze();
        Ok(Some(self.row(whole)))
    }

    /// The object has ended: a last row that no newline ends, if there is one.
    pub fn finish(&mut self) -> Result<Option<Row>, ReadError> {
        if let Some(row) = self.next()? {
            return Ok(Some(row));
        }
        let last = std::mem::take(&mut self.partial).freeze();
        Ok((!last.is_empty()).then(|| self.row(last)))
    }

    fn row(&self, bytes: Bytes) -> Row {
        match self.rows {
            Rows::Events => Row::Event(bytes),
            Rows::Lines => Row::Line(bytes),
        }
    }
}

impl Row {
    /// Its bytes, without the newline.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Event(bytes) | Self::Line(bytes) => bytes,
        }
    }

    /// As [`bytes`](Self::bytes), given away.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Event(bytes) | Self::Line(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(rows: Rows, text: &[u8], cuts: &[usize], limit: usize) -> Result<Vec<Row>, ReadError> {
        let mut reader = Reader::new(rows, limit);
        let mut found = Vec::new();
        for pair in cuts.windows(2) {
            reader.feed(Bytes::copy_from_slice(&text[pair[0]..pair[1]]));
            while let Some(row) = reader.next()? {
                found.push(row);
            }
            assert!(reader.partial.len() <= limit);
        }
        found.extend(reader.finish()?);
        assert_eq!(reader.finish(), Ok(None));
        Ok(found)
    }

    proptest! {
        #[test]
        fn wherever_bytes_are_cut_the_rows_are_the_same(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
            events in any::<bool>(),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut expected: Vec<_> = text.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice).collect();
            expected.pop_if(|last| last.is_empty());
            let row = |bytes| if events { Row::Event(bytes) } else { Row::Line(bytes) };
            let expected: Vec<_> = expected.into_iter().map(row).collect();
            let rows = if events { Rows::Events } else { Rows::Lines };
            prop_assert_eq!(read(rows, &text, &cuts, 200), Ok(expected));
        }
    }

    #[test]
    fn a_row_at_the_limit_is_taken_and_a_longer_one_refused_before_it_is_held() {
        let text = b"12345\n1234567\n";
        for step in 1..=text.len() {
            let cuts: Vec<_> = (0..text.len()).step_by(step).chain([text.len()]).collect();
            assert_eq!(read(Rows::Lines, text, &cuts, 7).map(|rows| rows.len()), Ok(2), "step {step}");
            let refused = read(Rows::Lines, text, &cuts, 6);
            assert_eq!(refused, Err(ReadError::TooLong { limit: 6 }), "step {step}");
        }
    }
}
