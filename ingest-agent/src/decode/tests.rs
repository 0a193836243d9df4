use durable_channel::{Channel, MemoryChannel};
use proptest::prelude::*;

use super::*;
use crate::event::decode_all;

type Owned = (Option<i64>, Vec<(String, String)>, Vec<u8>);

const FLUME: Shape = Shape::Flume { charset: Charset::Utf8, normalise: false };
const NDJSON: Shape = Shape::JsonLines { validate: true };
const UNCHECKED: Shape = Shape::JsonLines { validate: false };

/// Feeds `chunks` one after the other.
fn decode_chunks(shape: Shape, chunks: &[&[u8]]) -> Result<Vec<Owned>, String> {
    let channel = MemoryChannel::new(1_000_000, 1_000_000, 1 << 30).unwrap();
    let mut draft = Draft::new(channel.batch());
    let mut decoder = Decoder::new(shape, 0);
    let fed = chunks.iter().try_for_each(|chunk| decoder.feed(Bytes::copy_from_slice(chunk), &mut draft));
    fed.and_then(|()| decoder.finish(&mut draft)).map_err(|bad| bad.to_string())?;

    let batch = draft.into_batch();
    let events = decode_all(batch.payload(), batch.count()).map(|event| {
        let event = event.unwrap();
        let headers = event.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        (event.timestamp_ms, headers.collect(), event.body.to_vec())
    });
    Ok(events.collect())
}

fn decode(shape: Shape, body: &[u8]) -> Result<Vec<Owned>, String> {
    decode_chunks(shape, &[body])
}

/// The bodies of events that must have nothing else.
fn bodies(shape: Shape, body: &str) -> Result<Vec<String>, String> {
    let events = decode(shape, body.as_bytes())?;
    Ok(events
        .into_iter()
        .map(|(timestamp_ms, headers, body)| {
            assert_eq!((timestamp_ms, headers), (None, Vec::new()));
            String::from_utf8(body).unwrap()
        })
        .collect())
}

