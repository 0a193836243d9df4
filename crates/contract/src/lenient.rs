//! Members that a message can do without: what is there in another form than ours says nothing, and is no
//! reason to refuse the rest.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A text that is not empty.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let found = from.deserialize_any(Any)?;
    Ok(if let Found::Text(text) = found { Some(text).filter(|text| !text.is_empty()) } else { None })
}

/// The same, with an empty text for nothing.
pub(crate) fn text_or_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from).map(Option::unwrap_or_default)
}

/// A whole number that is not negative.
pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let found = from.deserialize_any(Any)?;
    Ok(if let Found::Number(number) = found { Some(number) } else { None })
}

/// A version, of which nothing at all means the first, and anything that is no number one we do not know.
pub(crate) fn version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Ok(match from.deserialize_any(Any)? {
        Found::Null => 1,
        Found::Number(number) => u32::try_from(number).unwrap_or(u32::MAX),
        Found::Text(_) | Found::Other => u32::MAX,
    })
}

enum Found {
    Null,
    Text(String),
    Number(u64),
    Other,
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(Found::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Found, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Found::Other)
    }
}
