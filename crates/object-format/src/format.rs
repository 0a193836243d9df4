//! The names of formats, and what their rows are.

use std::fmt;
use std::str::FromStr;

/// A format, as it is named in configuration, cuts and object metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One valid JSON object a line.
    Ndjson,
    /// The body and a newline.
    Text,
    /// The body alone.
    Raw,
    /// An envelope a line.
    JsonLines,
    /// Dead letters: position, reason and envelope a line.
    DeadLetters,
}

/// What the rows of an object are, where a row is what stands between two newlines (I10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rows {
    /// Each row is an event.
    Events,
    /// A row is a line of text: an event may be several, or a part of one.
    Lines,
}

/// A name that no format has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no format is called {0:?}: known are ndjson, text, raw, json_lines and dead_letters")]
pub struct UnknownFormat(pub String);

/// A name that no kind of rows has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rows are called {0:?}: known are events and lines")]
pub struct UnknownRows(pub String);

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Ndjson, Self::Text, Self::Raw, Self::JsonLines, Self::DeadLetters];

    /// The name in configuration, cuts and object metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Text => "text",
            Self::Raw => "raw",
            Self::JsonLines => "json_lines",
            Self::DeadLetters => "dead_letters",
        }
    }

    /// The version that this program writes, and the highest that it reads.
    pub fn version(self) -> u32 {
        match self {
            Self::Ndjson | Self::Text | Self::Raw | Self::JsonLines | Self::DeadLetters => 1,
        }
    }

    /// The media type of an object, uncompressed.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Raw => "application/octet-stream",
            Self::Ndjson | Self::JsonLines | Self::DeadLetters => "application/x-ndjson",
        }
    }

    /// The extension of an object's key, without a dot.
    pub fn ext(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Text => "txt",
            Self::Raw => "bin",
            Self::JsonLines | Self::DeadLetters => "jsonl",
        }
    }

    /// What the rows of an object are; `said` is what its writer noted. Text of a writer that noted nothing is lines:
    /// nobody knows.
    pub fn rows(self, said: Option<Rows>) -> Rows {
        match self {
            Self::Ndjson | Self::JsonLines | Self::DeadLetters => Rows::Events,
            Self::Text => said.unwrap_or(Rows::Lines),
            Self::Raw => Rows::Lines,
        }
    }
}

impl Rows {
    /// The name in object metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Lines => "lines",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rows {
    type Err = UnknownRows;

    fn from_str(name: &str) -> Result<Self, UnknownRows> {
        let known = [Self::Events, Self::Lines].into_iter().find(|rows| rows.name() == name);
        known.ok_or_else(|| UnknownRows(name.to_owned()))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_rows_are_known_by_their_names() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
        }
        for rows in [Rows::Events, Rows::Lines] {
            assert_eq!(rows.name().parse(), Ok(rows));
        }
        let error = "jsonl".parse::<Format>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no format is called \"jsonl\": known are ndjson, text, raw, json_lines and dead_letters"
        );
        assert!("row".parse::<Rows>().is_err());
    }

    #[test]
    fn a_line_is_called_an_event_only_where_the_format_or_the_writer_says_so() {
        for said in [None, Some(Rows::Events), Some(Rows::Lines)] {
            for format in [Format::Ndjson, Format::JsonLines, Format::DeadLetters] {
                assert_eq!(format.rows(said), Rows::Events);
            }
            assert_eq!(Format::Raw.rows(said), Rows::Lines);
        }
        assert_eq!(Format::Text.rows(Some(Rows::Events)), Rows::Events);
        assert_eq!(Format::Text.rows(Some(Rows::Lines)), Rows::Lines);
        assert_eq!(Format::Text.rows(None), Rows::Lines);
    }
}
