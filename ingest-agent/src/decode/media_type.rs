//! The few words of a `Content-Type` that decide how a body is taken apart.

use super::Shape;
use super::charset::{Charset, UnsupportedCharset};

/// The shape of a body sent to `/v1/events`; the table is in the header of the HTTP source.
pub fn shape(content_type: Option<&str>, validate_ndjson: bool) -> Shape {
    let essence =
        content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => Shape::Json,
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines"
        | "application/json-lines"
        | "application/x-json-stream" => Shape::JsonLines { validate: validate_ndjson },
        "text/plain" => Shape::TextLines,
        other if other.ends_with("+json") => Shape::Json,
        _ => Shape::Raw,
    }
}

/// The charset of Flume's JSON, by the parameter of its content type; UTF-8 without one.
pub fn charset(content_type: Option<&str>) -> Result<Charset, UnsupportedCharset> {
    let parameters = content_type.unwrap_or_default().split(';').skip(1);
    let mut charsets = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
    });
    charsets.next().map_or(Ok(Charset::Utf8), Charset::named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides_the_shape() {
        let lines = Shape::JsonLines { validate: true };
        for (content_type, expected) in [
            (Some("application/json"), Shape::Json),
            (Some("Application/JSON; charset=utf-8"), Shape::Json),
            (Some("application/cloudevents+json"), Shape::Json),
            (Some("application/x-ndjson"), lines),
            (Some("application/ndjson"), lines),
            (Some("application/jsonl"), lines),
            (Some("application/x-jsonlines;charset=utf-8"), lines),
            (Some("text/plain"), Shape::TextLines),
            (Some("text/plain; charset=iso-8859-1"), Shape::TextLines),
            (Some("text/csv"), Shape::Raw),
            (Some("application/octet-stream"), Shape::Raw),
            (Some("application/x-www-form-urlencoded"), Shape::Raw),
            (Some(""), Shape::Raw),
            (Some(";;;"), Shape::Raw),
            (None, Shape::Raw),
        ] {
            assert_eq!(shape(content_type, true), expected, "{content_type:?}");
        }
    }

    #[test]
    fn the_charset_is_a_parameter_of_the_content_type() {
        for (content_type, expected) in [
            (None, Ok(Charset::Utf8)),
            (Some("application/json"), Ok(Charset::Utf8)),
            (Some("application/json;charset=UTF-16"), Ok(Charset::Utf16)),
            (Some("application/json; x=y; Charset=\"utf-32\" "), Ok(Charset::Utf32)),
            (Some("application/json; charset=latin1"), Err(UnsupportedCharset("latin1".to_owned()))),
        ] {
            assert_eq!(charset(content_type), expected, "{content_type:?}");
        }
    }
}
