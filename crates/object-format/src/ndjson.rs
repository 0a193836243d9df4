//! `ndjson`: one valid JSON object a line, whatever the events are. Version 1:
//!
//! - **A body that is one JSON object** (RFC 8259, in UTF-8, at any depth, with nothing but blanks around it) is itself
//!   the line: line breaks (`\n`, `\r`) between its tokens and blanks around it are left out, and every other byte stays
//!   as it is. (Within a token JSON has no line break.)
//! - **Any other body** is `{"message":"TEXT"}` if it is UTF-8 (`""` for an empty one), else
//!   `{"message_base64":"BASE64"}`, in the standard alphabet with padding. A JSON array, a number, an object behind a
//!   byte order mark are such texts.
//! - **Headers and the event's own time** are one more member, the last: `,"_meta":{..}`, its comma left out behind an
//!   object without members. It has `"timestamp":MS` (milliseconds since the epoch) if the event has a time of its own,
//!   then `"headers":{"NAME":"VALUE",..}` if it has headers, in their order; a name that comes twice is there twice. An event
//!   that has neither has no such member.
//! - **None passes for ours**: an object that has a member of that name itself, however it is escaped, is wrapped as a
//!   text like any other body. Where the member is switched off, headers and time are not written, and nothing is wrapped
//!   for its names.
//!
//! So a line whose body was `{"message":"x"}` and one whose body was `x` are the same: readers take the line for the
//! event and unwrap nothing.

use std::fmt;
use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;

use crate::event::Headers;
use crate::{Event, Known, json};

/// The name of the member that holds headers and time.
///
/// One to 64 ASCII letters, digits and `_-.@$`, so that it is written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaName(String);

/// A name that the member cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name for the member of headers and time: 1 to 64 of A-Z a-z 0-9 _ - . @ $")]
pub struct BadMetaName(pub String);

impl MetaName {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, BadMetaName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.@$".contains(&byte);
        // Of the same names as the members of a wrapped body there would be two.
        let taken = ["message", "message_base64"].contains(&name);
        if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !taken {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadMetaName(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for MetaName {
    fn default() -> Self {
        Self("_meta".to_owned())
    }
}

impl fmt::Display for MetaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A body that is a JSON object.
struct Object<'a> {
    /// Without blanks around it.
    text: &'a [u8],
    has_breaks: bool,
}

/// The body, if it is what stands before the newline, byte for byte.
#[inline]
pub(crate) fn as_it_is<'a>(event: &Event<'a, impl Headers<'a>>, meta: Option<&MetaName>) -> Option<&'a [u8]> {
    if meta.is_some() && event.has_meta() {
        return None;
    }
    if may_pass(event.known, meta) {
        return Some(event.body);
    }
    object(event.body, meta).filter(|object| !object.has_breaks).map(|object| object.text)
}

/// Appends the line of an event, with its newline.
pub(crate) fn write<'a>(event: &Event<'a, impl Headers<'a>>, meta: Option<&MetaName>, out: &mut Vec<u8>) {
    let object = if may_pass(event.known, meta) {
        Some(Object { text: event.body, has_breaks: false })
    } else {
        object(event.body, meta)
    };
    let start = out.len();
    // All but the brace at its end.
    match object {
        Some(Object { text, has_breaks: false }) => out.extend_from_slice(&text[..text.len() - 1]),
        Some(Object { text, has_breaks: true }) => json::put_unbroken(&text[..text.len() - 1], out),
        None => put_wrapped(event.body, out),
    }
    if let Some(name) = meta.filter(|_| event.has_meta()) {
        if out[start..].trim_ascii_end() != b"{" {
            out.push(b',');
        }
        put_meta(event, name, out);
    }
    out.extend_from_slice(b"}\n");
}

/// Whether the body is known to be a line by itself that has no member called `meta`.
#[inline]
fn may_pass(known: Known, meta: Option<&MetaName>) -> bool {
    known.has(Known::OBJECT)
        && meta.is_none_or(|name| known.has(Known::PLAIN_OBJECT) && name.0.starts_with('_'))
}

/// The body as an object, if it is one and has no member called `meta`.
fn object<'a>(body: &'a [u8], meta: Option<&MetaName>) -> Option<Object<'a>> {
    let text = json::trim(body);
    if !(text.starts_with(b"{") && text.ends_with(b"}")) {
        return None;
    }
    let mut is_taken = false;
    let scanned = match meta {
        Some(name) => json::scan_with(text, |found| is_taken |= json::says(found, name.as_str())),
        None => json::scan(text),
    }?;
    (!is_taken).then_some(Object { text, has_breaks: scanned.has_breaks })
}

/// The beginning of an object with the body as its only member.
fn put_wrapped(body: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = str::from_utf8(body) {
        out.extend_from_slice(b"{\"message\":");
        json::put_string(text, out);
    } else {
        out.extend_from_slice(b"{\"message_base64\":");
        put_base64(body, out);
    }
}

/// Appends bytes as a JSON string in base64.
pub(crate) fn put_base64(bytes: &[u8], out: &mut Vec<u8>) {
    write!(out, "\"{}\"", Base64Display::new(bytes, &STANDARD)).expect("memory takes every write");
}

/// Appends headers as a JSON object.
pub(crate) fn put_headers<'a>(headers: impl Headers<'a>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in headers.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::put_string(name, out);
        out.push(b':');
        json::put_string(value, out);
    }
    out.push(b'}');
}

fn put_meta<'a>(event: &Event<'a, impl Headers<'a>>, name: &MetaName, out: &mut Vec<u8>) {
    write!(out, "\"{name}\":{{").expect("memory takes every write");
    if let Some(timestamp_ms) = event.timestamp_ms {
        write!(out, "\"timestamp\":{timestamp_ms}").expect("memory takes every write");
    }
    if event.headers.clone().into_iter().next().is_some() {
        let comma = if event.timestamp_ms.is_some() { "," } else { "" };
        write!(out, "{comma}\"headers\":").expect("memory takes every write");
        put_headers(event.headers.clone(), out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
