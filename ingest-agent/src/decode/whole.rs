//! A body kept until its end.

use bytes::{Bytes, BytesMut};

/// The chunks of a body as one: not copied if there is only one, as there often is.
#[derive(Debug, Default)]
pub struct Whole {
    chunks: Chunks,
    expected_bytes: usize,
}

#[derive(Debug, Default)]
enum Chunks {
    #[default]
    None,
    One(Bytes),
    Joined(BytesMut),
}

impl Whole {
    /// Nothing yet of a body that is most likely `expected_bytes` long; 0 if nobody knows.
    pub fn expecting(expected_bytes: usize) -> Self {
        Self { chunks: Chunks::None, expected_bytes }
    }

    /// Adds a chunk at the end.
    pub fn push(&mut self, chunk: Bytes) {
        self.chunks = match std::mem::take(&mut self.chunks) {
            Chunks::None => Chunks::One(chunk),
            Chunks::One(first) => {
                let mut joined = BytesMut::with_capacity(self.expected_bytes.max(first.len() + chunk.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                Chunks::Joined(joined)
            }
            Chunks::Joined(mut joined) => {
                joined.extend_from_slice(&chunk);
                Chunks::Joined(joined)
            }
        };
    }

    /// All chunks together.
    pub fn into_bytes(self) -> Bytes {
        match self.chunks {
            Chunks::None => Bytes::new(),
            Chunks::One(bytes) => bytes,
            Chunks::Joined(joined) => joined.freeze(),
        }
    }

    /// How many bytes it holds.
    pub fn len_bytes(&self) -> usize {
        match &self.chunks {
            Chunks::None => 0,
            Chunks::One(bytes) => bytes.len(),
            Chunks::Joined(joined) => joined.len(),
        }
    }
}
