//! The table of metrics: what every number means, and the one snapshot per scrape that makes them add up.
//!
//! Sources, sinks and channels only raise counters; names, help texts and the reading of each number stand
//! in [`table`], once. A scrape reads a sink's [`Totals`] under its lock and the channel's synced end after it,
//! so that in every scrape and for every reader (I9)
//!
//! ```text
//! accepted = channel_events + shipped + dead_lettered + damaged
//! ```
//!
//! All four count positions of the channel, from the first one that the reader was given.

mod collector;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::channel::ChannelHandle;

pub use table::ReaderSnapshot;

/// What one source counts. A source raises these once a request or batch, never once an event.
#[derive(Debug, Default)]
pub struct SourceMetrics {
    /// Events answered "ok", which is after their sync (I1).
    pub accepted_events: Counter,
    /// Bytes of the bodies of those events.
    pub accepted_bytes: Counter,
    /// Batches appended: requests, or groups of lines.
    pub batches: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections ever accepted.
    pub connections_opened: Counter,
    /// Requests answered "ok" whose events were stored before, under the same key. Nothing was accepted.
    pub repeated_requests: Counter,
    /// Events of those requests.
    pub repeated_events: Counter,
    /// Requests whose key was used for another request.
    pub refused_key: Counter,
    /// Requests or lines refused because the sender must change them.
    pub refused_invalid: Counter,
    /// Requests or lines refused because they are larger than a limit.
    pub refused_too_large: Counter,
    /// Requests or lines refused because the channel had no room; sending again later can help.
    pub refused_full: Counter,
    /// Requests or lines whose append failed otherwise; sending again later can help.
    pub failed: Counter,
}

/// What one sink counts.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    totals: Mutex<Totals>,
    /// Objects confirmed in the store.
    pub objects: Counter,
    /// Bytes of those objects, as stored.
    pub object_bytes: Counter,
    /// Requests sent to the store, of every kind.
    pub requests: Counter,
    /// Requests that failed and were or will be tried again.
    pub retries: Counter,
    /// Cuts sealed.
    pub cuts_sealed: Counter,
    /// Sealed cuts that are not confirmed yet.
    pub cuts_pending: Gauge,
    /// Cuts set aside until an operator replays or drops them.
    pub cuts_dead: Gauge,
    /// When the oldest cut was sealed that is not confirmed and not set aside, in seconds since the epoch; 0 if none.
    pub oldest_pending: Gauge,
    /// When the oldest event arrived that is neither stored nor set aside, in milliseconds since the epoch; 0 if none.
    pub oldest_unshipped_ms: Gauge,
    pub(crate) oldest_unshipped: wall_clock::Age,
    /// Cuts stored later than the retry horizon allows.
    pub cuts_late: Counter,
    /// Partitions with events that no cut holds yet.
    pub open_partitions: Gauge,
    /// Bytes of open cuts held in memory.
    pub staging_memory_bytes: Gauge,
    /// Bytes of the staging log.
    pub staging_bytes: Gauge,
    /// How much of the sink's work is in trouble that an operator must look at: what only a person can put right
    /// (credentials, bucket, permission, settings), and what has lasted for longer than `alarm_after`.
    pub alarm: Gauge,
}

/// Where the positions of one reader are. A sink replaces the whole of it in one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The first position that this reader was ever given; the other numbers count from here.
    pub origin: u64,
    /// Positions that the sink's own record says it is done with, from `origin` on.
    pub settled: u64,
    /// Positions in objects that the store confirmed.
    pub shipped: u64,
    /// Positions set aside with a reason, recorded.
    pub dead_lettered: u64,
    /// Positions lost to damage of the channel.
    pub damaged: u64,
}

/// Everything there is to measure in one agent; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug, Default)]
struct Parts {
    sources: Vec<(String, Arc<SourceMetrics>)>,
    channels: Vec<ChannelHandle>,
    sinks: Vec<SinkPart>,
}

/// One sink with the channel that it reads.
#[derive(Debug, Clone)]
pub struct SinkPart {
    name: String,
    channel: ChannelHandle,
    metrics: Arc<SinkMetrics>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Adds a source, and returns what it shall count with.
    pub fn add_source(&self, name: &str) -> Arc<SourceMetrics> {
        let metrics = Arc::<SourceMetrics>::default();
        self.lock().sources.push((name.to_owned(), Arc::clone(&metrics)));
        metrics
    }

    /// Adds a channel.
    pub fn add_channel(&self, channel: &ChannelHandle) {
        self.lock().channels.push(channel.clone());
    }

    /// Adds a sink that reads `channel`, and returns what it shall count with.
    pub fn add_sink(&self, name: &str, channel: &ChannelHandle) -> Arc<SinkMetrics> {
        let metrics = Arc::<SinkMetrics>::default();
        let part =
            SinkPart { name: name.to_owned(), channel: channel.clone(), metrics: Arc::clone(&metrics) };
        self.lock().sinks.push(part);
        metrics
    }

    /// The sources with their names.
    pub fn sources(&self) -> Vec<(String, Arc<SourceMetrics>)> {
        self.lock().sources.clone()
    }

    /// The channels.
    pub fn channels(&self) -> Vec<ChannelHandle> {
        self.lock().channels.clone()
    }

    /// The sinks.
    pub fn sinks(&self) -> Vec<SinkPart> {
        self.lock().sinks.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SinkPart ===

impl SinkPart {
    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where this reader's positions are at this moment; they add up (I9).
    pub fn snapshot(&self) -> ReaderSnapshot {
        // The totals first: a sink settles only what is synced, so the synced end read after them covers them.
        let totals = self.metrics.totals();
        let accepted = self.channel.synced_end().saturating_sub(totals.origin);
        ReaderSnapshot {
            accepted,
            in_channel: accepted.saturating_sub(totals.settled),
            shipped: totals.shipped,
            dead_lettered: totals.dead_lettered,
            damaged: totals.damaged,
        }
    }

    fn labels(&self) -> Vec<(&'static str, String)> {
        vec![("channel", self.channel.name().to_owned()), ("sink", self.name.clone())]
    }
}

// === impl SinkMetrics ===

impl SinkMetrics {
    /// Replaces the totals in one step; no scrape sees half of it.
    pub fn update_totals(&self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut totals);
        debug_assert_eq!(
            totals.settled,
            totals.shipped + totals.dead_lettered + totals.damaged,
            "I9: every settled position is shipped, dead-lettered or damaged",
        );
    }

    /// The totals at this moment.
    pub fn totals(&self) -> Totals {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
