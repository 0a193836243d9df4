//! A row as one JSON value on one line, so that no byte of it is lost:
//!
//! | row | as JSON |
//! |---|---|
//! | a JSON value of any kind (RFC 8259) | itself, without blanks around it and line breaks between its tokens |
//! | any other text | a string |
//! | bytes that are no UTF-8 | `{"data_base64":".."}`, as `GET /v1/events` writes them |

use std::io::Write as _;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use object_format::json;

/// Appends the row.
pub(super) fn put(row: &[u8], out: &mut Vec<u8>) {
    match (json::scan(row), std::str::from_utf8(row)) {
        (Some(scanned), _) if scanned.has_breaks => json::put_unbroken(json::trim(row), out),
        (Some(_), _) => out.extend_from_slice(json::trim(row)),
        (None, Ok(text)) => json::put_string(text, out),
        (None, Err(_)) => {
            write!(out, "{{\"data_base64\":\"{}\"}}", Base64Display::new(row, &STANDARD))
                .expect("memory takes whatever is written");
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json_of(row: &[u8]) -> String {
        let mut out = Vec::new();
        put(row, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_itself_other_text_is_a_string_and_other_bytes_are_base64() {
        for (row, expected) in [
            (&br#"{"n": 1, "n":1e999}"#[..], r#"{"n": 1, "n":1e999}"#),
            (b" [1,\r2]\t\r", "[1,2]"),
            (b"\"a string\"", "\"a string\""),
            (b"-0.5e7", "-0.5e7"),
            (b"null", "null"),
            (br#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#),
            (b"", "\"\""),
            (b"plain \"text\"\\\t\x01", r#""plain \"text\"\\\t\u0001""#),
            (b"{\"cut short\":", r#""{\"cut short\":""#),
            (b"1 2", "\"1 2\""),
            (b"NaN", "\"NaN\""),
            ("\u{feff}{}".as_bytes(), "\"\u{feff}{}\""),
            (b"caf\xe9", r#"{"data_base64":"Y2Fm6Q=="}"#),
            (b"{\"a\":\"caf\xe9\"}", r#"{"data_base64":"eyJhIjoiY2Fm6SJ9"}"#),
        ] {
            assert_eq!(json_of(row), expected, "{row:?}");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert_eq!(json_of(&deep).as_bytes(), deep, "no depth is too much");
    }

    proptest! {
        #[test]
        fn whatever_a_row_is_it_becomes_one_line_of_json_from_which_its_bytes_can_be_told(
            row in prop_oneof![
                proptest::collection::vec(any::<u8>().prop_filter("no newline", |byte| *byte != b'\n'), 0..40),
                "[ -~\\r\\t\u{e4}\u{2028}]{0,40}".prop_map(String::into_bytes),
                "[\\[\\]{},:\"a1 \\r\\\\]{0,12}".prop_map(String::into_bytes),
            ]
        ) {
            let line = json_of(&row);
            prop_assert!(!line.contains(['\n', '\r']), "{line:?}");
            let value: Value = serde_json::from_str(&line).unwrap();
            let is_json = serde_json::from_slice::<Value>(&row).ok();
            match (is_json, &value) {
                (Some(itself), _) => prop_assert_eq!(itself, value),
                (None, Value::String(text)) => prop_assert_eq!(text.as_bytes(), &row),
                (None, other) => {
                    let text = other["data_base64"].as_str().unwrap();
                    prop_assert_eq!(STANDARD.decode(text).unwrap(), row);
                }
            }
        }
    }
}
