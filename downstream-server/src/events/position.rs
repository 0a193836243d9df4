//! A place in the stream of events.

use std::fmt;
use std::str::FromStr;

use object_format::Rows;

/// What the number of a line begins with.
const LINE: &str = "line";

/// Objects count in the order in which they became done, from 1; the rows of one from 0. A reader
/// that has a position has all that is before it, and the row that it names.
///
/// As text `17` is a whole object, `17.42` an event of it, and `17.line42` a line of an object
/// whose format does not keep the borders of events: no id of a line passes for one of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The object's place in the order.
    pub(super) order: u64,
    /// The row in the object; `None` is the whole object.
    pub(super) row: Option<RowNumber>,
}

/// A row of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowNumber {
    /// What it is.
    pub(super) rows: Rows,
    /// Its number, from 0.
    pub(super) number: u64,
}

impl Position {
    /// Before everything.
    pub(super) const START: Self = Self::object(0);

    /// The whole object at this place.
    pub(super) const fn object(order: u64) -> Self {
        Self { order, row: None }
    }

    /// Where a reader is that has the first `had` rows of the object at `order`.
    pub(super) fn after_rows(order: u64, rows: Rows, had: u64) -> Self {
        match had.checked_sub(1) {
            Some(number) => Self { order, row: Some(RowNumber { rows, number }) },
            None => Self::object(order.saturating_sub(1)),
        }
    }

    /// The first object of which there may be something to read.
    pub(super) fn next_order(self) -> u64 {
        if self.row.is_some() { self.order } else { self.order.saturating_add(1) }
    }

    /// How many rows of the object at `order` the reader has.
    pub(super) fn had_of(self, order: u64) -> u64 {
        self.row.filter(|_| self.order == order).map_or(0, |row| row.number.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(RowNumber { rows: Rows::Events, number }) => write!(f, "{}.{number}", self.order),
            Some(RowNumber { rows: Rows::Lines, number }) => write!(f, "{}.{LINE}{number}", self.order),
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
            digits.then(|| text.parse().ok()).flatten().filter(|number| *number < i64::MAX as u64).ok_or(())
        };
        let Some((order, row)) = text.split_once('.') else { return number(text).map(Self::object) };
        let (rows, digits) = match row.strip_prefix(LINE) {
            Some(digits) => (Rows::Lines, digits),
            None => (Rows::Events, row),
        };
        let row = RowNumber { rows, number: number(digits)? };
        Ok(Self { order: number(order)?, row: Some(row) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in ["0", "17", "17.0", "17.42", "17.line0", "17.line42"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for text in [
            "",
            ".",
            "17.",
            ".4",
            "line4",
            "17.line",
            "17.lines4",
            "17.line4.4",
            "line1.4",
            "+1",
            "-1",
            "1 ",
            "1.2.3",
            "9223372036854775807",
            "99999999999999999999",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reader_goes_on_behind_what_it_has() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert_eq!((at("17").next_order(), at("17.3").next_order()), (18, 17));
        for had in [0, 1, 5] {
            let position = Position::after_rows(17, Rows::Events, had);
            assert_eq!((position.next_order(), position.had_of(17)), (17, had));
        }
        assert_eq!((at("17").had_of(17), at("17.3").had_of(17), at("17.3").had_of(18)), (0, 4, 0));
        assert_eq!((at("17.line3").next_order(), at("17.line3").had_of(17)), (17, 4));
    }
}
