//! What a payload says of its batch as a whole, behind its events.
//!
//! ```text
//! tag      u8    0x1f: version 1, an annotation
//! kind     u8    1: the key of the request (`key`); 2: what is known of the bodies (`known`)
//! length   u32   then that many bytes
//! ```
//!
//! Kinds that a program does not know are passed over, and so are bytes behind those that it knows: an annotation changes
//! nothing about the events.

use super::{Cursor, VERSION, put};

/// A kind of annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key of the request.
    Key = 1,
    /// What is known of the bodies.
    Known = 2,
}

const TAG: u8 = VERSION | 0x0f;

/// Appends an annotation to a payload that has all of its events.
pub(super) fn annotate(buf: &mut Vec<u8>, kind: Kind, bytes: &[u8]) {
    buf.extend_from_slice(&[TAG, kind as u8]);
    put(buf, bytes);
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

    /// The bytes of the first of one kind.
    pub(super) fn of(mut self, kind: Kind) -> Option<&'a [u8]> {
        self.find_map(|(found, bytes)| (found == kind as u8).then_some(bytes))
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
