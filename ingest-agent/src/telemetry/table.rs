//! The table itself: one row a metric, with its name, its meaning, and where its number is read.
//!
//! Adding a metric is adding a row. Counters are written with `_total` after the name.

use durable_channel::Stats;
use prometheus_client::metrics::MetricType;

use super::{SinkMetrics, SourceMetrics};
use crate::channel::keys::KeyStats;

/// One metric of things that are `T`: sources, channels, sinks, or readers.
pub(super) struct Row<T: ?Sized> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) read: fn(&T) -> u64,
}

/// One reader at one moment; what I9 is about. All in positions since the first that the reader was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderSnapshot {
    /// Positions synced.
    pub accepted: u64,
    /// Positions that are not settled.
    pub in_channel: u64,
    /// Positions in confirmed objects.
    pub shipped: u64,
    /// Positions set aside with a reason.
    pub dead_lettered: u64,
    /// Positions lost to damage.
    pub damaged: u64,
}

const fn counter<T: ?Sized>(name: &'static str, help: &'static str, read: fn(&T) -> u64) -> Row<T> {
    Row { name, help, kind: MetricType::Counter, read }
}

const fn gauge<T: ?Sized>(name: &'static str, help: &'static str, read: fn(&T) -> u64) -> Row<T> {
    Row { name, help, kind: MetricType::Gauge, read }
}

/// Labels: channel, sink. accepted = channel_events + shipped + dead_lettered + damaged, in every scrape (I9).
pub(super) const READERS: &[Row<ReaderSnapshot>] = &[
    counter("sluicegate_events_accepted", "Events made durable for this reader", |r| r.accepted),
    gauge("sluicegate_channel_events", "Events in the channel that this reader is not done with", |r| {
        r.in_channel
    }),
    counter("sluicegate_events_shipped", "Events in objects that the store confirmed", |r| r.shipped),
    counter("sluicegate_events_dead_lettered", "Events set aside with a reason", |r| r.dead_lettered),
    counter("sluicegate_events_damaged", "Events lost to damage of the channel's files", |r| r.damaged),
];

/// Label: source.
pub(super) const SOURCES: &[Row<SourceMetrics>] = &[
    counter("sluicegate_source_events", "Events answered as accepted, after their sync", |m| {
        m.accepted_events.get()
    }),
    counter("sluicegate_source_bytes", "Bytes of the bodies of these events", |m| m.accepted_bytes.get()),
    counter("sluicegate_source_batches", "Batches appended: requests, or groups of lines", |m| {
        m.batches.get()
    }),
    gauge("sluicegate_source_connections", "Connections open now", |m| level(m.connections.get())),
    counter("sluicegate_source_connections_opened", "Connections ever accepted", |m| {
        m.connections_opened.get()
    }),
    counter(
        "sluicegate_source_repeated_requests",
        "Requests with a known idempotency key, answered as accepted; nothing was stored again",
        |m| m.repeated_requests.get(),
    ),
    counter("sluicegate_source_repeated_events", "Events of these requests", |m| m.repeated_events.get()),
    counter("sluicegate_source_refused_key", "Requests with the idempotency key of another request", |m| {
        m.refused_key.get()
    }),
    counter("sluicegate_source_refused_invalid", "Requests or lines that the sender must change", |m| {
        m.refused_invalid.get()
    }),
    counter("sluicegate_source_refused_too_large", "Requests or lines larger than a limit", |m| {
        m.refused_too_large.get()
    }),
    counter("sluicegate_source_refused_full", "Requests or lines refused because the channel is full", |m| {
        m.refused_full.get()
    }),
    counter("sluicegate_source_failed", "Requests or lines whose append failed otherwise", |m| {
        m.failed.get()
    }),
];

