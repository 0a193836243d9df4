//! Objects of every format and codec, ours and others, with what is to come out of each.

use std::io::Write as _;

use blob_store::PutOptions;
use contract::ObjectMetadata;
use object_format::{Event, Known, Layout};

use crate::testing::metadata_of;

/// One object.
pub(crate) struct Sample {
    pub(crate) what: String,
    pub(crate) key: String,
    pub(crate) stored: Vec<u8>,
    pub(crate) put: PutOptions,
    /// Its events, or its lines where it does not keep the borders of events.
    pub(crate) rows: Vec<Vec<u8>>,
    /// What the inbox is to record as its reader.
    pub(crate) reader: &'static str,
    /// The events that it holds, or the lines of an object that is not ours.
    pub(crate) events: u64,
}

/// Bodies of each kind that matters to somebody on the way.
fn bodies() -> Vec<Vec<u8>> {
    let some: [&[u8]; 16] = [
        b"plain text",
        b"",
        b"x",
        b"{\n  \"pretty\": {\n    \"a\": [1,\r\n 2]\n  }\n}\n",
        b"Exception in thread \"main\" java.lang.IllegalStateException\n\tat a.b(C.java:1)\n\tat d.e(F.java:2)",
        b"\xff\xfe\0bytes\nof no text\n",
        b"caf\xe9",
        b"{\"a\":\"caf\xe9\"}",
        br#"{"n":1,"nested":{"deep":[[[]]]}}"#,
        b"[1, 2]",
        b"\"a string\"",
        b"-17.5e3",
        b"null",
        b"ends in a carriage return\r",
        b"{\"cut short\":",
        "\u{feff}{\"bom\":\"\u{1f30a}\u{2028}\"}".as_bytes(),
    ];
    let megabyte = format!("{{\"a\":\"{}\"}}", "0123456789abcdef".repeat(1 << 16)).into_bytes();
    some.into_iter().map(<[u8]>::to_vec).chain([megabyte]).collect()
}

/// Without those that are more than one line.
fn one_line(bodies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    bodies.into_iter().filter(|body| !body.contains(&b'\n')).collect()
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

/// The bytes of each event in an object.
fn written(layout: &Layout, bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let write = |(number, body): (usize, &Vec<u8>)| {
        let headers = if number % 2 == 0 { &[("host", "a\"b\n")][..] } else { &[] };
        let event = Event {
            timestamp_ms: (number % 3 == 0).then_some(1_700_000_000_000),
            arrival_ms: 1_700_000_000_001,
            headers: headers.iter().copied(),
            body,
            known: Known::default(),
        };
        let mut out = Vec::new();
        layout.write(&event, &mut out);
        out
    };
    bodies.iter().enumerate().map(write).collect()
}

fn encoded(codec: &str, bytes: &[u8]) -> Vec<u8> {
    match codec {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        _ => bytes.to_vec(),
    }
}

/// One of our objects.
fn ours(number: u64, layout: &Layout, bodies: &[Vec<u8>], said: Option<&str>, codec: &str) -> Sample {
    let format = layout.format();
    let events = written(layout, bodies);
    let bytes = events.concat();
    let stored = encoded(codec, &bytes);
    let metadata = ObjectMetadata {
        events: events.len() as u64,
        first: 0,
        last: events.len() as u64 - 1,
        length: stored.len() as u64,
        crc32c: crc32c::crc32c(&stored),
        format: format.name().to_owned(),
        format_version: format.version(),
        rows: said.map(str::to_owned),
        codec: codec.to_owned(),
        ..metadata_of(number)
    };
    let keeps_borders = said == Some("events");
    let rows =
        if keeps_borders { events.iter().flat_map(|event| lines(event)).collect() } else { lines(&bytes) };
    Sample {
        what: format!("{format} {codec}, rows are {said:?}"),
        key: format!("events/{}.{}", metadata.cut, format.ext()),
        put: PutOptions { metadata: metadata.to_pairs(), crc32c: metadata.crc32c, ..PutOptions::default() },
        rows,
        reader: if said == Some("lines") || format.name() == "raw" { "lines/1" } else { "events/1" },
        events: metadata.events,
        stored,
    }
}

/// An object of somebody else.
fn foreign(key: &str, codec: &str, text: &[u8]) -> Sample {
    let stored = encoded(codec, text);
    let rows = lines(text);
    Sample {
        what: format!("foreign {key}"),
        key: key.to_owned(),
        put: PutOptions { crc32c: crc32c::crc32c(&stored), ..PutOptions::default() },
        events: rows.len() as u64,
        rows,
        reader: "events/1",
        stored,
    }
}

/// An object of each kind.
pub(crate) fn samples() -> Vec<Sample> {
    let all = bodies();
    let some = one_line(all.clone());
    let ndjson = Layout::default();
    let before = |number, layout: &Layout, bodies: &[Vec<u8>]| {
        let mut sample = ours(number, layout, bodies, None, "gzip");
        sample.put.metadata.retain(|(name, _)| name != "sluicegate-format-version");
        sample
    };
    vec![
        ours(1, &ndjson, &all, Some("events"), "none"),
        ours(2, &ndjson, &all, Some("events"), "zstd"),
        ours(3, &Layout::JsonLines, &all, Some("events"), "gzip"),
        ours(4, &Layout::Text, &some, Some("events"), "zstd"),
        ours(5, &Layout::Text, &all, Some("lines"), "none"),
        ours(6, &Layout::Raw, &all, Some("lines"), "gzip"),
        ours(7, &Layout::Text, &[vec![]], Some("events"), "none"),
        before(8, &Layout::Text, &some),
        before(9, &Layout::Text, &all),
        before(10, &Layout::Raw, &some),
        foreign("lines.log", "none", b"a\n\n{\"n\": 1}\r\nlast without a newline"),
        foreign("packed.gz", "gzip", b"caf\xe9\n{\"a\":\"caf\xe9\"}\n"),
        foreign("empty.log", "none", b""),
        foreign("newlines.log", "none", b"\n\n"),
    ]
}
