//! What is known of every body of a batch: annotation 2.
//!
//! ```text
//! facts  u8    the bits of `object_format::Known`
//! ```
//!
//! A decoder that has looked at the bodies says so, and the sinks need not look again. It saves work and changes no byte of
//! an object; whoever changes bodies drops it.

use object_format::Known;

use super::annotation::{Annotations, Kind, annotate};
use super::{Cursor, PLAIN_OVERHEAD_BYTES, VERSION};

/// Appends the annotation to a payload that has all of its events.
pub(super) fn encode(known: Known, buf: &mut Vec<u8>) {
    annotate(buf, Kind::Known, &[known.bits()]);
}

/// What is known of the bodies of `payload`, which has `count` events or the last `count` events of a batch.
pub(super) fn of(payload: &[u8], count: u32) -> Known {
    let facts = end_of(payload, count)
        .and_then(|end| Annotations::behind(payload, end).of(Kind::Known))
        .and_then(<[u8]>::first);
    facts.map_or(Known::NOTHING, |bits| Known::of_bits(*bits))
}

/// Where the events end. Lengths are all that is looked at: what is wrong with an event is found when it is decoded.
fn end_of(payload: &[u8], count: u32) -> Option<usize> {
    let mut cursor = Cursor { bytes: payload, at: 0 };
    for _ in 0..count {
        match payload.get(cursor.at..).and_then(<[u8]>::first_chunk::<PLAIN_OVERHEAD_BYTES>) {
            Some(&[VERSION, a, b, c, d]) => {
                cursor.at += PLAIN_OVERHEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize;
            }
            _ => cursor.skip().ok()?,
        }
    }
    Some(cursor.at)
}

#[cfg(test)]
mod tests {
    use super::super::{decode_all, decode_known, encode as encode_event, encode_body};
    use super::*;

    #[test]
    fn what_is_known_lies_behind_the_events_and_is_told_with_each() {
        let mut payload = Vec::new();
        encode_body(&mut payload, b"{}");
        encode_event(&mut payload, Some(5), [("h", "v")], b"{}");
        encode_event(&mut payload, None, [("h", "v")], b"");
        // A body that looks like an annotation is none.
        let mut mimic = Vec::new();
        encode(Known::PLAIN_OBJECT, &mut mimic);
        encode_body(&mut payload, &mimic);
        assert_eq!(of(&payload, 4), Known::NOTHING);
        encode(Known::OBJECT, &mut payload);
        let known: Vec<_> = decode_known(&payload, 4).map(|event| event.unwrap().known).collect();
        assert_eq!(known, [Known::OBJECT; 4]);
        assert!(decode_all(&payload, 4).all(|event| event.unwrap().known == Known::NOTHING));
        // From the second event on.
        assert_eq!(of(&payload[PLAIN_OVERHEAD_BYTES + 2..], 3), Known::OBJECT);
    }

    #[test]
    fn a_payload_that_is_wrong_somewhere_tells_nothing() {
        let mut payload = Vec::new();
        encode_body(&mut payload, b"one");
        encode(Known::ONE_LINE, &mut payload);
        for cut in 0..payload.len() {
            assert_eq!(of(&payload[..cut], 1), Known::NOTHING, "cut at {cut}");
        }
        for count in [0, 2, u32::MAX] {
            let _ = of(&payload, count);
        }
        payload[1..5].fill(0xff);
        assert_eq!(of(&payload, 1), Known::NOTHING);
    }

    #[test]
    fn the_encoding_of_what_is_known_stays_as_it_is() {
        let mut payload = Vec::new();
        encode(Known::PLAIN_OBJECT, &mut payload);
        assert_eq!(payload, b"\x1f\x02\x01\0\0\0\x07");
    }
}
