//! `dead_letters`: events that could not go where they belonged, one a line,
//! `{"position":N,"arrival":MS,"reason":"NAME","event":{..}}`, the event as in [`json_lines`]. Version 1; readers pass over
//! members that they do not know.

use std::io::Write as _;

use serde::Deserialize;

use crate::event::Headers;
use crate::json_lines::Envelope;
use crate::{Event, OwnedEvent, json, json_lines};

/// A dead letter that was read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event's position in its channel.
    pub position: u64,
    /// When it arrived, in milliseconds since the epoch.
    pub arrival_ms: i64,
    /// Why it is one, by name.
    pub reason: String,
    /// The event.
    pub event: OwnedEvent,
}

/// A line that is no dead letter.
#[derive(Debug, thiserror::Error)]
#[error("reading a dead letter: {0}")]
pub struct NoDeadLetter(#[source] serde_json::Error);

/// Appends the line of an event, with its newline.
pub fn write<'a>(position: u64, reason: &str, event: &Event<'a, impl Headers<'a>>, out: &mut Vec<u8>) {
    let arrival_ms = event.arrival_ms;
    write!(out, r#"{{"position":{position},"arrival":{arrival_ms},"reason":"#)
        .expect("memory takes every write");
    json::put_string(reason, out);
    out.extend_from_slice(b",\"event\":");
    json_lines::put(event, out);
    out.extend_from_slice(b"}\n");
}

/// Reads a dead letter back, with or without its newline.
pub fn read(line: &[u8]) -> Result<DeadLetter, NoDeadLetter> {
    let written: Written = serde_json::from_slice(line).map_err(NoDeadLetter)?;
    Ok(DeadLetter {
        position: written.position,
        arrival_ms: written.arrival,
        reason: written.reason,
        event: written.event.event().map_err(NoDeadLetter)?,
    })
}

/// The members as they stand in the line.
#[derive(Deserialize)]
struct Written {
    position: u64,
    arrival: i64,
    reason: String,
    event: Envelope,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Known;

    #[test]
    fn a_dead_letter_says_where_it_was_and_why_and_gives_its_event_back() {
        let headers = [("h", "1")].into_iter();
        let event =
            Event { timestamp_ms: None, arrival_ms: 9, headers, body: b"two\nlines", known: Known::NOTHING };
        let mut out = Vec::new();
        write(7, "too_large", &event, &mut out);
        let line = r#"{"position":7,"arrival":9,"reason":"too_large","event":{"timestamp":9,"headers":{"h":"1"},"body":"two\nlines"}}"#;
        assert_eq!(out, format!("{line}\n").into_bytes());
        let letter = DeadLetter {
            position: 7,
            arrival_ms: 9,
            reason: "too_large".to_owned(),
            event: OwnedEvent {
                timestamp_ms: 9,
                headers: vec![("h".to_owned(), "1".to_owned())],
                body: b"two\nlines".to_vec(),
            },
        };
        assert_eq!(read(&out).unwrap(), letter);
        let later = line.replace("\"reason\"", "\"later\":[1],\"reason\"");
        assert_eq!(read(later.as_bytes()).unwrap(), letter);
        assert!(read(b"{\"position\":7}").is_err());
    }
}
