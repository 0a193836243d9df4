//! What every handler promises, asked of each of them through the real inbox and workers.

pub(crate) mod mix;
mod subjects;

use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::{BlobStore as _, Body, FaultPlan, FaultyStore, MemoryStore, PutOptions};
use contract::Notice;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::Handler;
use crate::fetch::Stores;
use crate::inbox::{Inbox, Location, Query, Row, State};
use crate::live::Live;
use crate::telemetry::Metrics;
use crate::testing::config;
use crate::workers::Workers;
use subjects::{Subject, Zeros};

/// Longest wait for anything; far beyond what is needed, so that it only ends a hopeless wait.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(dir: &TempDir, metrics: Arc<Metrics>) -> Inbox {
    let folder = dir.path().join("inbox");
    Inbox::open(&folder, &Location::File(None), Duration::from_secs(60), metrics).unwrap()
}

/// An inbox and a store; the handler is another one after each start.
struct Site {
    inbox: Arc<Inbox>,
    store: Arc<FaultyStore<MemoryStore>>,
    metrics: Arc<Metrics>,
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let metrics = Arc::new(Metrics::new());
        let inbox = Arc::new(open(&dir, metrics.clone()));
        let store = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
        Self { inbox, store, metrics, dir }
    }

    async fn arrive(&self, key: &str, content: &str) {
        let put = PutOptions { crc32c: crc32c::crc32c(content.as_bytes()), ..PutOptions::default() };
        self.store.put_if_absent(key, Body::from(content.as_bytes().to_vec()), &put).await.unwrap();
        self.inbox.put(Notice::new("logs", key), key.to_owned(), 0).await.unwrap();
    }

    /// Works until the rows are as they should be.
    async fn work_until(
        &self,
        handler: Arc<dyn Handler>,
        stores: Stores,
        enough: impl Fn(&[Row]) -> bool,
    ) -> Vec<Row> {
        let config = config(&["--retry-base", "1ms", "--retry-max", "5ms", "--retry-attempts", "1000000"]);
        let workers = Arc::new(Workers {
            inbox: self.inbox.clone(),
            stores,
            handler,
            fetch: config.fetch,
            retry: config.retry,
            live: Arc::new(Live::new(self.inbox.totals())),
            metrics: self.metrics.clone(),
        });
        let stop = CancellationToken::new();
        let working = tokio::spawn(workers.run(stop.clone(), Duration::ZERO));
        let deadline = Instant::now() + PATIENCE;
        let rows = loop {
            let rows = self.inbox.list(Query { limit: 1000, ..Query::default() }).await.unwrap();
            if enough(&rows) {
                break rows;
            }
            assert!(!working.is_finished(), "the workers ended by themselves");
            assert!(Instant::now() < deadline, "waited in vain: {:?}", rows.first());
            tokio::time::sleep(Duration::from_millis(2)).await;
        };
        stop.cancel();
        working.await.unwrap();
        rows
    }

    fn stores(&self) -> Stores {
        Stores::from([("logs".to_owned(), self.store.clone() as _)])
    }
}

fn lines(object: usize) -> Vec<String> {
    (0..7).map(|line| format!("object {object} line {line}")).collect()
}

/// Every event of every object reaches the handler, in the order of its object, over a store
/// that fails at random and restarts of the server.
async fn each_event_at_least_once_and_in_order(subject: &Subject) {
    const OBJECTS: usize = 12;
    let site = Site::new();
    for object in 0..OBJECTS {
        site.arrive(&format!("k{object}"), &(lines(object).join("\n") + "\n")).await;
    }
    site.store.set_plan(FaultPlan::default().random(11, 0.2));
    for done in [3, OBJECTS] {
        let enough = |rows: &[Row]| rows.iter().filter(|row| row.state == State::Done).count() >= done;
        site.work_until(subject.start(&site).await, site.stores(), enough).await;
    }
    let Some(seen) = subject.seen() else { return };
    for object in 0..OBJECTS {
        let expected: Vec<_> = lines(object).iter().map(|line| subject.shows(line.as_bytes())).collect();
        let mine = seen.iter().filter(|line| expected.contains(line));
        // Repeated from the first on or from anywhere, but never past one that was not seen.
        let mut next = 0;
        for line in mine {
            let at = expected.iter().position(|expected| expected == line).expect("a line of the object");
            assert!(at <= next, "{}: line {at} of object {object} came before line {next}", subject.name);
            next = next.max(at + 1);
        }
        assert_eq!(next, expected.len(), "{}: lines of object {object}", subject.name);
    }
}

