//! A body kept until its end.

use bytes::{Bytes, BytesMut};

/// The chunks of a body as one: not copied if there is only one, as there often is.
#[derive(Debug, Default)]
pub enum Whole {
    /// Nothing yet.
    #[default]
    Empty,
    /// One chunk, as it came.
    One(Bytes),
    /// Several chunks, copied together.
    Joined(BytesMut),
}

impl Whole {
    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        *self = match std::mem::take(self) {
            Self::Empty => Self::One(chunk),
            Self::One(first) => {
                let mut joined = BytesMut::with_capacity(2 * (first.len() + chunk.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                Self::Joined(joined)
            }
            Self::Joined(mut joined) => {
                joined.extend_from_slice(&chunk);
                Self::Joined(joined)
            }
        };
    }

    /// All chunks together.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Joined(joined) => joined.freeze(),
        }
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Joined(joined) => joined.capacity(),
        }
    }
}
