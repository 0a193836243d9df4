//! What a payload says of its batch as a whole, behind its events: annotations, of which there is one kind so far.
//!
//! ```text
//! tag      u8    0x1f: version 1, an annotation
//! kind     u8    1: the key of the request; other kinds are skipped
//! length   u32   then that many bytes; of a key the first 32:
//!   id     16    hash of who sent it, to which source, under which key
//!   digest 16    hash of what was sent
//! ```
//!
//! A key lies in the frame of its events, so that one cannot become durable without the other.

use super::{Cursor, DecodeError, VERSION, decode_all, put};

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

const TAG: u8 = VERSION | 0x0f;
const KIND_KEY: u8 = 1;

// === impl KeyStamp ===

impl KeyStamp {
    /// What [`encode`](Self::encode) appends.
    pub const ENCODED_BYTES: usize = 2 + 4 + 32;

    /// Appends the annotation to a payload that has all of its events.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&[TAG, KIND_KEY]);
        put(buf, [self.id, self.digest].as_flattened());
    }

    /// The key of a payload of `count` events, if it has one.
    pub fn of(payload: &[u8], count: u32) -> Result<Option<Self>, DecodeError> {
        let mut events = decode_all(payload, count);
        for event in &mut events {
            event?;
        }
        let mut annotations = Annotations::behind(payload, events.at);
        Ok(annotations.find_map(|(kind, bytes)| {
            let (id, rest) = bytes.split_first_chunk()?;
            let (digest, _) = rest.split_first_chunk()?;
            (kind == KIND_KEY).then_some(Self { id: *id, digest: *digest })
        }))
    }
}

/// The annotations of a payload, kind and bytes; ends at the first that is none.
pub(super) struct Annotations<'a>(Cursor<'a>);

impl<'a> Annotations<'a> {
    /// Those that follow the events, which end at `at`.
    pub(super) fn behind(payload: &'a [u8], at: usize) -> Self {
        Self(Cursor { bytes: payload, at })
    }

    /// Whether there is nothing behind the events but annotations.
    pub(super) fn are_all(mut self) -> bool {
        (&mut self).for_each(drop);
        self.0.at == self.0.bytes.len()
    }

    fn parse(cursor: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
        let &[TAG, kind] = cursor.take(2).ok()? else { return None };
        Some((kind, cursor.counted().ok()?))
    }
}

impl<'a> Iterator for Annotations<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.0.at;
        let parsed = Self::parse(&mut self.0);
        if parsed.is_none() {
            self.0.at = at;
        }
        parsed
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
