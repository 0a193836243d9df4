//! `json_lines`: an envelope a line, `{"timestamp":MS,"headers":{"NAME":"VALUE",..},"body":"TEXT"}`. Version 1.
//!
//! The timestamp is the event's own, else its arrival, in milliseconds since the epoch; a body that is not UTF-8
//! stands in a member `body_base64` in the place of `body`, so that no byte is lost. Where a header's name occurs twice,
//! so does the member.

use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

use crate::event::Headers;
use crate::ndjson::{put_base64, put_headers};
use crate::{Event, OwnedEvent, json};

/// A line that is no envelope.
#[derive(Debug, thiserror::Error)]
#[error("reading an envelope: {0}")]
pub struct NoEnvelope(#[source] serde_json::Error);

/// Appends the line of an event, with its newline.
pub(crate) fn write<'a>(event: &Event<'a, impl Headers<'a>>, out: &mut Vec<u8>) {
    put(event, out);
    out.push(b'\n');
}

/// Appends the envelope alone.
pub(crate) fn put<'a>(event: &Event<'a, impl Headers<'a>>, out: &mut Vec<u8>) {
    write!(out, "{{\"timestamp\":{},\"headers\":", event.time_ms()).expect("memory takes every write");
    put_headers(event.headers.clone(), out);
    if let Ok(text) = str::from_utf8(event.body) {
        out.extend_from_slice(b",\"body\":");
        json::put_string(text, out);
    } else {
        out.extend_from_slice(b",\"body_base64\":");
        put_base64(event.body, out);
    }
    out.push(b'}');
}

/// Reads an envelope back, with or without its newline.
pub fn read(line: &[u8]) -> Result<OwnedEvent, NoEnvelope> {
    let envelope: Envelope = serde_json::from_slice(line).map_err(NoEnvelope)?;
    envelope.event().map_err(NoEnvelope)
}

/// The members as they stand in the line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    timestamp: i64,
    headers: Pairs,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Envelope {
    /// The event that it holds.
    pub(crate) fn event(self) -> Result<OwnedEvent, serde_json::Error> {
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).map_err(de::Error::custom)?,
            _ => return Err(de::Error::custom("one of body and body_base64 is expected")),
        };
        Ok(OwnedEvent { timestamp_ms: self.timestamp, headers: self.headers.0, body })
    }
}

/// The members of an object of texts in their order, also those that come twice.
#[derive(Debug)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Known;

    type Case<'a> = (Option<i64>, &'a [(&'a str, &'a str)], &'a [u8], &'a str);

    const CASES: [Case<'_>; 6] = [
        (None, &[], b"hello", r#"{"timestamp":1000,"headers":{},"body":"hello"}"#),
        (Some(-5), &[("a", "1")], b"", r#"{"timestamp":-5,"headers":{"a":"1"},"body":""}"#),
        (
            Some(7),
            &[("b", "\"q\""), ("a", "zürich")],
            b"tab\there\n\x01",
            r#"{"timestamp":7,"headers":{"b":"\"q\"","a":"zürich"},"body":"tab\there\n\u0001"}"#,
        ),
        (
            None,
            &[("twice", "1"), ("twice", "2")],
            b"\xff\xfe",
            r#"{"timestamp":1000,"headers":{"twice":"1","twice":"2"},"body_base64":"//4="}"#,
        ),
        (None, &[], br#"{"k":1}"#, r#"{"timestamp":1000,"headers":{},"body":"{\"k\":1}"}"#),
        (
            Some(i64::MIN),
            &[("", "")],
            b"\xc3",
            r#"{"timestamp":-9223372036854775808,"headers":{"":""},"body_base64":"ww=="}"#,
        ),
    ];

    #[test]
    fn an_envelope_has_time_headers_and_body_and_gives_them_back() {
        for (timestamp_ms, headers, body, line) in CASES {
            let pairs = headers.iter().copied();
            let event =
                Event { timestamp_ms, arrival_ms: 1000, headers: pairs.clone(), body, known: Known::NOTHING };
            let mut out = Vec::new();
            write(&event, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{line}\n"));
            let owned = OwnedEvent {
                timestamp_ms: event.time_ms(),
                headers: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                body: body.to_vec(),
            };
            assert_eq!(read(line.as_bytes()).unwrap(), owned);
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        let lines = [
            "",
            "{}",
            "1",
            "{\"timestamp\":1,\"headers\":{}}",
            "{\"timestamp\":1,\"headers\":{\"a\":1},\"body\":\"\"}",
            "{\"timestamp\":1,\"headers\":{},\"body\":\"\",\"body_base64\":\"\"}",
            "{\"timestamp\":1,\"headers\":{},\"body_base64\":\"?\"}",
            "{\"timestamp\":1,\"headers\":{},\"body\":\"\",\"more\":1}",
        ];
        for line in lines {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
