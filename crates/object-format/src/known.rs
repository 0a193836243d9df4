//! What is known of a body before a writer looks at it.

/// Facts that whoever took a body in has seen already, so that no writer looks again.
///
/// A fact saves work and never changes a byte: what is not known is found out. Of several bodies is known what is
/// known of each ([`and`](Self::and)). Bits that a later version adds are further facts, and may be ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known(u8);

impl Known {
    /// Nothing.
    pub const NOTHING: Self = Self(0);
    /// No byte of the body is a newline.
    pub const ONE_LINE: Self = Self(1);
    /// The body is one valid JSON object, with nothing around it and no line break within.
    pub const OBJECT: Self = Self(1 << 1 | 1);
    /// As [`OBJECT`](Self::OBJECT), and none of its own members' names begins with `_` or is written with an escape.
    pub const PLAIN_OBJECT: Self = Self(1 << 2 | 1 << 1 | 1);

    /// Whether all of `facts` are known.
    #[inline]
    pub const fn has(self, facts: Self) -> bool {
        self.0 & facts.0 == facts.0
    }

    /// What is known of two bodies.
    #[inline]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The facts as a byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The facts of a byte; those of a later version are dropped.
    pub const fn of_bits(bits: u8) -> Self {
        Self(bits & Self::PLAIN_OBJECT.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_bodies_is_known_what_is_known_of_each() {
        assert!(Known::PLAIN_OBJECT.has(Known::OBJECT) && Known::OBJECT.has(Known::ONE_LINE));
        assert_eq!(Known::PLAIN_OBJECT.and(Known::OBJECT), Known::OBJECT);
        assert_eq!(Known::OBJECT.and(Known::ONE_LINE), Known::ONE_LINE);
        assert_eq!(Known::ONE_LINE.and(Known::NOTHING), Known::NOTHING);
        assert!(!Known::ONE_LINE.has(Known::OBJECT) && Known::NOTHING.has(Known::NOTHING));
    }

    #[test]
    fn facts_survive_as_a_byte_and_later_ones_are_dropped() {
        for known in [Known::NOTHING, Known::ONE_LINE, Known::OBJECT, Known::PLAIN_OBJECT] {
            assert_eq!(Known::of_bits(known.bits()), known);
            assert_eq!(Known::of_bits(known.bits() | 0xf0), known);
        }
        let bits = [Known::NOTHING, Known::ONE_LINE, Known::OBJECT, Known::PLAIN_OBJECT].map(Known::bits);
        assert_eq!(bits, [0, 1, 3, 7], "as older programs have stored them");
    }
}
