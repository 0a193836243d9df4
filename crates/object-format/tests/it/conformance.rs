//! Any events in, the same events out: in every format, with every codec, wherever the bytes are cut.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_format::{
    Codec, DEFAULT_MAX_ZSTD_WINDOW, Decoder, Event, Known, Layout, MetaName, OwnedEvent, Reader, Row, Rows,
    dead_letters, json_lines,
};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::json;

const ARRIVAL_MS: i64 = 1_795_262_400_000;

const CODECS: [Codec; 3] = [Codec::None, Codec::Gzip(1), Codec::Zstd(1)];

/// The most bytes of a row here: a body of a megabyte that is nothing but control characters.
const ROW_BYTES: usize = 7 << 20;

#[derive(Debug, Clone)]
struct Sent {
    timestamp_ms: Option<i64>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { timestamp_ms: None, headers: Vec::new(), body: body.into() }
    }

    fn write(&self, write: impl FnOnce(&Event<'_, Vec<(&str, &str)>>)) {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let (timestamp_ms, body) = (self.timestamp_ms, &self.body[..]);
        write(&Event { timestamp_ms, arrival_ms: ARRIVAL_MS, headers, body, known: Known::NOTHING });
    }

    fn envelope(&self) -> OwnedEvent {
        OwnedEvent {
            timestamp_ms: self.timestamp_ms.unwrap_or(ARRIVAL_MS),
            headers: self.headers.clone(),
            body: self.body.clone(),
        }
    }

    /// The line of `ndjson` as its document says, worked out by a parser and not by ours.
    fn ndjson(&self) -> Vec<u8> {
        let text = str::from_utf8(&self.body);
        let trimmed = text.map(|text| text.trim_matches([' ', '\t', '\n', '\r'])).unwrap_or_default();
        let is_object = trimmed.starts_with('{')
            && serde_json::from_str::<IgnoredAny>(trimmed).is_ok()
            && !serde_json::from_str::<Names>(trimmed).is_ok_and(|names| names.0);
        let mut line = match text {
            Ok(_) if is_object => trimmed.replace(['\n', '\r'], ""),
            Ok(text) => json!({ "message": text }).to_string(),
            Err(_) => json!({ "message_base64": STANDARD.encode(&self.body) }).to_string(),
        };
        if self.timestamp_ms.is_some() || !self.headers.is_empty() {
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let pair = |(name, value): &(String, String)| format!("{}:{}", quoted(name), quoted(value));
            let headers = self.headers.iter().map(pair).collect::<Vec<_>>().join(",");
            let members = [
                self.timestamp_ms.map(|timestamp_ms| format!("\"timestamp\":{timestamp_ms}")),
                (!self.headers.is_empty()).then(|| format!("\"headers\":{{{headers}}}")),
            ];
            let members = members.into_iter().flatten().collect::<Vec<_>>().join(",");
            let before = &line[..line.len() - 1];
            let comma = if before[1..].trim().is_empty() { "" } else { "," };
            line = format!("{before}{comma}\"_meta\":{{{members}}}}}");
        }
        line.into_bytes()
    }
}

/// Whether an object has a member `_meta` of its own.
struct Names(bool);

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Names;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Names, A::Error> {
                let mut found = false;
                while let Some((name, IgnoredAny)) = members.next_entry::<String, _>()? {
                    found |= name == "_meta";
                }
                Ok(Names(found))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// What an agent makes of encoded events: frames that stand alone, of `frame` bytes.
fn compressed(codec: Codec, raw: &[u8], frame: usize) -> Vec<u8> {
    let mut compressor = codec.compressor().expect("the library starts");
    let mut object = Vec::new();
    raw.chunks(frame).for_each(|raw| compressor.compress_frame(raw, &mut object).expect("there is memory"));
    object
}

/// What a server makes of an object whose bytes come in pieces of `step`.
fn rows(codec: Codec, object: &[u8], step: usize, rows: Rows) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(codec.coding(), DEFAULT_MAX_ZSTD_WINDOW).expect("the library starts");
    let mut reader = Reader::new(rows, ROW_BYTES);
    let mut found = Vec::new();
    let mut take = |reader: &mut Reader, piece: Bytes| {
        reader.feed(piece);
        while let Some(row) = reader.next().expect("every row is short enough") {
            found.push(row);
        }
    };
    for piece in object.chunks(step) {
        decoder.feed(Bytes::copy_from_slice(piece));
        while let Some(piece) = decoder.piece().expect("it was compressed here") {
            assert!(piece.len() <= 5 << 20, "a piece of {} bytes", piece.len());
            take(&mut reader, piece);
        }
    }
    take(&mut reader, decoder.finish().expect("it is whole"));
    found.extend(reader.finish().expect("every row is short enough"));
    let bytes = found.into_iter().map(|row| match (row, rows) {
        (Row::Event(bytes), Rows::Events) | (Row::Line(bytes), Rows::Lines) => bytes.to_vec(),
        other => panic!("{other:?}"),
    });
    bytes.collect()
}

