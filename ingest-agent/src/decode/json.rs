//! Any JSON: one event a value, or one event an element of an array. Its bytes are kept as they came, but for line breaks
//! between tokens, so that an event is one line in whatever form it leaves.

use std::fmt;

use object_format::json;
use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{BadInput, Place};
use crate::event::{Draft, Known};

/// Decodes a whole body.
pub(super) fn decode(body: &[u8], draft: &mut Draft) -> Result<(), BadInput> {
    let value = body.trim_ascii();
    match value.first() {
        None => Err(BadInput::whole("the body is empty")),
        Some(b'[') => {
            let mut unbroken = Vec::new();
            elements(text(body)?, |raw| {
                push(raw.as_bytes(), &mut unbroken, draft);
                Ok(())
            })
        }
        Some(_) => {
            if json::scan(body).is_none() {
                text(body)?;
                validate(body)?;
            }
            push(value, &mut Vec::new(), draft);
            Ok(())
        }
    }
}

/// Adds a valid value on one line: what breaks it are line breaks between its tokens, which are left out. Every other
/// byte is kept.
fn push(value: &[u8], unbroken: &mut Vec<u8>, draft: &mut Draft) {
    let mut line = value;
    if memchr::memchr2(b'\n', b'\r', value).is_some() {
        unbroken.clear();
        json::put_unbroken(value, unbroken);
        line = unbroken;
    }
    // The parser has taken it for a value, and so does the look.
    draft.push_known(line, look(line).unwrap_or(Known::ONE_LINE));
}

/// What is known of a line that is one JSON value; `None` if it is none.
pub(super) fn look(line: &[u8]) -> Option<Known> {
    let mut plain = true;
    let seen = json::scan_with(line, |name| plain &= name.first() != Some(&b'_') && !name.contains(&b'\\'))?;
    // Blanks around it, such as the first half of a line end from elsewhere, are no part of an object.
    let whole = line.first() == Some(&b'{') && line.last() == Some(&b'}');
    Some(match seen.kind {
        json::Kind::Object if whole && !seen.has_breaks && plain => Known::PLAIN_OBJECT,
        json::Kind::Object if whole && !seen.has_breaks => Known::OBJECT,
        _ => Known::ONE_LINE,
    })
}

/// What is wrong with a line that [`look`] did not take for one JSON value; bytes are counted from its beginning.
pub(super) fn validate(line: &[u8]) -> Result<Known, BadInput> {
    let text = str::from_utf8(line).map_err(|error| BadInput::at(error.valid_up_to(), "not UTF-8"))?;
    match serde_json::from_str::<IgnoredAny>(text) {
        // The two agree on what JSON is.
        Ok(_) => Ok(Known::ONE_LINE),
        Err(error) => Err(syntax(text, &error)),
    }
}

fn text(body: &[u8]) -> Result<&str, BadInput> {
    str::from_utf8(body).map_err(|error| not_text(body, error.valid_up_to()))
}

/// The mistake of a body that stops being UTF-8 at `byte`; names the element if the body is an array.
pub(super) fn not_text(body: &[u8], byte: usize) -> BadInput {
    let before = str::from_utf8(&body[..byte]).unwrap_or_default();
    let place = match elements(before, |_| Ok(())) {
        Err(BadInput { place, .. }) => place,
        Ok(()) => Place::Body,
    };
    BadInput { place, byte: Some(byte as u64), problem: "not UTF-8".to_owned() }
}

/// Gives the text of each element of the array that `text` must be.
///
/// What `each` finds wrong counts its bytes from the beginning of its element; it is passed on with the element's number
/// and place.
pub(super) fn elements(text: &str, each: impl FnMut(&str) -> Result<(), BadInput>) -> Result<(), BadInput> {
    let mut walk = Walk { text, index: 0, bad: None, each };
    let mut json = serde_json::Deserializer::from_str(text);
    let walked = json.deserialize_seq(&mut walk);
    let (index, bad) = (walk.index, walk.bad);
    match (walked, bad) {
        (_, Some(bad)) => Err(bad),
        (Err(error), None) => {
            let BadInput { byte, problem, .. } = syntax(text, &error);
            let inside = text.trim_ascii_start().starts_with('[');
            let place = if inside { Place::Element(index) } else { Place::Body };
            Err(BadInput { place, byte, problem })
        }
        (Ok(()), None) => json.end().map_err(|error| syntax(text, &error)),
    }
}

/// What the parser says, with its line and column turned into a byte.
pub(super) fn syntax(text: &str, error: &serde_json::Error) -> BadInput {
    let byte = if error.is_eof() {
        text.len()
    } else {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        let start = std::iter::once(0).chain(newlines).nth(error.line().saturating_sub(1)).unwrap_or(0);
        (start + error.column().saturating_sub(1)).min(text.len())
    };
    let said = error.to_string();
    let problem = said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem);
    BadInput::at(byte, problem)
}

struct Walk<'t, F> {
    text: &'t str,
    index: u64,
    bad: Option<BadInput>,
    each: F,
}

impl<'de, F: FnMut(&str) -> Result<(), BadInput>> Visitor<'de> for &mut Walk<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            let element = element.get();
            if let Err(bad) = (self.each)(element) {
                let start = element.as_ptr().addr() - self.text.as_ptr().addr();
                self.bad = Some(bad.within(Place::Element(self.index), start as u64));
                return Err(A::Error::custom("an element was refused"));
            }
            self.index += 1;
        }
        Ok(())
    }
}
