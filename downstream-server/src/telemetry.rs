//! The table of metrics: every name, unit and meaning in one place.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::inbox::{Gaps, Loss, Totals};

/// Every metric: its name as scraped, and what it means.
pub const TABLE: &[(&str, &str)] = &[
    ("sluicegate_server_notices_total", "Notices by answer: accepted, repeated, refused, deferred"),
    (
        "sluicegate_server_store_events_total",
        "What stores posted, by outcome: records taken, repeated, ignored, and requests refused",
    ),
    ("sluicegate_server_objects", "Objects in the inbox by state: owed, fetching, done, dead, gone"),
    ("sluicegate_server_oldest_owed_seconds", "Age of the oldest object that is neither done nor dead"),
    (
        "sluicegate_server_attempts_total",
        "Attempts by outcome: done, repeat, lost, retry, later, missing, dead, gone",
    ),
    ("sluicegate_server_events_total", "Events in objects that the handler took"),
    ("sluicegate_server_stored_bytes_total", "Bytes, as stored, of objects that the handler took"),
    ("sluicegate_server_decoded_bytes_total", "Bytes, decoded, of objects that the handler took"),
    ("sluicegate_server_attempt_seconds", "Time of an attempt, from asking the store to the commit"),
    ("sluicegate_server_lag_seconds", "Time from an object's making to the commit of its effect"),
    ("sluicegate_server_inbox_commit_seconds", "Time of one commit of the inbox, its sync included"),
    ("sluicegate_server_inbox_group_jobs", "Writes that shared one commit of the inbox"),
    (
        "sluicegate_server_inbox_lost_commits",
        "Commits of the inbox that were lost, as far as is known, and not made up for by a listing yet",
    ),
    (
        "sluicegate_server_inbox_lost_alarm",
        "1 from the moment that a loss of commits is found until every bucket was listed since",
    ),
    ("sluicegate_server_streams", "Live streams open now"),
    ("sluicegate_server_cuts_missing", "Cuts that are not done although a higher one of their sink is"),
    ("sluicegate_server_oldest_missing_seconds", "How long it is known of the oldest of them"),
    ("sluicegate_server_missing_alarm", "1 while a cut is missing for longer than continuity.missing_alarm"),
    ("sluicegate_server_cuts_forked", "Cuts of which objects with other content were seen"),
    ("sluicegate_server_totals_differing", "Runs of done cuts whose running totals differ from their sums"),
    ("sluicegate_server_reconcile_listed_total", "Objects that the reconciliation listed"),
    ("sluicegate_server_reconcile_taken_total", "Objects that it took in because no notice had told of them"),
    (
        "sluicegate_server_pulled_total",
        "What messages of the queue told of, by outcome: taken, repeated, ignored, refused",
    ),
    ("sluicegate_server_pull_prolonged_total", "Messages of the queue that were kept from others once more"),
    ("sluicegate_server_pull_errors_total", "Requests to the queue that failed"),
    ("sluicegate_server_reconcile_errors_total", "Listings that stopped before their end"),
    (
        "sluicegate_server_reconcile_passed_over_total",
        "Keys that the store lists in a way that cannot be read, which were passed over",
    ),
];

/// A counter with one label, whose values are words of this program.
pub type ByWord = Family<[(&'static str, &'static str); 1], Counter>;

type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;

type GaugeByWord = Family<[(&'static str, &'static str); 1], Gauge>;

