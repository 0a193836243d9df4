//! How an object's decoded bytes are taken apart, and what its parts are called.
//!
//! | object | taken apart | its parts |
//! |---|---|---|
//! | ours, of a format that keeps the borders of events (its metadata say so) | at newlines | events |
//! | ours: `raw`, and `text` with newlines in bodies (its metadata say so) | at newlines | lines |
//! | an older agent's, and foreign ones | at newlines | each line stands for an event, as it always did |
//! | ours, of a format or a version that this server does not know | not at all | none |
//!
//! The inbox records it of each done object, and `GET /v1/events` numbers by what is recorded: a
//! position means the same event for as long as the row is kept.

use std::fmt;

use contract::ObjectMetadata;
use object_format::{Format, Reader, Rows};
use serde::Serialize;

use crate::fetch::FetchError;

/// By what an object is taken apart. As text, which the inbox records and the API shows, the name
/// and the version of the reader: `events/1`, `lines/1`; or `unread` and the object's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// By version 1 of [`Reader`], which takes bytes apart at newlines.
    Rows(Rows),
    /// By none: the object is of a format, or of a version of it, that this server does not know.
    /// Nothing of it has a number.
    Unread(String),
    /// By one that only a later server knows, and that the inbox records.
    Later(String),
}

impl Reading {
    /// How servers read that recorded nothing, and how objects are read that say nothing of rows.
    pub const BEFORE: Self = Self::Rows(Rows::Events);

    /// How the object with this metadata is read; `None` is one that is not ours.
    pub fn of(metadata: Option<&ObjectMetadata>) -> Self {
        let Some(metadata) = metadata else { return Self::BEFORE };
        let format = metadata.format.parse::<Format>();
        let Some(said) = metadata.rows.as_deref() else {
            // Agents of before wrote no rows. Of what they wrote `raw` alone is known to keep no borders.
            return if format == Ok(Format::Raw) { Self::Rows(Rows::Lines) } else { Self::BEFORE };
        };
        match (format, said.parse::<Rows>()) {
            (Ok(format), Ok(said)) if metadata.format_version <= format.version() => {
                Self::Rows(format.rows(Some(said)))
            }
            _ => Self::Unread(format!("{}/{}", metadata.format, metadata.format_version)),
        }
    }

    /// What the rows are; an error if this server knows no reader for them.
    pub(crate) fn rows(&self) -> Result<Rows, FetchError> {
        match self {
            Self::Rows(rows) => Ok(*rows),
            Self::Unread(what) | Self::Later(what) => Err(FetchError::Format(what.clone())),
        }
    }

    /// What the inbox recorded.
    pub(crate) fn recorded(text: &str) -> Self {
        if let Some(format) = text.strip_prefix("unread ") {
            return Self::Unread(format.to_owned());
        }
        let known = [Rows::Events, Rows::Lines].map(Self::Rows);
        let known = known.into_iter().find(|reading| reading.to_string() == text);
        known.unwrap_or_else(|| Self::Later(text.to_owned()))
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{}/{}", rows.name(), Reader::VERSION),
            Self::Unread(format) => write!(f, "unread {format}"),
            Self::Later(reader) => f.write_str(reader),
        }
    }
}

impl Serialize for Reading {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::metadata_of;

    fn metadata(format: &str, format_version: u32, rows: Option<&str>) -> ObjectMetadata {
        ObjectMetadata {
            format: format.to_owned(),
            format_version,
            rows: rows.map(str::to_owned),
            ..metadata_of(1)
        }
    }

    #[test]
    fn what_the_metadata_say_decides_whether_a_line_is_an_event_i10() {
        let (events, lines) = (Reading::Rows(Rows::Events), Reading::Rows(Rows::Lines));
        for (format, version, rows, expected) in [
            ("ndjson", 1, Some("events"), "events/1"),
            ("json_lines", 1, Some("events"), "events/1"),
            ("dead_letters", 1, Some("events"), "events/1"),
            ("text", 1, Some("events"), "events/1"),
            ("text", 1, Some("lines"), "lines/1"),
            ("raw", 1, Some("lines"), "lines/1"),
            // Whatever is said of raw, no newline of it ends an event.
            ("raw", 1, Some("events"), "lines/1"),
            // Agents of before.
            ("text", 1, None, "events/1"),
            ("json_lines", 1, None, "events/1"),
            ("jsonl", 1, None, "events/1"),
            ("raw", 1, None, "lines/1"),
            // Agents to come.
            ("ndjson", 9, Some("events"), "unread ndjson/9"),
            ("parquet", 1, Some("events"), "unread parquet/1"),
            ("text", 1, Some("pages"), "unread text/1"),
        ] {
            let reading = Reading::of(Some(&metadata(format, version, rows)));
            assert_eq!(reading.to_string(), expected, "{format} {version} {rows:?}");
            assert_eq!(Reading::recorded(expected), reading);
        }
        assert_eq!(Reading::of(None), events);
        assert_ne!(events, lines);
    }

    #[test]
    fn what_a_later_server_recorded_is_never_read_as_something_else() {
        for text in ["events/2", "parquet/1", ""] {
            assert_eq!(Reading::recorded(text), Reading::Later(text.to_owned()));
            assert_eq!(Reading::recorded(text).to_string(), text);
        }
    }
}
