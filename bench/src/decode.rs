//! From the bytes of a request or connection to a filled batch.

use std::hint::black_box;

use bytes::Bytes;
use durable_channel::{Channel, MemoryChannel};
use ingest_agent::decode::charset::Charset;
use ingest_agent::decode::lines::Lines;
use ingest_agent::decode::{Decoder, Shape};
use ingest_agent::event::Draft;

use crate::Part;
use crate::sample::{self, BATCH};

/// How much of a request's body comes at once.
const CHUNK_BYTES: usize = 16 << 10;

/// How much a connection's reads bring when it is busy.
const READ_BYTES: usize = 256 << 10;

/// A request of NDJSON, not validated.
pub fn ndjson() -> Part {
    request(Shape::JsonLines { validate: false }, sample::lines(BATCH))
}

/// A request of NDJSON, validated.
pub fn ndjson_validated() -> Part {
    request(Shape::JsonLines { validate: true }, sample::lines(BATCH))
}

/// A request of text lines.
pub fn text_lines() -> Part {
    request(Shape::TextLines, sample::lines(BATCH))
}

/// A request with a JSON array.
pub fn json_array() -> Part {
    request(Shape::Json, sample::json_array(BATCH))
}

/// A request with Flume's array.
pub fn flume_array() -> Part {
    request(Shape::Flume { charset: Charset::Utf8, normalise: false }, sample::flume_array(BATCH))
}

/// Reads of a busy netcat connection: lines are found, checked for their length, and encoded.
pub fn netcat() -> Part {
    let channel = pool();
    let text = sample::lines(20 * BATCH);
    let mut lines = Lines::default();
    Box::new(move || {
        let mut events = 0;
        for read in text.as_bytes().chunks(READ_BYTES) {
            let mut draft = Draft::new(channel.batch());
            let fed = lines.feed(read, |line| {
                if line.len() >= READ_BYTES {
                    return Err("too long");
                }
                draft.push_body(line);
                Ok(())
            });
            fed.expect("every line is short enough");
            events += u64::from(black_box(draft).count());
        }
        events
    })
}

fn request(shape: Shape, body: String) -> Part {
    let channel = pool();
    let body = Bytes::from(body);
    Box::new(move || {
        let mut draft = Draft::new(channel.batch());
        let mut decoder = Decoder::new(shape, body.len());
        for start in (0..body.len()).step_by(CHUNK_BYTES) {
            let chunk = body.slice(start..body.len().min(start + CHUNK_BYTES));
            decoder.feed(chunk, &mut draft).expect("the sample is well-formed");
        }
        decoder.finish(&mut draft).expect("the sample is complete");
        black_box(draft).count().into()
    })
}

/// A channel to take batches from that nobody appends to it.
fn pool() -> MemoryChannel {
    MemoryChannel::new(1, 1, 1).expect("the limits agree")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_gives_the_events_that_were_sent() {
        for mut part in [ndjson(), ndjson_validated(), text_lines(), json_array(), flume_array()] {
            assert_eq!(part(), u64::from(BATCH));
        }
        assert_eq!(netcat()(), 20 * u64::from(BATCH));
    }
}
