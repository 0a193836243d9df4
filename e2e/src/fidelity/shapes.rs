//! Events of every shape: bodies with newlines, empty, of one byte, of a megabyte, of bytes that are no
//! text, JSON of every kind, and whatever looks like something else. Each is a function of its number.

use std::fmt::Write as _;

use crate::random::Random;

/// An event as its producer has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Only what comes with headers can be sent with them: see [`Door`](super::doors::Door).
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
    /// What JSON the body is, if it is one.
    pub json: Option<Json>,
}

/// What is known of a body that is one JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json {
    /// Whether it is an object.
    pub object: bool,
    /// Whether it is an object that has the member `_meta` at its top, which is not for producers.
    pub reserved: bool,
}

const VALUE: Option<Json> = Some(Json { object: false, reserved: false });
const OBJECT: Option<Json> = Some(Json { object: true, reserved: false });
const RESERVED: Option<Json> = Some(Json { object: true, reserved: true });

/// How many kinds there are, each as often as any other but the megabyte.
const KINDS: u64 = 26;
/// One in so many is of a megabyte.
const LARGE_EVERY: u64 = 400;

/// The event of this number.
pub fn shape(number: u64) -> Shape {
    let mut random = Random::new(number, 7);
    let (body, json) = match number % LARGE_EVERY {
        17 => large(number, &mut random),
        _ => body(number, &mut random),
    };
    let headers = if random.per_mille(300) { headers(number, &mut random) } else { Vec::new() };
    Shape { headers, body, json }
}

