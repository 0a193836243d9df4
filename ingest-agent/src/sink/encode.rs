//! How one event becomes bytes of an object.
//!
//! | encoder      | bytes of an event                                                                   |
//! |--------------|-------------------------------------------------------------------------------------|
//! | `text`       | the body and a newline                                                              |
//! | `raw`        | the body and nothing else                                                           |
//! | `json_lines` | `{"timestamp":MS,"headers":{"NAME":"VALUE",..},"body":"TEXT"}` and a newline         |
//!
//! In JSON lines the timestamp is the event's own, else its arrival, in milliseconds since the epoch; a body that is
//! not UTF-8 stands in a member `body_base64` in the place of `body`, so that no byte is lost. Where a header's
//! name occurs twice, so does the member.
//!
//! An encoding is part of what a cut promises (I4): it is a function of the event and its arrival time alone.

use std::fmt;
use std::str::FromStr;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::event::EventRef;

/// How events are laid into an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoder {
    /// The body and a newline.
    #[default]
    Text,
    /// The body alone.
    Raw,
    /// One JSON object and a newline.
    JsonLines,
}

/// A name that no encoder has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no encoder is called {0:?}: known are text, raw and json_lines")]
pub struct UnknownEncoder(pub String);

impl Encoder {
    /// Appends the encoded event to `out`.
    #[inline]
    pub fn encode(self, event: &EventRef<'_>, arrival_ms: i64, out: &mut Vec<u8>) {
        match self.around(event.body) {
            Some(pieces) => pieces.into_iter().for_each(|piece| out.extend_from_slice(piece)),
            None => json_line(event, arrival_ms, out),
        }
    }

    /// The encoded event in two pieces, one after the other: what is nothing but the body is not copied.
    #[inline]
    pub(crate) fn pieces<'a>(
        self,
        event: &EventRef<'a>,
        arrival_ms: i64,
        made: &'a mut Vec<u8>,
    ) -> [&'a [u8]; 2] {
        self.around(event.body).unwrap_or_else(|| {
            made.clear();
            json_line(event, arrival_ms, made);
            [made, b""]
        })
    }

    /// The body and what follows it, where that is all.
    #[inline]
    fn around(self, body: &[u8]) -> Option<[&[u8]; 2]> {
        match self {
            Self::Text => Some([body, b"\n"]),
            Self::Raw => Some([body, b""]),
            Self::JsonLines => None,
        }
    }

    /// The name in configuration, cuts and object metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Raw => "raw",
            Self::JsonLines => "json_lines",
        }
    }

    /// The media type of an object in this encoding, uncompressed.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Raw => "application/octet-stream",
            Self::JsonLines => "application/x-ndjson",
        }
    }

    /// The extension of an object's key, without a dot.
    pub fn ext(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Raw => "bin",
            Self::JsonLines => "jsonl",
        }
    }
}

impl FromStr for Encoder {
    type Err = UnknownEncoder;

    fn from_str(name: &str) -> Result<Self, UnknownEncoder> {
        let known =
            [Self::Text, Self::Raw, Self::JsonLines].into_iter().find(|encoder| encoder.name() == name);
        known.ok_or_else(|| UnknownEncoder(name.to_owned()))
    }
}

impl fmt::Display for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn json_line(event: &EventRef<'_>, arrival_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"timestamp\":");
    json(&event.time_ms(arrival_ms), out);
    out.extend_from_slice(b",\"headers\":{");
    for (index, (name, value)) in event.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json(name, out);
        out.push(b':');
        json(value, out);
    }
    if let Ok(text) = str::from_utf8(event.body) {
        out.extend_from_slice(b"},\"body\":");
        json(text, out);
    } else {
        out.extend_from_slice(b"},\"body_base64\":");
        json(&format_args!("{}", Base64Display::new(event.body, &STANDARD)), out);
    }
    out.extend_from_slice(b"}\n");
}

fn json<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts and numbers are always written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{self, decode_all};

    fn encoded(
        encoder: Encoder,
        timestamp_ms: Option<i64>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let mut payload = Vec::new();
        event::encode(&mut payload, timestamp_ms, headers.iter().copied(), body);
        let mut out = b"before ".to_vec();
        let event = decode_all(&payload, 1).next().unwrap().unwrap();
        encoder.encode(&event, 1000, &mut out);
        let mut made = b"before ".to_vec();
        assert_eq!(out[7..], encoder.pieces(&event, 1000, &mut made).concat());
        out.strip_prefix(b"before ").unwrap().to_vec()
    }

    #[test]
    fn text_is_the_body_and_a_newline_and_raw_is_the_body() {
        for body in [&b"a line"[..], b"", b"\xff\0\r", b"two\nlines"] {
            assert_eq!(encoded(Encoder::Text, None, &[("h", "v")], body), [body, b"\n"].concat());
            assert_eq!(encoded(Encoder::Raw, None, &[("h", "v")], body), body);
        }
    }

    #[test]
    fn a_json_line_has_the_timestamp_the_headers_and_the_body() {
        type Case<'a> = (Option<i64>, &'a [(&'a str, &'a str)], &'a [u8], &'a str);
        let cases: [Case<'_>; 5] = [
            (None, &[], b"hello", r#"{"timestamp":1000,"headers":{},"body":"hello"}"#),
            (Some(-5), &[("a", "1")], b"", r#"{"timestamp":-5,"headers":{"a":"1"},"body":""}"#),
            (
                Some(7),
                &[("b", "\"q\""), ("a", "zürich")],
                "tab\there\n\u{1}".as_bytes(),
                r#"{"timestamp":7,"headers":{"b":"\"q\"","a":"zürich"},"body":"tab\there\n\u0001"}"#,
            ),
            (None, &[], b"\xff\xfe", r#"{"timestamp":1000,"headers":{},"body_base64":"//4="}"#),
            (None, &[], br#"{"k":1}"#, r#"{"timestamp":1000,"headers":{},"body":"{\"k\":1}"}"#),
        ];
        for (timestamp_ms, headers, body, line) in cases {
            let found = encoded(Encoder::JsonLines, timestamp_ms, headers, body);
            assert_eq!(String::from_utf8(found).unwrap(), format!("{line}\n"));
        }
    }

    #[test]
    fn encoders_are_known_by_their_names() {
        for encoder in [Encoder::Text, Encoder::Raw, Encoder::JsonLines] {
            assert_eq!(encoder.name().parse(), Ok(encoder));
        }
        let error = "jsonl".parse::<Encoder>().unwrap_err();
        assert_eq!(error.to_string(), "no encoder is called \"jsonl\": known are text, raw and json_lines");
    }
}