#[test]
fn each_shape_keeps_the_bytes_that_were_sent() {
    let cases: [(Shape, &str, &[&str]); 18] = [
        (Shape::Json, r#"{"a": 1}"#, &[r#"{"a": 1}"#]),
        (Shape::Json, " \n{\"a\":\n 1.50}\r\n", &["{\"a\": 1.50}"]),
        (
            Shape::Json,
            "[{\"a\":\r\n\t[1,\r2]\n},\n\"b\\n\", [\n3\n]\n]",
            &["{\"a\":\t[1,2]}", "\"b\\n\"", "[3]"],
        ),
        (
            Shape::Json,
            r#"[{"a":1.50}, {"b" : "\u00fc"} ,[1, 2],"t",null, 7]"#,
            &[r#"{"a":1.50}"#, r#"{"b" : "\u00fc"}"#, "[1, 2]", r#""t""#, "null", "7"],
        ),
        (Shape::Json, "[]", &[]),
        (Shape::Json, "\"text\"", &["\"text\""]),
        (NDJSON, "{\"a\":1}\n{\"b\": 2}\n", &["{\"a\":1}", "{\"b\": 2}"]),
        (NDJSON, "{\"a\":1}\n{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]),
        (NDJSON, "{\"a\":1}\r\n \n\r\n\n7\n", &["{\"a\":1}\r", "7"]),
        (NDJSON, "", &[]),
        (UNCHECKED, "not json\n", &["not json"]),
        (Shape::TextLines, "one\ntwo\n", &["one", "two"]),
        (Shape::TextLines, "one\r\n\n\ntwo", &["one\r", "", "", "two"]),
        (Shape::TextLines, "\n", &[""]),
        (Shape::TextLines, "", &[]),
        (Shape::Raw, "a\nb\n", &["a\nb\n"]),
        (FLUME, "[]", &[]),
        (FLUME, r#" [{"body":"a"},{"body":""}] "#, &["a", ""]),
    ];
    for (shape, body, expected) in cases {
        assert_eq!(bodies(shape, body).unwrap(), expected, "{shape:?} {body}");
    }
    // UTF-8's byte order mark is no part of a text; raw bytes have none, and elsewhere it is a character.
    let mark = "\u{feff}";
    for (shape, body, expected) in [
        (Shape::Json, "{\"a\":1}", &["{\"a\":1}"][..]),
        (Shape::Json, "[1,2]", &["1", "2"]),
        (NDJSON, "{\"a\":1}\n2", &["{\"a\":1}", "2"]),
        (NDJSON, "", &[]),
        (Shape::TextLines, "one\n\u{feff}two\n", &["one", "\u{feff}two"]),
        (FLUME, "[{\"body\":\"a\"}]", &["a"]),
    ] {
        assert_eq!(bodies(shape, &format!("{mark}{body}")).unwrap(), expected, "{shape:?} {body}");
    }
    assert_eq!(bodies(Shape::Raw, mark).unwrap(), [mark]);
    assert_eq!(bodies(Shape::TextLines, &mark[..0]).unwrap(), [""; 0]);
    assert_eq!(decode(Shape::TextLines, b"\xef\xbb").unwrap()[0].2, b"\xef\xbb", "half a mark is text");
    assert_eq!(decode(Shape::Raw, b"\xff\0").unwrap(), [(None, vec![], b"\xff\0".to_vec())]);
    assert_eq!(decode(Shape::TextLines, b"\xff\n").unwrap(), [(None, vec![], b"\xff".to_vec())]);
}

#[test]
fn what_a_sender_must_change_is_named_with_its_element_or_line_and_its_byte() {
    let cases: [(Shape, &[u8], &str); 28] = [
        (Shape::Json, b"\xef\xbb\xbf{\"a\":}", "byte 8: expected value"),
        (NDJSON, b"\xef\xbb\xbf1\nx\n", "line 2, byte 5: expected value"),
        (NDJSON, b"\xef\xbb\xbf1\nx", "line 2, byte 5: expected value"),
        (NDJSON, b"\xff\xfe1\0\n\0", "byte 0: this is the byte order mark of UTF-16 or UTF-32: send UTF-8"),
        (Shape::TextLines, b"\xfe\xff\0a", "byte 0: this is the byte order mark of UTF-16: send UTF-8"),
        (Shape::Json, b"\0\0\xfe\xff\0\0\x001", "byte 0: this is the byte order mark of UTF-32: send UTF-8"),
        (Shape::Json, b"", "the body is empty"),
        (Shape::Json, b" \n", "the body is empty"),
        (Shape::Json, b"{\"a\":}", "byte 5: expected value"),
        (Shape::Json, b"{\"a\":1", "byte 6: EOF while parsing an object"),
        (Shape::Json, b"{\"a\":1}\n{\"a\":2}", "byte 8: trailing characters"),
        (Shape::Json, b"nonsense", "byte 1: expected ident"),
        (Shape::Json, b"[{\"a\":1},\n{\"b\" 2}]", "element 1, byte 15: expected `:`"),
        (Shape::Json, b"[1,2", "element 2, byte 4: EOF while parsing a list"),
        (Shape::Json, b"[1,,2]", "element 1, byte 3: expected value"),
        (Shape::Json, b"[1] 2", "byte 4: trailing characters"),
        (Shape::Json, b"[\"a\",\"b\xff\"]", "element 1, byte 7: not UTF-8"),
        (Shape::Json, b"{\"a\":\"\xff\"}", "byte 6: not UTF-8"),
        (NDJSON, b"{\"a\":1}\n{\"b\":\n", "line 2, byte 13: EOF while parsing a value"),
        (NDJSON, b"{\"a\":1}\n\n{\"b\":x}\n", "line 3, byte 14: expected value"),
        (NDJSON, b"1\n\"\xff\"\n", "line 2, byte 3: not UTF-8"),
        (NDJSON, b"1\n2 3", "line 2, byte 4: trailing characters"),
        (Shape::Raw, b"", "the body is empty"),
        (FLUME, b"[{\"body\":\"a\"},{\"body\":\"b\xff\"}]", "element 1, byte 24: not UTF-8"),
        (FLUME, b"[{\"body\":\"a\"},{\"body\":{}}]", "element 1, byte 22: body is not a text"),
        (FLUME, b"[{\"body\":\"\\ud800\"}]", "element 0, byte 16: unexpected end of hex escape"),
        (FLUME, b"[{\"headers\":{\"h\":[]}}]", "element 0, byte 17: a header is not a text"),
        (
            FLUME,
            b"[{\"headers\":{\"h\":\"1\",\"h\":\"2\"}}]",
            "element 0, byte 12: header \"h\" is named twice",
        ),
    ];
    for (shape, body, expected) in cases {
        let found = decode(shape, body);
        assert_eq!(found, Err(expected.to_owned()), "{shape:?} {}", String::from_utf8_lossy(body));
    }
}

#[test]
fn json_that_is_not_flumes_is_told_where_to_go() {
    for (body, begins) in [
        ("", "the body is empty; "),
        ("{\"a\":1}", "the body is not a JSON array; "),
        ("[{\"a\":1}]", "element 0, byte 1: neither headers nor body; "),
        ("[{\"body\":\"\"},{}]", "element 1, byte 13: neither headers nor body; "),
        ("[ null]", "element 0, byte 2: not an object; "),
        ("[7]", "element 0, byte 1: not an object; "),
    ] {
        let error = decode(FLUME, body.as_bytes()).unwrap_err();
        assert!(error.starts_with(begins), "{body}: {error}");
        assert!(error.ends_with("POST any other JSON to /v1/events"), "{error}");
    }
}

#[test]
fn flumes_elements_are_as_lenient_as_flume_is_and_their_timestamp_header_is_their_time() {
    let body = r#"[
        {"headers":{"timestamp":"1700000000123","host":"a"},"body":"x"},
        {"headers":{"n":1.50,"b":true,"none":null},"body":7, "ignored":{"body":[]}},
        {"body":null,"headers":{}},
        {"headers":null,"body":false},
        {"body":"tab\tü\u00fc\ud83d\ude00","headers":{"k\"":"v\n"}},
        {"headers":{"timestamp":1700000000124}}
    ]"#;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected: Vec<Owned> = vec![
        (Some(1_700_000_000_123), vec![pair("timestamp", "1700000000123"), pair("host", "a")], b"x".to_vec()),
        (None, vec![pair("n", "1.50"), pair("b", "true")], b"7".to_vec()),
        (None, vec![], b"".to_vec()),
        (None, vec![], b"false".to_vec()),
        (None, vec![pair("k\"", "v\n")], "tab\tüü😀".as_bytes().to_vec()),
        (Some(1_700_000_000_124), vec![pair("timestamp", "1700000000124")], b"".to_vec()),
    ];
    assert_eq!(decode(FLUME, body.as_bytes()).unwrap(), expected);
}

#[test]
fn flumes_bodies_stay_in_the_charset_of_their_request_unless_normalised() {
    let text = r#"[{"headers":{"h":"ü"},"body":"grün"}]"#;
    for charset in [Charset::Utf8, Charset::Utf16, Charset::Utf32] {
        let (mut request, mut body) = (Vec::new(), Vec::new());
        charset.write(text, &mut request);
        charset.write("grün", &mut body);
        for (normalise, body) in [(false, body), (true, "grün".into())] {
            let events = decode(Shape::Flume { charset, normalise }, &request).unwrap();
            assert_eq!(events, [(None, vec![("h".to_owned(), "ü".to_owned())], body)], "{charset:?}");
        }
    }
    let mut request = Vec::new();
    Charset::Utf16.write("[{\"body\":\"ü\"},{}]", &mut request);
    let error = decode(Shape::Flume { charset: Charset::Utf16, normalise: false }, &request).unwrap_err();
    // The mark and fourteen characters come before it.
    assert!(error.starts_with("element 1, byte 30: neither headers nor body"), "{error}");
}

proptest! {
    #[test]
    fn wherever_chunks_end_the_events_or_the_mistake_are_the_same(
        body in proptest::collection::vec(
            prop_oneof![
                Just("{\"a\":1}"), Just("\n"), Just("["), Just("]"), Just(","), Just("\"\u{fc}\""), Just(" "),
                Just("{\"body\":\"x\"}"), Just("\r"), Just("\u{feff}"),
            ],
            0..12,
        ),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let body = body.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
        for shape in [FLUME, Shape::Json, NDJSON, Shape::TextLines, Shape::Raw] {
            prop_assert_eq!(decode_chunks(shape, &chunks), decode(shape, &body));
        }
    }

    #[test]
    fn no_bytes_whatever_make_a_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        for charset in [Charset::Utf8, Charset::Utf16, Charset::Utf32] {
            let _ = decode(Shape::Flume { charset, normalise: false }, &body);
        }
        for shape in [Shape::Json, NDJSON, Shape::TextLines, Shape::Raw] {
            let _ = decode(shape, &body);
        }
    }
}

/// What a decoder has noted of the bodies of a request.
fn noted(shape: Shape, body: &[u8]) -> Known {
    let channel = MemoryChannel::new(1_000_000, 1_000_000, 1 << 30).unwrap();
    let mut draft = Draft::new(channel.batch());
    let mut decoder = Decoder::new(shape, 0);
    decoder.feed(Bytes::copy_from_slice(body), &mut draft).unwrap();
    decoder.finish(&mut draft).unwrap();
    let batch = draft.into_batch();
    let mut events = crate::event::decode_known(batch.payload(), batch.count());
    events.next().map_or(Known::NOTHING, |event| event.unwrap().known)
}

#[test]
fn a_decoder_notes_what_it_has_seen_of_every_body() {
    let cases: [(Shape, &[u8], Known); 15] = [
        (NDJSON, b"{\"a\":1}\n{ }\n", Known::PLAIN_OBJECT),
        (NDJSON, b"{\"a\":1}\n{\"_b\":2}\n", Known::OBJECT),
        (NDJSON, b"{\"\\u005fmeta\":1}\n", Known::OBJECT),
        (NDJSON, b"{\"a\":{\"_b\":\"\\n\"}}\n", Known::PLAIN_OBJECT),
        (NDJSON, b"{\"a\":1}\n[2]\n", Known::ONE_LINE),
        (NDJSON, b"{\"a\":1}\r\n", Known::ONE_LINE),
        (NDJSON, b" {}\n", Known::ONE_LINE),
        (UNCHECKED, b"{\"a\":1}\n", Known::ONE_LINE),
        (Shape::TextLines, b"{}\n", Known::ONE_LINE),
        (Shape::Json, b"{\n\"a\":1\n}", Known::PLAIN_OBJECT),
        (Shape::Json, b"[{},\n{\"a\":\r\n[]}]", Known::PLAIN_OBJECT),
        (Shape::Json, b"[{},1]", Known::ONE_LINE),
        (Shape::Raw, b"{}", Known::NOTHING),
        (FLUME, b"[{\"body\":\"{}\"}]", Known::NOTHING),
        (Shape::Json, b"[]", Known::NOTHING),
    ];
    for (shape, body, expected) in cases {
        assert_eq!(noted(shape, body), expected, "{shape:?} {:?}", String::from_utf8_lossy(body));
    }
    // As deep as it likes.
    let deep = format!("{}1{}\n", "{\"a\":[".repeat(10_000), "]}".repeat(10_000));
    assert_eq!(noted(NDJSON, deep.as_bytes()), Known::PLAIN_OBJECT);
}

proptest! {
    #[test]
    fn what_a_decoder_notes_changes_no_byte_of_an_object(
        members in proptest::collection::vec((
            prop::sample::select(vec!["a", "_meta", "_", "\\u005fmeta", "\\n", ""]),
            prop::sample::select(vec!["1", "\"x\"", "{\"_meta\":1}", "[ ]"]),
            prop::sample::select(vec!["", " ", "\r"]),
        ), 0..4),
        around in prop::sample::select(vec!["", " ", "\r", "\t"]),
        json in any::<bool>(),
        array in any::<bool>(),
    ) {
        let member = |(name, value, blank): &(&str, &str, &str)| format!("{blank}\"{name}\":{blank}{value}");
        let members = members.iter().map(member).collect::<Vec<_>>().join(",");
        let (open, close) = if json && array { ("[", ",7]") } else { ("", "") };
        let body = format!("{open}{around}{{{members}}}{around}{close}");
        let shape = if json { Shape::Json } else { NDJSON };
        let channel = MemoryChannel::new(1_000_000, 1_000_000, 1 << 30).unwrap();
        let mut draft = Draft::new(channel.batch());
        let mut decoder = Decoder::new(shape, 0);
        let fed = decoder.feed(Bytes::from(body), &mut draft);
        if fed.and_then(|()| decoder.finish(&mut draft)).is_err() {
            return Ok(());
        }
        let batch = draft.into_batch();
        for layout in [object_format::Layout::default(), object_format::Layout::Ndjson { meta: None }] {
            let write = |events: crate::event::Events<'_>| {
                let mut out = Vec::new();
                events.for_each(|event| layout.write(&event.unwrap().arrived(0), &mut out));
                out
            };
            let (payload, count) = (batch.payload(), batch.count());
            prop_assert_eq!(write(crate::event::decode_known(payload, count)), write(decode_all(payload, count)));
        }
    }
}
