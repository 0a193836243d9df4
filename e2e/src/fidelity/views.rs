//! What an event is in each format, and what a row is to each kind of consumer: so that two can be
//! compared by their bytes. Written from the documents, with no code of the programs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::shapes::Shape;

/// How events become the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line, always.
    Ndjson,
    /// The body and a newline.
    Text,
    /// The body alone. Only bodies that tell their own length can be found again: see [`Format::wear`].
    Raw,
    /// An envelope a line.
    JsonLines,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Ndjson, Self::Text, Self::Raw, Self::JsonLines];

    /// The name in the agent's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Text => "text",
            Self::Raw => "raw",
            Self::JsonLines => "json_lines",
        }
    }

    /// The shape as it is sent where objects have this format: as it is, but for `raw` in a netstring.
    pub fn wear(self, mut shape: Shape) -> Shape {
        if self == Self::Raw {
            let length = shape.body.len().to_string();
            shape.body = [length.as_bytes(), b":", &shape.body, b","].concat();
            shape.json = None;
        }
        shape
    }

    /// What is owed in the objects for one event that the agent was given.
    pub fn owed(self, given: &Shape) -> Vec<Vec<u8>> {
        match self {
            Self::Text => given.body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
            Self::Raw => vec![given.body.clone()],
            Self::JsonLines => vec![thing(&given.headers, b'E', &given.body)],
            Self::Ndjson => {
                let object = given.json.is_some_and(|json| json.object && !json.reserved);
                let (kind, bytes) =
                    match (object.then(|| given.one_line()).flatten(), str::from_utf8(&given.body)) {
                        // It may look like one that was wrapped.
                        (Some(line), _) => {
                            ndjson(&line).map_or((b'O', line), |(_, kind, bytes)| (kind, bytes))
                        }
                        (None, Ok(text)) => (b'T', text.as_bytes().to_vec()),
                        (None, Err(_)) => (b'B', given.body.clone()),
                    };
                vec![thing(&given.headers, kind, &bytes)]
            }
        }
    }

    /// What stands in an object, decoded, in the terms of [`owed`](Self::owed); what cannot be read is
    /// told.
    pub fn stored(self, object: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        match self {
            Self::Raw => netstrings(object),
            Self::Text => Ok(rows(object).map(<[u8]>::to_vec).collect()),
            Self::Ndjson => {
                rows(object).map(|row| ndjson_thing(row).ok_or_else(|| unreadable(row))).collect()
            }
            Self::JsonLines => rows(object).map(|row| envelope(row).ok_or_else(|| unreadable(row))).collect(),
        }
    }
}

/// The rows of an object, decoded: what stands between its newlines.
pub fn rows(object: &[u8]) -> impl Iterator<Item = &[u8]> {
    crate::oracle::lines(object)
}

/// A row where a consumer is given JSON: JSON as it is, other text as a string, other bytes in base64.
/// Two rows that are given in the same form are the same.
pub fn as_json(row: &[u8]) -> Vec<u8> {
    match (serde_json::from_slice::<&RawValue>(row), str::from_utf8(row)) {
        (Ok(value), _) => of_json(value.get().as_bytes()),
        (Err(_), Ok(text)) => [b"T", text.as_bytes()].concat(),
        (Err(_), Err(_)) => [b"B", row].concat(),
    }
}

/// What a consumer was given as one JSON value, in the terms of [`as_json`].
pub fn of_json(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    if let Ok(text) = serde_json::from_slice::<String>(value) {
        return [b"T", text.as_bytes()].concat();
    }
    match &members(value).unwrap_or_default()[..] {
        [(name, data)] if name == "data_base64" => {
            serde_json::from_str::<String>(data.get()).ok().and_then(|data| STANDARD.decode(data).ok())
        }
        _ => None,
    }
    .map_or_else(|| [b"J", value].concat(), |bytes| [b"B", &bytes[..]].concat())
}

/// A row as the feed gives it: `data`, or `data_base64`.
pub fn of_feed(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let members = members(line)?;
    let text = |wanted: &str| {
        let (_, value) = members.iter().find(|(name, _)| name == wanted)?;
        serde_json::from_str::<String>(value.get()).ok()
    };
    let bytes = text("data").map(String::into_bytes);
    let bytes = bytes.or_else(|| STANDARD.decode(text("data_base64")?).ok())?;
    Some((text("id")?, bytes))
}

fn unreadable(row: &[u8]) -> String {
    format!("a row that is not of its format: {:?}", String::from_utf8_lossy(&row[..row.len().min(200)]))
}

/// Headers, a letter for the kind, and the bytes.
fn thing(headers: &[(String, String)], kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut thing = serde_json::to_vec(headers).expect("texts can be written");
    thing.push(kind);
    thing.extend_from_slice(bytes);
    thing
}

fn ndjson_thing(row: &[u8]) -> Option<Vec<u8>> {
    let (headers, kind, bytes) = ndjson(row)?;
    Some(thing(&headers, kind, &bytes))
}

type Headers = Vec<(String, String)>;

