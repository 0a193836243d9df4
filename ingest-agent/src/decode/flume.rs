//! Flume's JSON: an array of `{"headers": {"name": "value"}, "body": "text"}`.
//!
//! As with Flume's `JSONHandler`, either member may be missing, members of other names are ignored, numbers and
//! booleans stand for their text, and null for nothing. Unlike there, the JSON itself is strict, a header named
//! twice is refused with a name, and so is an element with neither member: it is no event of Flume's but most likely
//! JSON meant for `/v1/events`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::charset::Charset;
use super::{BadInput, json};
use crate::event::{Draft, timestamp_of};

const USAGE: &str = "[{\"headers\":{\"name\":\"value\"},\"body\":\"text\"}] is expected here; \
                     POST any other JSON to /v1/events";

/// Decodes a whole body.
pub(super) fn decode(
    body: &[u8],
    charset: Charset,
    normalise: bool,
    draft: &mut Draft,
) -> Result<(), BadInput> {
    let text = charset.read(body).map_err(|bad| match (charset, bad.byte) {
        (Charset::Utf8, Some(byte)) => json::not_text(body, byte as usize),
        _ => bad,
    })?;
    if text.text.trim_ascii().is_empty() {
        return Err(BadInput::whole(format!("the body is empty; {USAGE}")));
    }
    if !text.text.trim_ascii_start().starts_with('[') {
        return Err(BadInput::whole(format!("the body is not a JSON array; {USAGE}")));
    }
    let written = if normalise { Charset::Utf8 } else { charset };
    let mut scratch = Vec::new();
    let decoded = json::elements(&text.text, |raw| event(raw, written, &mut scratch, draft));
    decoded.map_err(|bad| {
        let byte = bad.byte.map(|byte| text.byte_in_request(byte as usize) as u64);
        BadInput { byte, ..bad }
    })
}

fn event(raw: &str, charset: Charset, scratch: &mut Vec<u8>, draft: &mut Draft) -> Result<(), BadInput> {
    if !raw.starts_with('{') {
        return Err(BadInput::at(0, format!("not an object; {USAGE}")));
    }
    let element: Element<'_> = serde_json::from_str(raw).map_err(|error| json::syntax(raw, &error))?;
    if element.headers.is_none() && element.body.is_none() {
        return Err(BadInput::at(0, format!("neither headers nor body; {USAGE}")));
    }
    let headers = match element.headers {
        Some(headers) => texts(raw, headers)?,
        None => Vec::new(),
    };
    let body = match element.body {
        Some(value) => text_of(raw, value, "body")?.unwrap_or_default(),
        None => Cow::Borrowed(""),
    };
    let headers = || headers.iter().map(|(name, value)| (&**name, &**value));
    let body = if charset == Charset::Utf8 {
        body.as_bytes()
    } else {
        scratch.clear();
        charset.write(&body, scratch);
        scratch
    };
    draft.push(timestamp_of(headers()), headers(), body);
    Ok(())
}

/// The two members, still as they were written.
#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow, default)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

type Header<'a> = (Cow<'a, str>, Cow<'a, str>);

fn texts<'a>(element: &str, headers: &'a RawValue) -> Result<Vec<Header<'a>>, BadInput> {
    let at = offset(element, headers);
    let fail = |problem: String| Err(BadInput::at(at, problem));
    if headers.get() == "null" {
        return Ok(Vec::new());
    }
    if !headers.get().starts_with('{') {
        return fail("headers is not an object of texts".to_owned());
    }
    let Pairs(pairs) = serde_json::from_str(headers.get()).map_err(|error| {
        let bad = json::syntax(headers.get(), &error);
        BadInput { byte: bad.byte.map(|byte| byte + at as u64), ..bad }
    })?;
    let mut texts = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        if let Some(value) = text_of(element, value, "a header")? {
            texts.push((name, value));
        }
    }
    let mut names: Vec<&str> = texts.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => fail(format!("header {:?} is named twice", pair[0])),
        None => Ok(texts),
    }
}

/// What Flume's parser makes of a value where it wants a text; `None` for null.
fn text_of<'a>(element: &str, value: &'a RawValue, what: &str) -> Result<Option<Cow<'a, str>>, BadInput> {
    let raw = value.get();
    match raw.as_bytes()[0] {
        b'"' if memchr::memchr(b'\\', raw.as_bytes()).is_none() => {
            Ok(Some(Cow::Borrowed(&raw[1..raw.len() - 1])))
        }
        b'"' => match serde_json::from_str(raw) {
            Ok(text) => Ok(Some(Cow::Owned(text))),
            Err(error) => {
                let BadInput { byte, problem, .. } = json::syntax(raw, &error);
                Err(BadInput::at(offset(element, value) + byte.unwrap_or(0) as usize, problem))
            }
        },
        b'n' => Ok(None),
        b'{' | b'[' => Err(BadInput::at(offset(element, value), format!("{what} is not a text"))),
        _ => Ok(Some(Cow::Borrowed(raw))),
    }
}

fn offset(element: &str, value: &RawValue) -> usize {
    value.get().as_ptr().addr() - element.as_ptr().addr()
}

/// The members of an object in their order, values as they were written.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Name(name)) = members.next_key()? {
            pairs.push((name, members.next_value()?));
        }
        Ok(Pairs(pairs))
    }
}
