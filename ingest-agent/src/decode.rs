//! What people send, taken apart into events.
//!
//! A [`Decoder`] is fed the bytes of one request as they come and writes events into a [`Draft`]. Lines are
//! encoded as they arrive, straight from the chunk that holds them; what can only be judged whole (JSON, a raw body) is
//! kept until its end, and not copied if it came in one chunk. A decoder that fails leaves events in the draft:
//! the caller drops both, since a request is stored whole or not at all.

pub mod charset;
mod flume;
mod json;
pub mod lines;
mod mark;
pub mod media_type;
pub mod whole;

use std::fmt;

use bytes::Bytes;

use self::charset::Charset;
use self::lines::Lines;
use self::mark::Mark;
use self::whole::Whole;
use crate::event::{Draft, Known};

/// How the bytes of a request are to be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The array of Flume's `JSONHandler`, in a charset; `normalise` stores the bodies as UTF-8 in any case.
    Flume {
        /// The charset of the request, which is also that of its bodies.
        charset: Charset,
        /// Whether bodies are stored as UTF-8 instead.
        normalise: bool,
    },
    /// A JSON array is an event an element, any other JSON value is one event.
    Json,
    /// Each line is an event, and must be JSON if `validate`; blank lines are none.
    JsonLines {
        /// Whether lines are parsed.
        validate: bool,
    },
    /// Each line is an event, an empty one too.
    TextLines,
    /// Everything is one event.
    Raw,
}

/// One request being taken apart.
pub struct Decoder {
    shape: Shape,
    mark: Mark,
    lines: Lines,
    line: Position,
    whole: Whole,
}

/// What a sender must change: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadInput {
    /// The part of the request, if it is known.
    pub place: Place,
    /// The byte of the request's body at which it was noticed, counting from 0, if there is one.
    pub byte: Option<u64>,
    /// What is wrong.
    pub problem: String,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The request as a whole.
    Body,
    /// An element of the array, counting from 0.
    Element(u64),
    /// A line, counting from 1.
    Line(u64),
}

/// The line that a line decoder stands at.
#[derive(Default)]
struct Position {
    line: u64,
    byte: u64,
}

// === impl Decoder ===

impl Decoder {
    /// A decoder for one request, which is most likely `expected_bytes` long; 0 if nobody knows.
    pub fn new(shape: Shape, expected_bytes: usize) -> Self {
        let whole = Whole::expecting(expected_bytes);
        Self { shape, mark: Mark::new(shape), lines: Lines::default(), line: Position::default(), whole }
    }

    /// Takes the next bytes of the request.
    pub fn feed(&mut self, chunk: Bytes, draft: &mut Draft) -> Result<(), BadInput> {
        match self.mark.pass(chunk)? {
            Some(chunk) => self.feed_text(chunk, draft),
            None => Ok(()),
        }
    }

    fn feed_text(&mut self, chunk: Bytes, draft: &mut Draft) -> Result<(), BadInput> {
        match self.shape {
            Shape::JsonLines { .. } | Shape::TextLines => {
                let (shape, line) = (self.shape, &mut self.line);
                let mark = self.mark.passed;
                let fed = self.lines.feed(&chunk, |text| line.take(shape, text, draft));
                fed.map_err(|bad| bad.after(mark))
            }
            Shape::Flume { .. } | Shape::Json | Shape::Raw => {
                self.whole.push(chunk);
                Ok(())
            }
        }
    }

    /// The request is complete.
    pub fn finish(mut self, draft: &mut Draft) -> Result<(), BadInput> {
        if let Some(rest) = self.mark.rest()? {
            self.feed_text(rest, draft)?;
        }
        match self.shape {
            Shape::JsonLines { .. } | Shape::TextLines => match self.lines.partial() {
                [] => Ok(()),
                last => {
                    let taken = self.line.take(self.shape, last, draft);
                    taken.map_err(|bad| bad.after(self.mark.passed))
                }
            },
            Shape::Flume { charset, normalise } => {
                flume::decode(&self.whole.into_bytes(), charset, normalise, draft)
            }
            Shape::Json => {
                json::decode(&self.whole.into_bytes(), draft).map_err(|bad| bad.after(self.mark.passed))
            }
            Shape::Raw => match &*self.whole.into_bytes() {
                [] => Err(BadInput::whole("the body is empty")),
                body => {
                    draft.push_body(body);
                    Ok(())
                }
            },
        }
    }

    /// Bytes of memory that it holds on to, beside the draft.
    pub fn held_bytes(&self) -> usize {
        self.lines.partial().len() + self.whole.len_bytes()
    }
}

impl Position {
    fn take(&mut self, shape: Shape, text: &[u8], draft: &mut Draft) -> Result<(), BadInput> {
        self.line += 1;
        match shape {
            Shape::JsonLines { .. } if text.trim_ascii().is_empty() => {}
            Shape::JsonLines { validate: true } => {
                let known = json::look(text).map_or_else(|| json::validate(text), Ok);
                let known = known.map_err(|bad| bad.within(Place::Line(self.line), self.byte))?;
                draft.push_known(text, known);
            }
            _ => draft.push_known(text, Known::ONE_LINE),
        }
        self.byte += text.len() as u64 + 1;
        Ok(())
    }
}

// === impl BadInput ===

impl BadInput {
    /// Something is wrong with the request as a whole.
    pub fn whole(problem: impl Into<String>) -> Self {
        Self { place: Place::Body, byte: None, problem: problem.into() }
    }

    fn at(byte: usize, problem: impl Into<String>) -> Self {
        Self { place: Place::Body, byte: Some(byte as u64), problem: problem.into() }
    }

    /// The same mistake, where `passed` bytes before it were passed over.
    fn after(self, passed: u64) -> Self {
        Self { byte: self.byte.map(|byte| byte + passed), ..self }
    }

    /// The same mistake, found in a part of the request that begins at `start`.
    fn within(self, place: Place, start: u64) -> Self {
        Self { place, byte: self.byte.map(|byte| start + byte), problem: self.problem }
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Body => {}
            Place::Element(index) => write!(f, "element {index}, ")?,
            Place::Line(number) => write!(f, "line {number}, ")?,
        }
        match self.byte {
            Some(byte) => write!(f, "byte {byte}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

#[cfg(test)]
mod tests;