/// A line of `ndjson`: its headers, and its text, bytes or object.
fn ndjson(row: &[u8]) -> Option<(Headers, u8, Vec<u8>)> {
    let mut all = members(row)?;
    let mut headers = Headers::new();
    let mut object = row.to_vec();
    if all.last().is_some_and(|(name, _)| name == "_meta") {
        let (_, meta) = all.pop()?;
        let (_, found) = members(meta.get().as_bytes())?.into_iter().find(|(name, _)| name == "headers")?;
        headers = pairs(found)?;
        let before = meta.get().as_ptr() as usize - row.as_ptr() as usize;
        let before = row[..before].strip_suffix(b"\"_meta\":")?;
        object = [before.strip_suffix(b",").unwrap_or(before), b"}"].concat();
    }
    let text = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
    match &all[..] {
        [(name, value)] if name == "message" && text(value).is_some() => {
            Some((headers, b'T', text(value)?.into_bytes()))
        }
        [(name, value)] if name == "message_base64" && text(value).is_some() => {
            Some((headers, b'B', STANDARD.decode(text(value)?).ok()?))
        }
        _ => Some((headers, b'O', object)),
    }
}

/// A line of `json_lines`.
fn envelope(row: &[u8]) -> Option<Vec<u8>> {
    let all = members(row)?;
    let [(time, _), (names, headers), (kind, body)] = &all[..] else { return None };
    let body: String = serde_json::from_str(body.get()).ok()?;
    let body = match kind.as_str() {
        "body" => body.into_bytes(),
        "body_base64" => STANDARD.decode(body).ok()?,
        _ => return None,
    };
    (time == "timestamp" && names == "headers").then_some(())?;
    Some(thing(&pairs(headers)?, b'E', &body))
}

fn pairs(object: &RawValue) -> Option<Headers> {
    let text = |value: &RawValue| serde_json::from_str(value.get()).ok();
    members(object.get().as_bytes())?.into_iter().map(|(name, value)| Some((name, text(value)?))).collect()
}

/// `length:bytes,` again and again.
fn netstrings(mut object: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    while !object.is_empty() {
        let whole = object.iter().position(|byte| *byte == b':').and_then(|colon| {
            let length: usize = str::from_utf8(&object[..colon]).ok()?.parse().ok()?;
            (object.get(colon + 1 + length) == Some(&b',')).then_some(colon + length + 2)
        });
        let (one, rest) = object.split_at(whole.ok_or_else(|| unreadable(object))?);
        all.push(one.to_vec());
        object = rest;
    }
    Ok(all)
}

/// The members of an object in their order, names that come twice among them, values as they stand.
fn members(object: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_slice(object);
    let members = json.deserialize_map(Members).ok()?;
    json.end().ok()?;
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::shapes::Json;

    fn shape(body: &str, headers: &[(&str, &str)]) -> Shape {
        let json = serde_json::from_str::<&RawValue>(body).ok();
        let json =
            json.map(|value| Json { object: value.get().starts_with('{'), reserved: body.contains("_meta") });
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Shape { headers: headers.collect(), body: body.into(), json }
    }

    #[test]
    fn an_event_is_found_in_the_line_that_the_documents_give_for_it() {
        let one = [("h", "v")];
        for (format, body, headers, line) in [
            (Format::Ndjson, "{\"a\":\n 1}", &[][..], "{\"a\": 1}"),
            (Format::Ndjson, "{\"a\":1}", &one, "{\"a\":1,\"_meta\":{\"headers\":{\"h\":\"v\"}}}"),
            (Format::Ndjson, "{}", &one, "{\"_meta\":{\"headers\":{\"h\":\"v\"}}}"),
            (Format::Ndjson, "two\nlines", &[], "{\"message\":\"two\\nlines\"}"),
            (Format::Ndjson, "[1]", &one, "{\"message\":\"[1]\",\"_meta\":{\"headers\":{\"h\":\"v\"}}}"),
            (Format::Ndjson, "{\"_meta\":1}", &[], "{\"message\":\"{\\\"_meta\\\":1}\"}"),
            (Format::Ndjson, "{\"message\":\"x\"}", &[], "{\"message\":\"x\"}"),
            (
                Format::JsonLines,
                "a\nb",
                &one,
                "{\"timestamp\":7,\"headers\":{\"h\":\"v\"},\"body\":\"a\\nb\"}",
            ),
            (Format::Text, "a\nb", &one, "a\nb"),
        ] {
            let object = format!("{line}\n");
            let stored = format.stored(object.as_bytes()).expect("it can be read");
            assert_eq!(stored, format.owed(&shape(body, headers)), "{format:?} {body}");
            let other = format.owed(&shape(&format!("{body} "), headers));
            assert!(
                body.starts_with('{') && format == Format::Ndjson || stored != other,
                "{format:?} {body}"
            );
        }
        let bytes = Shape { headers: Vec::new(), body: b"\xff\n".to_vec(), json: None };
        assert_eq!(
            Format::Ndjson.stored(b"{\"message_base64\":\"/wo=\"}\n"),
            Ok(Format::Ndjson.owed(&bytes))
        );
        assert!(Format::Ndjson.stored(b"plain\n").is_err());
        let raw = [Format::Raw.wear(bytes.clone()), Format::Raw.wear(bytes)];
        let object = [&raw[0].body[..], &raw[1].body].concat();
        assert_eq!(
            Format::Raw.stored(&object),
            Ok([Format::Raw.owed(&raw[0]), Format::Raw.owed(&raw[1])].concat())
        );
    }

    #[test]
    fn a_row_is_the_same_as_its_form_in_json_and_no_other() {
        for (row, json) in [
            (&b"{\"a\": 1}"[..], "{\"a\": 1}"),
            (b"plain", "\"plain\""),
            (b"\"plain\"", "\"plain\""),
            (b"caf\xe9", "{\"data_base64\":\"Y2Fm6Q==\"}"),
            (b"", "\"\""),
        ] {
            assert_eq!(as_json(row), of_json(json.as_bytes()), "{json}");
            assert_ne!(as_json(&[row, b"x"].concat()), of_json(json.as_bytes()), "{json}");
        }
    }
}