/// The metrics themselves. All are cheap to count into from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Notices, by `answer`.
    pub notices: ByWord,
    /// What stores posted, by `outcome`.
    pub store_events: ByWord,
    /// Attempts, by `outcome`.
    pub attempts: ByWord,
    /// Events in objects that the handler took.
    pub events: Counter,
    /// Bytes as stored of objects that the handler took.
    pub stored_bytes: Counter,
    /// Decoded bytes of objects that the handler took.
    pub decoded_bytes: Counter,
    /// Time of an attempt.
    pub attempt_seconds: Histogram,
    /// Time from an object's making to the commit of its effect.
    pub lag_seconds: Histogram,
    /// Time of one commit of the inbox.
    pub inbox_commit_seconds: Histogram,
    /// Writes that shared one commit.
    pub inbox_group_jobs: Histogram,
    /// Live streams open now.
    pub streams: Gauge,
    /// What pulled messages told of, by `outcome`.
    pub pulled: ByWord,
    /// Messages that were kept from others once more.
    pub pull_prolonged: Counter,
    /// Requests to the queue that failed.
    pub pull_errors: Counter,
    /// Objects that the reconciliation listed.
    pub reconcile_listed: Counter,
    /// Objects that it took in.
    pub reconcile_taken: Counter,
    /// Listings that stopped before their end.
    pub reconcile_errors: Counter,
    /// Keys that cannot be read and were passed over.
    pub reconcile_passed_over: Counter,
    objects: GaugeByWord,
    oldest_owed_seconds: Seconds,
    lost_commits: Gauge,
    lost_alarm: Gauge,
    cuts_missing: Gauge,
    oldest_missing_seconds: Seconds,
    missing_alarm: Gauge,
    cuts_forked: Gauge,
    totals_differing: Gauge,
}

