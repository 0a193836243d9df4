//! The key of a request: annotation 1 of its batch.
//!
//! ```text
//! id     16    hash of who sent it, to which source, under which key
//! digest 16    hash of what was sent
//! ```
//!
//! A key lies in the frame of its events, so that one cannot become durable without the other.

use super::annotation::{Annotations, Kind, annotate};
use super::{DecodeError, decode_all};

/// The key of a request and the digest of what came with it, as they are kept.
///
/// Both are SHA-256, cut to 128 bits: that two of a million keys share an id has a chance of 1 in 10^27, and whoever
/// wants to make two that do needs 2^64 attempts, to repeat nobody's requests but those of their own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStamp {
    /// Of the principal, the source and the key.
    pub id: [u8; 16],
    /// Of the request's content.
    pub digest: [u8; 16],
}

// === impl KeyStamp ===

impl KeyStamp {
    /// What [`encode`](Self::encode) appends.
    pub const ENCODED_BYTES: usize = 2 + 4 + 32;

    /// Appends the annotation to a payload that has all of its events.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        annotate(buf, Kind::Key, [self.id, self.digest].as_flattened());
    }

    /// The key of a payload of `count` events, if it has one.
    pub fn of(payload: &[u8], count: u32) -> Result<Option<Self>, DecodeError> {
        let mut events = decode_all(payload, count);
        for event in &mut events {
            event?;
        }
        Ok(Annotations::behind(payload, events.at).of(Kind::Key).and_then(|bytes| {
            let (id, rest) = bytes.split_first_chunk()?;
            let (digest, _) = rest.split_first_chunk()?;
            Some(Self { id: *id, digest: *digest })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode_body;
    use super::*;

    const STAMP: KeyStamp = KeyStamp { id: [1; 16], digest: [2; 16] };

    #[test]
    fn a_key_lies_behind_its_events_and_no_reader_of_events_sees_it() {
        let mut payload = Vec::new();
        encode_body(&mut payload, b"one");
        // A body that looks like a key is none.
        let mut mimic = Vec::new();
        STAMP.encode(&mut mimic);
        encode_body(&mut payload, &mimic);
        assert_eq!(KeyStamp::of(&payload, 2), Ok(None));
        let bare = payload.len();
        STAMP.encode(&mut payload);
        assert_eq!(payload.len(), bare + KeyStamp::ENCODED_BYTES);
        assert_eq!(KeyStamp::of(&payload, 2), Ok(Some(STAMP)));
        let bodies: Vec<_> = decode_all(&payload, 2).map(|event| event.unwrap().body).collect();
        assert_eq!(bodies, [b"one", &*mimic]);
    }

    #[test]
    fn annotations_of_later_kinds_are_skipped_and_broken_ones_are_errors() {
        let mut payload = Vec::new();
        encode_body(&mut payload, b"one");
        let bare = payload.len();
        payload.extend_from_slice(b"\x1f\x63\x03\0\0\0abc");
        STAMP.encode(&mut payload);
        assert_eq!(KeyStamp::of(&payload, 1), Ok(Some(STAMP)));
        for cut in bare + 1..payload.len() {
            let whole = cut == bare + 9;
            assert_eq!(KeyStamp::of(&payload[..cut], 1).is_ok(), whole, "cut at {cut}");
        }
        payload[bare] = 0x2f;
        let error = KeyStamp::of(&payload, 1).unwrap_err();
        assert_eq!(error.problem, "there is more than the batch's count of events");
    }

    #[test]
    fn the_encoding_of_a_key_stays_as_it_is() {
        let mut payload = Vec::new();
        STAMP.encode(&mut payload);
        assert_eq!(payload, [&b"\x1f\x01\x20\0\0\0"[..], &[1; 16], &[2; 16]].concat());
    }
}
