//! The byte order mark that some programs write before their text.
//!
//! In UTF-8 it says nothing, and is no part of the text. In UTF-16 and UTF-32 it says that the text is not what these
//! shapes are made of: its lines would be cut inside characters.

use bytes::{Bytes, BytesMut};

use super::{BadInput, Shape};

/// The beginning of a body, until it is known whether a mark stands there.
#[derive(Debug)]
pub(super) struct Mark {
    /// Bytes that may be the beginning of a mark; `None` once that is decided.
    begun: Option<BytesMut>,
    /// Bytes of the mark that was passed over.
    pub(super) passed: u64,
}

const UTF_8: &[u8] = b"\xef\xbb\xbf";

/// Marks that are not UTF-8's, with the names of their charsets. Two bytes tell UTF-16 from any text in UTF-8.
const OTHERS: [(&[u8], &str); 3] =
    [(b"\xff\xfe", "UTF-16 or UTF-32"), (b"\xfe\xff", "UTF-16"), (b"\0\0\xfe\xff", "UTF-32")];

impl Mark {
    /// The mark before a body of this shape. Raw bytes have none, and Flume's JSON reads its own.
    pub(super) fn new(shape: Shape) -> Self {
        let has_mark = matches!(shape, Shape::Json | Shape::JsonLines { .. } | Shape::TextLines);
        Self { begun: has_mark.then(BytesMut::new), passed: 0 }
    }

    /// The part of the next chunk that is text, with what was held back before it; `None` while nothing is known.
    pub(super) fn pass(&mut self, chunk: Bytes) -> Result<Option<Bytes>, BadInput> {
        let Some(begun) = &mut self.begun else { return Ok(Some(chunk)) };
        let whole = if begun.is_empty() {
            chunk
        } else {
            begun.extend_from_slice(&chunk);
            std::mem::take(begun).freeze()
        };
        if is_beginning_of_a_mark(&whole) {
            *begun = BytesMut::from(&whole[..]);
            return Ok(None);
        }
        self.begun = None;
        self.text(whole).map(Some)
    }

    /// What was held back when the body ended.
    pub(super) fn rest(&mut self) -> Result<Option<Bytes>, BadInput> {
        match self.begun.take() {
            Some(begun) if !begun.is_empty() => self.text(begun.freeze()).map(Some),
            _ => Ok(None),
        }
    }

    fn text(&mut self, mut whole: Bytes) -> Result<Bytes, BadInput> {
        if let Some((_, charset)) = OTHERS.iter().find(|(mark, _)| whole.starts_with(mark)) {
            return Err(BadInput::at(0, format!("this is the byte order mark of {charset}: send UTF-8")));
        }
        if whole.starts_with(UTF_8) {
            self.passed = UTF_8.len() as u64;
            whole = whole.slice(UTF_8.len()..);
        }
        Ok(whole)
    }
}

/// Whether more bytes are needed to know.
fn is_beginning_of_a_mark(bytes: &[u8]) -> bool {
    let marks = OTHERS.iter().map(|(mark, _)| *mark).chain([UTF_8]);
    marks.into_iter().any(|mark| bytes.len() < mark.len() && mark.starts_with(bytes))
}