fn body(number: u64, random: &mut Random) -> (Vec<u8>, Option<Json>) {
    let n = number;
    let text = |text: String| (text.into_bytes(), None);
    let json = |text: String, json| (text.into_bytes(), json);
    match random.below(KINDS) {
        0 => json(format!(r#"{{"id":{n},"type":"plain","nested":{{"a":[1,2,{{"b":null}}]}}}}"#), OBJECT),
        1 => json(pretty(n, random, "\n"), OBJECT),
        2 => json(pretty(n, random, "\r\n"), OBJECT),
        3 => json(format!(" \t{{ \"id\" :\t{n} , \"blanks\" : \"  kept  \" }} \n\n"), OBJECT),
        4 => json(format!("[{n},\n \"an array\",\n []]"), VALUE),
        5 => json(format!("\"a string, {n}\""), VALUE),
        6 => json(
            [format!("{n}"), format!("-{n}.5e+3"), "true".into(), "null".into()][n as usize % 4].clone(),
            VALUE,
        ),
        7 => json(["{}", "{ }", "{\n}"][n as usize % 3].to_owned(), OBJECT),
        8 => text(format!(
            "java.lang.IllegalStateException: {n}\n\tat a.B.c(B.java:1)\n\tat d.E.f(E.java:2)\nCaused by: x"
        )),
        9 => text(format!("two lines, and an end: {n}\nthe second\n")),
        10 => text(format!("windows, {n}\r\nwindows\r\n")),
        11 => text(String::new()),
        12 => text("\n".repeat(1 + n as usize % 3)),
        13 => (vec![(n >> 3) as u8], one_byte((n >> 3) as u8)),
        14 => (bytes(n, random), None),
        15 => text(format!("nothing\0but\0controls {n}\u{1}\u{7f}\u{1b}[0m")),
        16 => text(format!("\u{feff}{{\"id\":{n},\"behind\":\"a byte order mark\"}}")),
        17 => json(format!(r#"{{"id":{n},"_meta":{{"headers":{{"forged":"yes"}}}}}}"#), RESERVED),
        18 => json(format!(r#"{{"message":"it looks wrapped, {n}"}}"#), OBJECT),
        19 => json(format!(r#"{{"message_base64":"bm90IHdyYXBwZWQ=","id":{n}}}"#), OBJECT),
        20 => json(
            format!(r#"{{"id":{n},"id":"twice","\u0069d":1e400,"big":123456789012345678901234567890.10}}"#),
            OBJECT,
        ),
        21 => json(format!(r#"{{"id":{n},"escapes":"\u0000\ud83d\ude00\n\/\\","raw":"😀é\u2028"}}"#), OBJECT),
        22 => text(format!("{{\"id\":{n},\"almost\":\"json\",}}")),
        23 => text(format!("{{\"id\":{n}}}\n{{\"id\":{n},\"second\":true}}")),
        24 => text(format!("{{\"id\":{n},\"broken\":\"in\nthe middle of a string\"}}")),
        _ => json(deep(n, random), OBJECT),
    }
}

/// A JSON object over many lines, as tools print it.
fn pretty(number: u64, random: &mut Random, newline: &str) -> String {
    let mut text = format!("{{{newline}  \"id\": {number},{newline}  \"list\": [");
    for member in 0..random.below(5) {
        let comma = if member > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{newline}    {{ \"n\": {member}, \"s\": \"line\\nline\" }}");
    }
    let _ = write!(text, "{newline}  ]{newline}}}{newline}");
    text
}

/// An object in an object in an object: some deeper than parsers that recurse go.
fn deep(number: u64, random: &mut Random) -> String {
    let depth = [3, 100, 500, 3000][random.below(4) as usize];
    format!("{}{number}{}", "{\"in\":\n".repeat(depth), "}".repeat(depth))
}

/// Bytes that are no text; newlines are among them.
fn bytes(number: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend((0..random.below(300)).map(|_| random.number() as u8));
    bytes
}

/// About a megabyte: a line of text, an object, or bytes.
fn large(number: u64, random: &mut Random) -> (Vec<u8>, Option<Json>) {
    let size = 1_000_000 + random.below(40_000) as usize;
    match random.below(3) {
        0 => (format!("{number} {}", "x".repeat(size)).into_bytes(), None),
        1 => (format!("{{\"id\":{number},\n\"pad\":\"{}\"}}", "y".repeat(size)).into_bytes(), OBJECT),
        _ => {
            let mut bytes = bytes(number, random);
            bytes.extend((0..size / 8).flat_map(|_| random.number().to_le_bytes()));
            (bytes, None)
        }
    }
}

fn one_byte(byte: u8) -> Option<Json> {
    byte.is_ascii_digit().then_some(Json { object: false, reserved: false })
}

fn headers(number: u64, random: &mut Random) -> Vec<(String, String)> {
    let mut headers = vec![("number".to_owned(), number.to_string())];
    let odd = [
        ("empty", ""),
        ("quotes", "\"_meta\":{}"),
        ("lines", "one\ntwo\r\n"),
        ("name with \"quotes\"", "\\"),
        ("umlaut ü", "grüße 😀"),
        ("_meta", "{}"),
    ];
    for (name, value) in odd {
        if random.per_mille(300) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    headers
}

impl Shape {
    /// The body on one line, where it is JSON: without line breaks between tokens and without what is
    /// blank around it. No string of JSON holds a line break as it is.
    pub fn one_line(&self) -> Option<Vec<u8>> {
        self.json?;
        let trimmed = self.body.trim_ascii();
        Some(trimmed.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn shapes_are_what_they_say_they_are_and_of_every_kind() {
        let (mut seen, mut objects) = (BTreeSet::new(), 0);
        for number in 0..2000 {
            let shape = shape(number);
            assert_eq!(shape, super::shape(number));
            let value = serde_json::from_slice::<Box<serde_json::value::RawValue>>(&shape.body);
            // What is nested too deep is JSON all the same: only this parser gives up.
            if let (Err(error), Some(_)) = (&value, &shape.json) {
                assert!(error.to_string().contains("recursion"), "{number}: {error}");
            } else {
                let body = String::from_utf8_lossy(&shape.body);
                assert_eq!(value.is_ok(), shape.json.is_some(), "{number}: {body}");
                let object = shape.body.trim_ascii().starts_with(b"{");
                assert!(shape.json.is_none_or(|json| json.object == object), "{number}: {body}");
            }
            objects += usize::from(shape.json.is_some_and(|json| json.object));
            seen.extend(
                [
                    (shape.body.is_empty(), "empty"),
                    (shape.body.len() == 1, "one byte"),
                    (shape.body.len() > 1_000_000, "large"),
                    (shape.body.contains(&b'\n'), "lines"),
                    (str::from_utf8(&shape.body).is_err(), "no text"),
                    (!shape.headers.is_empty(), "headers"),
                    (shape.json.is_some_and(|json| json.reserved), "reserved"),
                ]
                .into_iter()
                .filter_map(|(is, name)| is.then_some(name)),
            );
        }
        assert_eq!(seen.len(), 7, "{seen:?}");
        assert!(objects > 500, "{objects} objects");
    }
}
