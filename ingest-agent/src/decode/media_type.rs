//! The few words of a `Content-Type` that decide how a body is taken apart.

use super::Shape;
use super::charset::{self, Charset, UnsupportedCharset};

/// The shape of a body sent to `/v1/events`; the table is in the header of the HTTP source.
///
/// Bytes are kept as they are, so any charset will do in which a newline is the byte `0A` and nothing else has that byte.
pub fn shape(content_type: Option<&str>, validate_ndjson: bool) -> Result<Shape, UnsupportedCharset> {
    let shape = shape_of(content_type, validate_ndjson);
    match named_charset(content_type) {
        Some(name) if shape != Shape::Raw && !charset::keeps_newlines(name) => {
            Err(UnsupportedCharset::of_lines(name))
        }
        _ => Ok(shape),
    }
}

fn shape_of(content_type: Option<&str>, validate_ndjson: bool) -> Shape {
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
    named_charset(content_type).map_or(Ok(Charset::Utf8), Charset::named)
}

fn named_charset(content_type: Option<&str>) -> Option<&str> {
    let parameters = content_type.unwrap_or_default().split(';').skip(1);
    let mut charsets = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value.trim().trim_matches('"'))
    });
    charsets.next()
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
            assert_eq!(shape(content_type, true), Ok(expected), "{content_type:?}");
        }
    }

    #[test]
    fn a_charset_whose_newlines_are_not_one_byte_is_refused_where_bytes_are_cut_or_parsed() {
        let types =
            ["text/plain", "application/json", "application/x-ndjson", "application/cloudevents+json"];
        for essence in types {
            for charset in ["utf-16", "UTF-16LE", "\"utf-16be\"", "utf-32", "ucs-2", "ibm037", "x-unknown"] {
                let refused =
                    shape(Some(&format!("{essence}; charset={charset}")), true).unwrap_err().to_string();
                assert!(refused.contains(charset.trim_matches('"')), "{essence} {charset}: {refused}");
            }
            for charset in ["utf-8", "UTF8", "us-ascii", "ISO-8859-1", "windows-1252", "Shift_JIS", "koi8-r"]
            {
                assert!(shape(Some(&format!("{essence};charset={charset}")), true).is_ok(), "{charset}");
            }
        }
        assert_eq!(shape(Some("application/octet-stream; charset=utf-16"), true), Ok(Shape::Raw));
    }

    #[test]
    fn the_charset_is_a_parameter_of_the_content_type() {
        for (content_type, expected) in [
            (None, Ok(Charset::Utf8)),
            (Some("application/json"), Ok(Charset::Utf8)),
            (Some("application/json;charset=UTF-16"), Ok(Charset::Utf16)),
            (Some("application/json; x=y; Charset=\"utf-32\" "), Ok(Charset::Utf32)),
            (Some("application/json; charset=latin1"), Err(UnsupportedCharset::of_flume("latin1"))),
        ] {
            assert_eq!(charset(content_type), expected, "{content_type:?}");
        }
    }
}
