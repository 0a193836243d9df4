//! What `examples/make_fixture.rs` put into a channel, and the sinks that it sealed cuts of it with.
//!
//! In a file of its own, so that the example which makes a fixture and the test that opens it cannot disagree.

use durable_channel::Options;
use object_format::{Codec, Layout};

/// The sinks, each with its format, codec and level. `dead` dead-letters every other event.
pub(crate) const SINKS: [(&str, &str, &str, Option<i32>); 10] = [
    ("text_none", "text", "none", None),
    ("text_gzip", "text", "gzip", None),
    ("text_zstd", "text", "zstd", None),
    ("lines_none", "json_lines", "none", None),
    ("lines_gzip", "json_lines", "gzip", Some(9)),
    ("lines_zstd", "json_lines", "zstd", Some(1)),
    ("raw_none", "raw", "none", None),
    ("raw_gzip", "raw", "gzip", None),
    ("raw_zstd", "raw", "zstd", None),
    ("dead", "text", "none", None),
];

/// Events of the channel.
pub(crate) const EVENTS: u64 = 30;

/// Events in each sealed cut of a sink, and how many it has sealed. The rest of the events is in no cut.
///
/// The sink `dead` has sealed three partitions and three objects of dead letters.
pub(crate) fn cuts(sink: &str) -> (u64, u64) {
    if sink == "dead" { (4, 6) } else { (12, 2) }
}

/// An event: headers, own time, body.
pub(crate) type Owned = (Vec<(&'static str, String)>, Option<i64>, Vec<u8>);

/// The event at `position`; every other one has the header `p`.
pub(crate) fn event(position: u64) -> Owned {
    let mut headers = Vec::new();
    if position.is_multiple_of(2) {
        headers.push(("p", format!("part {}", position % 3)));
    }
    if position % 5 == 1 {
        headers.push(("quoted", "\"q\" and ümlaut".to_owned()));
    }
    let timestamp_ms = (position % 4 == 3).then(|| 1_700_000_000_000 + position.cast_signed());
    let body = match position % 8 {
        0 => format!("a line, number {position}").into_bytes(),
        1 => Vec::new(),
        2 => format!("java.lang.Error: {position}\n\tat a.B.c(B.java:1)\n\tat a.D.e(D.java:2)").into_bytes(),
        3 => format!("{{\n  \"id\": {position},\n  \"text\": \"pretty\"\n}}").into_bytes(),
        4 => format!(r#"{{"id":{position},"text":"one line"}}"#).into_bytes(),
        5 => b"latin: caf\xe9, and \0 and \xff\xfe".to_vec(),
        6 => b"\r\ntwo ends\r\n".to_vec(),
        _ => "x".repeat(500).into_bytes(),
    };
    (headers, timestamp_ms, body)
}

/// Small files.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 16 << 10,
        capacity_bytes: 1 << 20,
        free_disk_floor_bytes: 0,
        max_frame_bytes: 8 << 10,
        ..Options::default()
    }
}

/// The layout of a format that has no settings.
pub(crate) fn layout(format: &str) -> Layout {
    let known = [Layout::Text, Layout::Raw, Layout::JsonLines];
    known.into_iter().find(|layout| layout.format().name() == format).expect("a format")
}

/// A codec by its name.
pub(crate) fn codec(name: &str, level: Option<i32>) -> Codec {
    Codec::new(name.parse().expect("a codec"), level).expect("a level")
}
