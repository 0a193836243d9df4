//! How long each hot part of the agent takes: `cargo bench -p bench --bench parts [FILTER]`.
//!
//! The time is that of a request, a batch, a frame or a run; the throughput is in events of 500 bytes. What binds is
//! not here but in `instructions.toml`: machines drift by a factor of two.

use std::time::Duration;

use bench::{Part, channel, decode, encode, sink};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use object_format::{Codec, Layout};

fn decoding(criterion: &mut Criterion) {
    time(criterion, "decode/ndjson", decode::ndjson());
    time(criterion, "decode/ndjson_validated", decode::ndjson_validated());
    time(criterion, "decode/text_lines", decode::text_lines());
    time(criterion, "decode/json_array", decode::json_array());
    time(criterion, "decode/flume_array", decode::flume_array());
    time(criterion, "decode/netcat", decode::netcat());
}

fn encoding(criterion: &mut Criterion) {
    time(criterion, "encode/body", encode::bodies());
    time(criterion, "encode/headers", encode::with_headers());
    time(criterion, "rows/text", encode::rows(Layout::Text));
    time(criterion, "rows/ndjson", encode::rows(Layout::default()));
    time(criterion, "rows/json_lines", encode::rows(Layout::JsonLines));
    time(criterion, "partition", encode::partition());
}

fn frames(criterion: &mut Criterion) {
    time(criterion, "crc32c", encode::checksum());
    time(criterion, "compress/gzip_6", encode::compress(Codec::Gzip(6)));
    time(criterion, "compress/zstd_1", encode::compress(Codec::Zstd(1)));
    time(criterion, "compress/zstd_3", encode::compress(Codec::Zstd(3)));
}

fn channels(criterion: &mut Criterion) {
    time(criterion, "channel/append_1", channel::append(1));
    time(criterion, "channel/append_8", channel::append(8));
    time(criterion, "channel/append_64", channel::append(64));
    time(criterion, "channel/read", channel::read());
}

fn sinks(criterion: &mut Criterion) {
    time(criterion, "sink/streamed", sink::streamed());
    time(criterion, "sink/partitioned", sink::partitioned());
    time(criterion, "sink/partitioned_zstd_1", sink::partitioned_zstd());
}

/// Times `part`, whose first run says how many events every run has.
fn time(criterion: &mut Criterion, name: &str, mut part: Part) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(part()));
    group.bench_function("run", |bencher| bencher.iter(&mut part));
    group.finish();
}

/// Few samples: a look of half a minute at all of it, not a decision.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group!(name = parts; config = short(); targets = decoding, encoding, frames, channels, sinks);
criterion_main!(parts);
