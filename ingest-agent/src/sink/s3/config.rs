//! The settings of one S3 sink, validated.

use std::time::Duration;

use blob_store::S3Options;

use super::partition::PartitionTemplate;
use object_format::{Codec, Layout};

/// Everything that an S3 sink is told.
///
/// Whatever of it shows in an object (bucket, prefix, partition, layout, codec) is written into the cut when it is
/// sealed (I4): a change applies to events that no cut holds yet, and to nothing else.
#[derive(Debug, Clone)]
pub struct S3SinkConfig {
    /// Where the bucket is, and who we are there.
    pub store: S3Options,
    /// Whether puts carry `If-None-Match: *`. Without it a store is asked before each put, which is weaker.
    /// `None`: as the store was found to keep it.
    pub conditional: Option<bool>,
    /// Whether multipart uploads are vouched for by their parts' checksums alone. `None`: as the store was found.
    pub composite: Option<bool>,
    /// What every key begins with; nothing but the claim is written outside of it.
    pub prefix: String,
    /// The part of the key between prefix and object name.
    pub partition: PartitionTemplate,
    /// What becomes of events that lack a value of the template.
    pub unresolved: Unresolved,
    /// How events are laid into objects.
    pub layout: Layout,
    /// How objects are compressed.
    pub codec: Codec,
    /// Threads that compress beside the sink's own.
    pub compression_threads: usize,
    /// When a cut is sealed.
    pub roll: RollConfig,
    /// The largest event as encoded, in bytes; a larger one is dead-lettered.
    pub max_event_bytes: u64,
    /// The most partitions open at a time; the oldest is sealed to make room.
    pub max_open_partitions: usize,
    /// The most bytes of open partitions held in memory before they spill to the staging log.
    pub staging_memory_bytes: u64,
    /// The most bytes of the staging log on disk; beyond it partitions are sealed early.
    pub staging_bytes: u64,
    /// The bytes of each of the journal's two files, allocated ahead. A quarter of it bounds what the sink keeps in
    /// memory of positions and of cuts that wait.
    pub journal_bytes: u64,
    /// When open partitions keep more bytes than this in the channel, the older ones are sealed early; half of its
    /// capacity at most.
    pub retain_high_bytes: u64,
    /// The largest object that is sent in one request, in bytes; larger ones go in parts.
    pub put_limit_bytes: u64,
    /// The size of a part in bytes, from 5 MiB on; it grows where an object would have more than 10,000 parts.
    pub part_bytes: u64,
    /// Cuts that are being sent at a time.
    pub upload_concurrency: usize,
    /// How long to wait before a request is sent again.
    pub retry: RetryConfig,
    /// How long a cut, or the store as a whole, may be in the same trouble before it is an alarm, though time alone may
    /// help. What needs somebody is one at once.
    pub alarm_after: Duration,
    /// How long after its seal a cut may be put again in the belief that an absent key was never put. Nobody may
    /// delete or expire objects below the prefix that are younger.
    pub retry_horizon: Duration,
    /// Where the channel is claimed as this agent's own; `None` switches the detection of clones off.
    pub control_prefix: Option<String>,
}

/// What becomes of an event that lacks a value of the partition template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unresolved {
    /// It goes to the fallback partition.
    #[default]
    Fallback,
    /// It is dead-lettered.
    DeadLetter,
}

/// When a cut is sealed: at the first rule that holds. A rule that is `None` never holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollConfig {
    /// The most bytes of an object as stored; exceeded by at most the last compressed frame, and three more for each of
    /// the threads that compress beside the sink's.
    pub bytes: Option<u64>,
    /// As `bytes`, before compression; exceeded by at most one event.
    pub uncompressed_bytes: Option<u64>,
    /// The most events.
    pub events: Option<u64>,
    /// The time since the first event of the cut was read; after a restart, since it arrived.
    pub age: Option<Duration>,
    /// The time since the last event of the cut.
    pub idle: Option<Duration>,
}

/// Pauses between two tries of a request: doubled from `base` to `max`, each shortened at random by up to half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// The first pause.
    pub base: Duration,
    /// The longest pause.
    pub max: Duration,
}