/// What a scrape reads from the inbox.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// Objects by state.
    pub totals: Totals,
    /// Age of the oldest object that is owed or being fetched.
    pub oldest_owed_seconds: f64,
    /// What is missing, forked or does not add up.
    pub gaps: Gaps,
    /// How long the oldest gap is known.
    pub oldest_missing_seconds: f64,
    /// Whether that is too long.
    pub missing_alarm: bool,
    /// What the inbox lost and is not made up for yet.
    pub loss: Option<Loss>,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.0005, 2.0, 20));
        let mut metrics = Self {
            registry: Registry::default(),
            notices: Family::default(),
            store_events: Family::default(),
            attempts: Family::default(),
            events: Counter::default(),
            stored_bytes: Counter::default(),
            decoded_bytes: Counter::default(),
            attempt_seconds: seconds(),
            lag_seconds: seconds(),
            inbox_commit_seconds: seconds(),
            inbox_group_jobs: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            streams: Gauge::default(),
            objects: Family::default(),
            oldest_owed_seconds: Seconds::default(),
            pulled: ByWord::default(),
            pull_prolonged: Counter::default(),
            pull_errors: Counter::default(),
            reconcile_listed: Counter::default(),
            reconcile_taken: Counter::default(),
            reconcile_errors: Counter::default(),
            reconcile_passed_over: Counter::default(),
            lost_commits: Gauge::default(),
            lost_alarm: Gauge::default(),
            cuts_missing: Gauge::default(),
            oldest_missing_seconds: Seconds::default(),
            missing_alarm: Gauge::default(),
            cuts_forked: Gauge::default(),
            totals_differing: Gauge::default(),
        };
        metrics.register("sluicegate_server_notices_total", metrics.notices.clone());
        metrics.register("sluicegate_server_store_events_total", metrics.store_events.clone());
        metrics.register("sluicegate_server_objects", metrics.objects.clone());
        metrics.register("sluicegate_server_oldest_owed_seconds", metrics.oldest_owed_seconds.clone());
        metrics.register("sluicegate_server_attempts_total", metrics.attempts.clone());
        metrics.register("sluicegate_server_events_total", metrics.events.clone());
        metrics.register("sluicegate_server_stored_bytes_total", metrics.stored_bytes.clone());
        metrics.register("sluicegate_server_decoded_bytes_total", metrics.decoded_bytes.clone());
        metrics.register("sluicegate_server_attempt_seconds", metrics.attempt_seconds.clone());
        metrics.register("sluicegate_server_lag_seconds", metrics.lag_seconds.clone());
        metrics.register("sluicegate_server_inbox_commit_seconds", metrics.inbox_commit_seconds.clone());
        metrics.register("sluicegate_server_inbox_group_jobs", metrics.inbox_group_jobs.clone());
        metrics.register("sluicegate_server_inbox_lost_commits", metrics.lost_commits.clone());
        metrics.register("sluicegate_server_inbox_lost_alarm", metrics.lost_alarm.clone());
        metrics.register("sluicegate_server_streams", metrics.streams.clone());
        metrics.register("sluicegate_server_cuts_missing", metrics.cuts_missing.clone());
        metrics.register("sluicegate_server_oldest_missing_seconds", metrics.oldest_missing_seconds.clone());
        metrics.register("sluicegate_server_missing_alarm", metrics.missing_alarm.clone());
        metrics.register("sluicegate_server_cuts_forked", metrics.cuts_forked.clone());
        metrics.register("sluicegate_server_totals_differing", metrics.totals_differing.clone());
        metrics.register("sluicegate_server_pulled_total", metrics.pulled.clone());
        metrics.register("sluicegate_server_pull_prolonged_total", metrics.pull_prolonged.clone());
        metrics.register("sluicegate_server_pull_errors_total", metrics.pull_errors.clone());
        metrics.register("sluicegate_server_reconcile_listed_total", metrics.reconcile_listed.clone());
        metrics.register("sluicegate_server_reconcile_taken_total", metrics.reconcile_taken.clone());
        metrics.register("sluicegate_server_reconcile_errors_total", metrics.reconcile_errors.clone());
        metrics
            .register("sluicegate_server_reconcile_passed_over_total", metrics.reconcile_passed_over.clone());
        for outcome in ["taken", "repeated", "ignored", "refused"] {
            metrics.pulled.get_or_create_owned(&[("outcome", outcome)]);
            metrics.store_events.get_or_create_owned(&[("outcome", outcome)]);
        }
        for answer in ["accepted", "repeated", "refused", "deferred"] {
            metrics.notices.get_or_create_owned(&[("answer", answer)]);
        }
        for outcome in ["done", "repeat", "lost", "retry", "later", "missing", "dead", "gone"] {
            metrics.attempts.get_or_create_owned(&[("outcome", outcome)]);
        }
        metrics
    }

    /// The text of one scrape.
    pub fn scrape(&self, moment: &Moment) -> String {
        let totals = &moment.totals;
        for (state, objects) in [
            ("owed", totals.owed),
            ("fetching", totals.fetching),
            ("done", totals.done),
            ("dead", totals.dead),
            ("gone", totals.gone),
        ] {
            self.objects.get_or_create(&[("state", state)]).set(gauge(objects));
        }
        self.oldest_owed_seconds.set(moment.oldest_owed_seconds);
        self.cuts_missing.set(gauge(moment.gaps.missing_cuts));
        self.oldest_missing_seconds.set(moment.oldest_missing_seconds);
        self.missing_alarm.set(moment.missing_alarm.into());
        self.lost_commits.set(gauge(moment.loss.map_or(0, |loss| loss.commits)));
        self.lost_alarm.set(moment.loss.is_some().into());
        self.cuts_forked.set(gauge(moment.gaps.forked_cuts));
        self.totals_differing.set(gauge(moment.gaps.differing_runs));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    fn register(&mut self, name: &'static str, metric: impl Metric) {
        let help = TABLE.iter().find(|row| row.0 == name).expect("every metric is in the table").1;
        // The library adds a counter's `_total` and the help's full stop itself.
        self.registry.register(name.trim_end_matches("_total"), help, metric);
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_in_the_table_is_emitted_and_each_emitted_metric_is_in_the_table() {
        let text = Metrics::new().scrape(&Moment::default());
        for (name, _) in TABLE {
            let emitted = text.lines().any(|line| line.starts_with(name));
            assert!(emitted, "{name} is not in\n{text}");
        }
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for described in types {
            let name = described.split(' ').next().unwrap_or_default();
            let known = TABLE.iter().any(|row| row.0.trim_end_matches("_total") == name);
            assert!(known, "{name} is not in the table");
        }
    }
}
