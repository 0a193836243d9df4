//! A place in the stream of events.

use std::fmt;
use std::str::FromStr;

/// Objects count in the order in which they became done, from 1; the events of one from 0. A
/// reader that has a position has all that is before it, and the event that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// The object's place in the order.
    pub(super) order: u64,
    /// The event's number in the object; `None` is the whole object.
    pub(super) event: Option<u64>,
}

impl Position {
    /// Before everything.
    pub(super) const START: Self = Self { order: 0, event: None };

    /// The first object of which there may be something to read.
    pub(super) fn next_order(self) -> u64 {
        if self.event.is_some() { self.order } else { self.order.saturating_add(1) }
    }

    /// How many events of the object at `order` the reader has.
    pub(super) fn had_of(self, order: u64) -> u64 {
        self.event.filter(|_| self.order == order).map_or(0, |event| event.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Some(event) => write!(f, "{}.{event}", self.order),
            None => write!(f, "{}", self.order),
        }
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // Databases count in 63 bits. A sign or a space is no digit.
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten().filter(|number| *number < i64::MAX as u64)
        };
        match text.split_once('.') {
            None => number(text).map(|order| Self { order, event: None }),
            Some((order, event)) => {
                number(order).zip(number(event)).map(|(order, event)| Self { order, event: Some(event) })
            }
        }
        .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in ["0", "17", "17.0", "17.42"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for text in
            ["", ".", "17.", ".4", "+1", "-1", "1 ", "1.2.3", "9223372036854775807", "99999999999999999999"]
        {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reader_goes_on_behind_what_it_has() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert_eq!((at("17").next_order(), at("17.3").next_order()), (18, 17));
        assert_eq!((at("17").had_of(17), at("17.3").had_of(17), at("17.3").had_of(18)), (0, 4, 0));
    }
}