/// Writes `sent` in every format and with every codec, and looks for the same events in what comes back.
fn check(sent: &[Sent], frame: usize, step: usize) {
    let layouts =
        [Layout::Ndjson { meta: Some(MetaName::default()) }, Layout::Text, Layout::Raw, Layout::JsonLines];
    for layout in layouts {
        let mut raw = Vec::new();
        let mut borders = true;
        for sent in sent {
            sent.write(|event| {
                let start = raw.len();
                layout.write(event, &mut raw);
                assert_eq!(layout.pieces(event, &mut b"before".to_vec()).concat(), raw[start..]);
            });
            borders &= layout.keeps_border(&sent.body, Known::NOTHING);
        }
        let said = if borders { Rows::Events } else { Rows::Lines };
        let kind = layout.format().rows(Some(said));
        for codec in CODECS {
            let found = rows(codec, &compressed(codec, &raw, frame), step, kind);
            let name = format!("{} {}", layout.format(), codec.coding());
            let all = || sent.iter().map(|sent| &sent.body[..]);
            match (&layout, kind) {
                (Layout::Ndjson { .. }, Rows::Events) => {
                    let expected: Vec<_> = sent.iter().map(Sent::ndjson).collect();
                    assert_eq!(found, expected, "{name}");
                }
                (Layout::JsonLines, Rows::Events) => {
                    let found: Vec<_> =
                        found.iter().map(|row| json_lines::read(row).expect("an envelope")).collect();
                    assert_eq!(found, sent.iter().map(Sent::envelope).collect::<Vec<_>>(), "{name}");
                }
                (Layout::Text, Rows::Events) => assert!(found.iter().eq(all()), "{name}"),
                (Layout::Text, Rows::Lines) => {
                    let lines: Vec<_> = all().flat_map(|body| body.split(|byte| *byte == b'\n')).collect();
                    assert_eq!(found, lines, "{name}");
                }
                (Layout::Raw, Rows::Lines) => {
                    assert_eq!(found.join(&b'\n'), raw.strip_suffix(b"\n").unwrap_or(&raw), "{name}");
                }
                (_, kind) => panic!("{name}: {kind}"),
            }
        }
    }
    let mut raw = Vec::new();
    for (position, sent) in (7..).zip(sent) {
        sent.write(|event| dead_letters::write(position, "too_large", event, &mut raw));
    }
    let found = rows(Codec::None, &raw, step, Rows::Events);
    for ((position, sent), row) in (7..).zip(sent).zip(&found) {
        let letter = dead_letters::read(row).expect("a dead letter");
        assert_eq!((letter.position, letter.event), (position, sent.envelope()));
    }
    assert_eq!(found.len(), sent.len());
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,12}".prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(4, 20, 4, |inner| {
        let members =
            prop::collection::vec((prop_oneof![".{0,4}", Just("_meta".to_owned())], inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| json!(values)),
            members.prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    });
    prop_oneof![
        any::<Vec<u8>>(),
        prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b'}'), any::<u8>()], 0..20),
        ".{0,40}".prop_map(String::into_bytes),
        value.clone().prop_map(|value| value.to_string().into_bytes()),
        value.prop_map(|value| serde_json::to_vec_pretty(&value).expect("a value")),
    ]
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let headers = prop::collection::vec((".{0,6}", ".{0,10}"), 0..3);
    let event = (prop::option::of(any::<i64>()), headers, any_body());
    event.prop_map(|(timestamp_ms, headers, body)| Sent { timestamp_ms, headers, body })
}

proptest! {
    #[test]
    fn any_events_come_back_from_every_format_and_codec_wherever_bytes_are_cut(
        sent in prop::collection::vec(any_sent(), 0..12), frame in 1_usize..300, step in 1_usize..300,
    ) {
        check(&sent, frame, step);
    }

    #[test]
    fn no_bytes_make_a_reader_or_a_decoder_panic(bytes: Vec<u8>, begin in 0_usize..3, step in 1_usize..50) {
        let magic: [&[u8]; 3] = [b"", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"];
        let bytes = [magic[begin], &bytes].concat();
        for codec in CODECS {
            let mut decoder = Decoder::new(codec.coding(), 1 << 20).expect("the library starts");
            'object: {
                for piece in bytes.chunks(step) {
                    decoder.feed(Bytes::copy_from_slice(piece));
                    loop {
                        match decoder.piece() {
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            Err(_) => break 'object,
                        }
                    }
                }
                let _ = decoder.finish();
            }
        }
        let _ = (json_lines::read(&bytes), dead_letters::read(&bytes));
    }
}

#[test]
fn bodies_of_every_size_come_back() {
    let megabyte = 1 << 20;
    let sent = [
        Sent::body(""),
        Sent::body("\n"),
        Sent::body("x"),
        Sent::body([0xff]),
        Sent::body("y".repeat(megabyte)),
        Sent::body(vec![0xc3; megabyte]),
        Sent::body(format!("{{\"text\": \"{}\",\r\n \"n\": 1}}", "é".repeat(megabyte / 2))),
        Sent::body(format!("{}1{}", "{\"a\":[".repeat(20), "]}".repeat(20))),
        Sent {
            timestamp_ms: Some(-1),
            headers: vec![("h".into(), "\u{1}".repeat(9))],
            body: b"{ }".to_vec(),
        },
    ];
    for step in [1000, 4096, usize::MAX >> 1] {
        check(&sent, 256 << 10, step);
    }
    // Without a newline text says that its rows are events.
    check(&[Sent::body(""), Sent::body("one"), Sent::body("\r")], 3, 1);
}

#[test]
fn an_object_at_any_depth_is_its_own_line() {
    // Deeper than a parser that calls itself goes.
    let depth = 100_000;
    let body = format!("{}1{}", "{\"a\":\n[".repeat(depth), "]}".repeat(depth));
    let mut out = Vec::new();
    Sent::body(body.clone()).write(|event| Layout::default().write(event, &mut out));
    assert!(out == (body.replace('\n', "") + "\n").into_bytes());
}