/// For each event that went into an object one comes out, byte for byte or as the JSON that it is said to
/// become, whatever the object's format and codec are (I10).
async fn one_event_out_for_one_event_in(subject: &Subject) {
    let site = Site::new();
    let handler = subject.start(&site).await;
    let mut had = subject.seen().map_or(0, |seen| seen.len());
    for sample in mix::samples() {
        let body = Body::from(sample.stored.clone());
        site.store.put_if_absent(&sample.key, body, &sample.put).await.unwrap();
        site.inbox.put(Notice::new("logs", &sample.key), sample.key.clone(), 0).await.unwrap();
        let done = |rows: &[Row]| rows[0].state == State::Done;
        let rows = site.work_until(handler.clone(), site.stores(), done).await;
        let (what, row) = (format!("{}: {}", subject.name, sample.what), &rows[0]);
        assert_eq!(row.events, sample.events, "{what}");
        assert_eq!(row.reader.as_ref().map(ToString::to_string).as_deref(), Some(sample.reader), "{what}");
        let Some(seen) = subject.seen() else { continue };
        let expected: Vec<_> = sample.rows.iter().map(|row| subject.shows(row)).collect();
        for (number, (found, expected)) in seen[had..].iter().zip(&expected).enumerate() {
            let [found, expected] = [found, expected].map(|row| String::from_utf8_lossy(row));
            assert!(found == expected, "{what}: row {number} is {found:.80?} instead of {expected:.80?}");
        }
        assert_eq!(seen.len() - had, expected.len(), "{what}");
        had = seen.len();
    }
}

/// A handler that fails leaves its object owed with the reason, and takes it once it is well.
async fn a_failure_leaves_the_object_owed_with_its_reason(subject: &Subject) {
    let site = Site::new();
    let handler = subject.start(&site).await;
    site.arrive("before", "a line\n").await;
    site.work_until(handler.clone(), site.stores(), |rows| rows[0].state == State::Done).await;
    if !subject.set_broken(true) {
        return;
    }
    site.arrive("k", "a line\n").await;
    let failed = |rows: &[Row]| rows[0].attempts > 2 && rows[0].state == State::Owed;
    let rows = site.work_until(handler.clone(), site.stores(), failed).await;
    let reason = rows[0].last_error.clone().unwrap_or_default();
    assert!(reason.contains(subject.reason), "{}: {reason}", subject.name);
    subject.set_broken(false);
    let done = |rows: &[Row]| rows[0].state == State::Done;
    let rows = site.work_until(handler, site.stores(), done).await;
    assert_eq!(rows[0].last_error, None, "{}", subject.name);
}

/// An object far larger than memory allows passes.
async fn a_large_object_passes_in_bounded_memory(subject: &Subject) {
    const ROOM: u64 = 48 << 20;
    let site = Site::new();
    let handler = subject.start(&site).await;
    site.inbox.put(Notice::new("logs", "large"), "large".to_owned(), 0).await.unwrap();
    let stores = Stores::from([("logs".to_owned(), Arc::new(Zeros) as _)]);
    let before = resident();
    let done = |rows: &[Row]| rows[0].state == State::Done;
    let rows = site.work_until(handler, stores, done).await;
    assert_eq!(rows[0].bytes, Zeros::LENGTH);
    let grown = resident().saturating_sub(before);
    assert!(grown < ROOM, "{}: {grown} bytes more at the peak", subject.name);
}

/// The most memory that this process ever had resident, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

async fn suite(subject: Subject) {
    each_event_at_least_once_and_in_order(&subject).await;
    one_event_out_for_one_event_in(&subject).await;
    a_failure_leaves_the_object_owed_with_its_reason(&subject).await;
    a_large_object_passes_in_bounded_memory(&subject).await;
}

#[tokio::test]
async fn the_log_handler_keeps_what_all_handlers_promise() {
    suite(subjects::log()).await;
}

#[tokio::test]
async fn the_ndjson_handler_keeps_what_all_handlers_promise() {
    suite(subjects::ndjson()).await;
}

#[tokio::test]
async fn the_lines_handler_keeps_what_all_handlers_promise() {
    suite(subjects::lines()).await;
}

#[tokio::test]
async fn whoever_is_given_one_event_at_a_time_is_given_each_once() {
    one_event_out_for_one_event_in(&subjects::command("event")).await;
    one_event_out_for_one_event_in(&subjects::http("ndjson", "event").await).await;
    one_event_out_for_one_event_in(&subjects::http("json", "event").await).await;
    one_event_out_for_one_event_in(&subjects::http("json", "batch").await).await;
}

#[tokio::test]
async fn the_command_handler_keeps_what_all_handlers_promise() {
    suite(subjects::command("object")).await;
}

#[tokio::test]
async fn the_http_handler_keeps_what_all_handlers_promise() {
    suite(subjects::http("ndjson", "batch").await).await;
}

#[tokio::test]
async fn a_handler_in_the_transaction_keeps_what_all_handlers_promise() {
    suite(subjects::in_transaction()).await;
}
