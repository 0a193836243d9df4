//! One event at a time: into the channel's form, out of it, and to its partition.

use std::hint::black_box;

use ingest_agent::event;
use ingest_agent::sink::s3::partition::{PartitionOptions, PartitionTemplate};
use object_format::{Codec, Layout};

use crate::Part;
use crate::sample::{self, BATCH};

/// The partition template of the samples: day, type and sub type.
pub const TEMPLATE: &str = "%Y/%m/%d/%{json:t}/%{json:s}";

/// 2026-11-21, noon.
const ARRIVAL_MS: i64 = 1_795_262_400_000;

/// Bytes that are compressed and checksummed at once: a frame of the staging log.
pub const FRAME_BYTES: usize = 256 << 10;

/// Encodes bodies alone.
pub fn bodies() -> Part {
    let (events, mut buf) = (events(), Vec::new());
    Box::new(move || {
        buf.clear();
        for body in &events {
            event::encode_body(&mut buf, body.as_bytes());
        }
        black_box(&buf);
        events.len() as u64
    })
}

/// Encodes events with two headers and a timestamp.
pub fn with_headers() -> Part {
    let (events, mut buf) = (events(), Vec::new());
    Box::new(move || {
        buf.clear();
        for body in &events {
            let headers = [("host", "web-07"), ("timestamp", "1795262400000")];
            event::encode(&mut buf, Some(ARRIVAL_MS), headers, body.as_bytes());
        }
        black_box(&buf);
        events.len() as u64
    })
}

/// Decodes a batch and lays it into an object.
pub fn rows(layout: Layout) -> Part {
    let (payload, mut out) = (payload(), Vec::new());
    Box::new(move || {
        out.clear();
        for event in event::decode_all(&payload, BATCH) {
            let event = event.expect("it was encoded here");
            layout.write(&event.arrived(ARRIVAL_MS), &mut out);
        }
        black_box(&out);
        BATCH.into()
    })
}

/// Renders [`TEMPLATE`] for each event of a batch.
pub fn partition() -> Part {
    let payload = payload();
    let mut template =
        PartitionTemplate::parse(TEMPLATE, PartitionOptions::default()).expect("the template is good");
    let mut partition = String::new();
    Box::new(move || {
        for event in event::decode_all(&payload, BATCH) {
            partition.clear();
            let event = event.expect("it was encoded here");
            template.render(&event, ARRIVAL_MS, &mut partition).expect("every event has a type");
            black_box(&partition);
        }
        BATCH.into()
    })
}

/// Compresses a frame of lines.
pub fn compress(codec: Codec) -> Part {
    let lines = frame();
    let mut compressor = codec.compressor().expect("the library starts");
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        compressor.compress_frame(lines.as_bytes(), &mut out).expect("there is memory");
        black_box(&out);
        (lines.len() / (sample::BYTES + 1)) as u64
    })
}

/// Checksums a frame of lines.
pub fn checksum() -> Part {
    let lines = frame();
    Box::new(move || {
        black_box(crc32c::crc32c(black_box(lines.as_bytes())));
        (lines.len() / (sample::BYTES + 1)) as u64
    })
}

fn events() -> Vec<String> {
    (0..BATCH).map(sample::event).collect()
}

fn payload() -> Vec<u8> {
    let mut payload = Vec::new();
    for event in events() {
        event::encode_body(&mut payload, event.as_bytes());
    }
    payload
}

fn frame() -> String {
    sample::lines((FRAME_BYTES / (sample::BYTES + 1)) as u32)
}
