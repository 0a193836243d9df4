//! The whole S3 sink without network: from a channel in memory to a store in memory, on one thread.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, MemoryStore, S3Options};
use durable_channel::{Channel, MemoryChannel, Start};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::event::{Draft, Known};
use ingest_agent::sink::SinkContext;
use ingest_agent::sink::s3::partition::{PartitionOptions, PartitionTemplate};
use ingest_agent::sink::s3::{Buckets, RetryConfig, RollConfig, S3SinkConfig, Seams, Unresolved, run_with};
use ingest_agent::telemetry::SinkMetrics;
use object_format::{Codec, Layout};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Part;
use crate::encode::TEMPLATE;
use crate::sample::{self, BATCH};

/// Events of one run: ten megabytes.
const EVENTS: u32 = 20_000;

/// One partition, no compression: objects of 4 MiB, streamed from the channel.
pub fn streamed() -> Part {
    sink("events", Codec::None, Layout::Text, Known::ONE_LINE)
}

/// As [`streamed`], as NDJSON, of events that a decoder has seen to be JSON objects.
pub fn ndjson_known() -> Part {
    sink("events", Codec::None, Layout::default(), Known::PLAIN_OBJECT)
}

/// As [`streamed`], as NDJSON, of lines of which nobody has said that they are JSON objects.
pub fn ndjson_lines() -> Part {
    sink("events", Codec::None, Layout::default(), Known::ONE_LINE)
}

/// 200 partitions by day, type and sub type, collected in the staging log; no compression.
pub fn partitioned() -> Part {
    sink(TEMPLATE, Codec::None, Layout::Text, Known::ONE_LINE)
}

/// As [`partitioned`], with zstd's level 1.
pub fn partitioned_zstd() -> Part {
    sink(TEMPLATE, Codec::Zstd(1), Layout::Text, Known::ONE_LINE)
}

fn sink(template: &str, codec: Codec, layout: Layout, known: Known) -> Part {
    let config = config(template, codec, layout);
    let channel = filled(known);
    // Never releases anything, so that the same events are there for every run.
    let holder = channel.reader("holder", Start::Oldest).expect("the name is free");
    let channel = ChannelHandle::new("main", channel, 1 << 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of one thread starts");
    let mut run = 0;
    Box::new(move || {
        let _held = &holder;
        run += 1;
        let store = MemoryStore::new("bucket");
        let buckets: Buckets = Arc::new(move |_| Arc::new(store.clone()) as Arc<dyn BlobStore>);
        let name = format!("run_{run}");
        let (_flush, requests) = mpsc::channel(1);
        let metrics = Arc::<SinkMetrics>::default();
        let shutdown = CancellationToken::new();
        // It ships what is there, and returns.
        shutdown.cancel();
        let context = SinkContext {
            name: name.parse().expect("the name is good"),
            reader: channel.channel().reader(&name, Start::Oldest).expect("the name is free"),
            channel: channel.clone(),
            metrics: Arc::clone(&metrics),
            shutdown,
            shutdown_timeout: Duration::from_secs(600),
            flush: requests,
        };
        let ended = runtime.block_on(run_with(config.clone(), context, Seams::new(buckets)));
        ended.expect("a store in memory takes everything");
        let shipped = metrics.totals().shipped;
        assert_eq!(shipped, u64::from(EVENTS), "everything is shipped");
        shipped
    })
}

fn filled(known: Known) -> Arc<MemoryChannel> {
    let channel = MemoryChannel::new(EVENTS.into(), BATCH.into(), 1 << 30).expect("the limits agree");
    for first in (0..EVENTS).step_by(BATCH as usize) {
        let mut draft = Draft::new(channel.batch());
        for id in first..first + BATCH {
            draft.push_known(sample::event(id).as_bytes(), known);
        }
        channel.append(draft.into_batch()).expect("there is room");
    }
    Arc::new(channel)
}

fn config(template: &str, codec: Codec, layout: Layout) -> S3SinkConfig {
    let partition = PartitionTemplate::parse(template, PartitionOptions::default());
    S3SinkConfig {
        store: S3Options::new("bucket"),
        conditional: None,
        composite: None,
        prefix: "logs/".to_owned(),
        partition: partition.expect("the template is good"),
        unresolved: Unresolved::Fallback,
        layout,
        codec,
        compression_threads: 0,
        roll: RollConfig {
            bytes: Some(4 << 20),
            uncompressed_bytes: None,
            events: None,
            age: None,
            idle: None,
        },
        max_event_bytes: 1 << 20,
        max_open_partitions: 1_000,
        staging_memory_bytes: 64 << 20,
        staging_bytes: 1 << 30,
        journal_bytes: 8 << 20,
        retain_high_bytes: u64::MAX,
        put_limit_bytes: 64 << 20,
        part_bytes: 8 << 20,
        upload_concurrency: 2,
        retry: RetryConfig { base: Duration::from_millis(1), max: Duration::from_millis(4) },
        alarm_after: Duration::from_secs(300),
        retry_horizon: Duration::from_secs(7 * 24 * 3600),
        control_prefix: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_ships_the_same_events_again() {
        for mut part in [streamed(), ndjson_known(), ndjson_lines(), partitioned()] {
            assert_eq!((part(), part()), (u64::from(EVENTS), u64::from(EVENTS)));
        }
    }
}