/// Label: channel.
pub(super) const CHANNELS: &[Row<Stats>] = &[
    gauge("sluicegate_channel_used_bytes", "Bytes held on disk or in memory", |s| s.used_bytes),
    gauge("sluicegate_channel_capacity_bytes", "Bytes that may be held", |s| s.capacity_bytes),
    gauge("sluicegate_channel_synced_position", "One past the last durable position", |s| s.synced_end),
    gauge("sluicegate_channel_oldest_position", "The oldest position held", |s| s.first),
    gauge("sluicegate_channel_segments", "Files of the log", |s| s.segments),
    gauge("sluicegate_channel_free_disk_bytes", "Free bytes of the disk when last looked at", |s| {
        s.free_disk_bytes
    }),
    counter("sluicegate_channel_refused_full", "Appends refused because the channel was full", |s| {
        s.refused_full
    }),
    counter(
        "sluicegate_channel_refused_disk",
        "Appends refused because disk space, inodes or file descriptors had run out",
        |s| s.refused_disk,
    ),
    gauge(
        "sluicegate_channel_short",
        "1 while appends are refused because something of these has run out",
        |s| u64::from(s.shortage.is_some()),
    ),
    counter("sluicegate_channel_groups", "Groups written and synced since the start", |s| s.groups),
    counter("sluicegate_channel_written_bytes", "Bytes of batches written since the start", |s| {
        s.written_bytes
    }),
];

/// Label: channel.
pub(super) const KEYS: &[Row<KeyStats>] = &[
    gauge("sluicegate_channel_keys", "Idempotency keys known", |k| k.known),
    counter("sluicegate_channel_keys_forgotten", "Idempotency keys forgotten, too many or too old", |k| {
        k.forgotten
    }),
    counter("sluicegate_channel_keys_damaged", "Idempotency keys that the key log has lost to damage", |k| {
        k.damaged
    }),
];

/// Labels: channel, sink.
pub(super) const SINKS: &[Row<SinkMetrics>] = &[
    counter("sluicegate_sink_objects", "Objects that the store confirmed", |m| m.objects.get()),
    counter("sluicegate_sink_object_bytes", "Bytes of these objects, as stored", |m| m.object_bytes.get()),
    counter("sluicegate_sink_requests", "Requests sent to the store", |m| m.requests.get()),
    counter("sluicegate_sink_retries", "Requests that failed and are tried again", |m| m.retries.get()),
    counter("sluicegate_sink_cuts_sealed", "Cuts sealed", |m| m.cuts_sealed.get()),
    gauge("sluicegate_sink_cuts_pending", "Sealed cuts not confirmed yet", |m| level(m.cuts_pending.get())),
    gauge("sluicegate_sink_cuts_dead", "Cuts set aside until they are replayed or dropped", |m| {
        level(m.cuts_dead.get())
    }),
    gauge(
        "sluicegate_sink_oldest_pending_timestamp_seconds",
        "When the oldest unconfirmed cut was sealed; 0 if there is none",
        |m| level(m.oldest_pending.get()),
    ),
    gauge(
        "sluicegate_sink_oldest_unshipped_seconds",
        "Age of the oldest event that is neither stored nor set aside; 0 if there is none",
        |m| {
            let arrival_ms = level(m.oldest_unshipped_ms.get());
            m.oldest_unshipped.of((arrival_ms > 0).then_some(arrival_ms)).as_secs()
        },
    ),
    counter("sluicegate_sink_cuts_late", "Cuts stored when they were older than retry_horizon", |m| {
        m.cuts_late.get()
    }),
    gauge("sluicegate_sink_open_partitions", "Partitions with events in no cut yet", |m| {
        level(m.open_partitions.get())
    }),
    gauge("sluicegate_sink_staging_memory_bytes", "Bytes of open cuts in memory", |m| {
        level(m.staging_memory_bytes.get())
    }),
    gauge("sluicegate_sink_staging_bytes", "Bytes of the staging log", |m| level(m.staging_bytes.get())),
    gauge("sluicegate_sink_alarm", "1 while an operator must put something right at the store", |m| {
        level(m.alarm.get()).min(1)
    }),
];

/// A gauge that is raised and lowered from several threads may pass below zero for a moment.
fn level(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
