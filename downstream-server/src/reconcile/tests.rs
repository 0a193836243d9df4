mod lies;

use blob_store::{
    Body, Credentials, Fault, FaultPlan, FaultyStore, MemoryStore, Operation, PutOptions, S3Options, S3Store,
};
use local_cloud::{CloudOptions, LocalCloud};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::inbox::{Location, Next, Origin, Query, Row, Taken, Totals};
use crate::testing::{Site, config, get, handled, metadata_of, post_to};

/// Flags under which a test's objects are old enough at once.
pub(crate) fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--reconcile-grace", "0s"], more].concat()
}

/// The routes and the inbox over a store, with a reconciliation that a test makes step by step.
pub(crate) struct Bench {
    pub(crate) site: Site,
    reconciler: Reconciler,
}

impl Bench {
    pub(crate) fn over(store: Arc<dyn BlobStore>, flags: &[&str]) -> Self {
        let config = config(flags);
        let site = Site::new(&config);
        let reconciler = Reconciler {
            inbox: site.app.inbox.clone(),
            stores: Stores::from([("logs".to_owned(), store)]),
            config: config.reconcile,
            metrics: site.app.metrics.clone(),
            asked: site.app.asked.clone(),
        };
        Self { site, reconciler }
    }

    /// One round of what the task does until it is stopped.
    pub(crate) async fn round(&self) {
        let shutdown = CancellationToken::new();
        self.reconciler.make_up_for_loss().await.unwrap();
        for prefix in &self.reconciler.config.prefixes {
            self.reconciler.pass("logs", prefix, &shutdown).await.unwrap();
        }
        self.reconciler.look_at_suspects(&shutdown).await;
    }

    fn inbox(&self) -> &Inbox {
        &self.site.app.inbox
    }

    async fn rows(&self) -> Vec<Row> {
        self.inbox().list(Query { limit: 5000, ..Query::default() }).await.unwrap()
    }

    /// Keys of all rows, in the order of the keys.
    async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.rows().await.into_iter().map(|row| row.key).collect();
        keys.sort_unstable();
        keys
    }
}

/// An S3 server in this process, as real as one can be here, with a bucket.
struct Cloud {
    server: LocalCloud,
    store: Arc<S3Store>,
    _dir: TempDir,
}

impl Cloud {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path()) };
        let cloud = LocalCloud::start(options).await.unwrap();
        cloud.create_bucket("logs").await.unwrap();
        let store = Arc::new(S3Store::connect(at(cloud.s3_url())).await.unwrap());
        Self { server: cloud, store, _dir: dir }
    }
}

fn at(endpoint: String) -> S3Options {
    S3Options {
        endpoint: Some(endpoint),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: "local".to_owned(),
            secret_access_key: "local-secret".to_owned(),
            session_token: None,
        },
        ..S3Options::new("logs")
    }
}

async fn put(store: &dyn BlobStore, key: &str) {
    let put = PutOptions { crc32c: crc32c::crc32c(b"x\n"), ..PutOptions::default() };
    store.put_if_absent(key, Body::from(b"x\n".to_vec()), &put).await.unwrap();
}

fn our_key(number: u64) -> String {
    format!("events/{}.txt", metadata_of(number).cut)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_whose_notice_was_lost_are_taken_in_and_a_later_notice_of_them_is_a_repeat_i8() {
    let cloud = Cloud::new().await;
    let bench = Bench::over(cloud.store.clone(), &flags(&["--reconcile-foreign", "true"]));
    for number in 1..=3 {
        put(&*cloud.store, &our_key(number)).await;
    }
    put(&*cloud.store, "foreign/a b+c.txt").await;
    handled(bench.inbox(), metadata_of(2), now_ms()).await;
    bench.inbox().put(Notice::new("logs", our_key(3)), "n".to_owned(), now_ms()).await.unwrap();

    bench.round().await;
    assert_eq!(
        bench.inbox().totals(),
        Totals { owed: 3, done: 1, events: 10, bytes: 100, ..Totals::default() }
    );
    let found: Vec<_> = bench.rows().await.into_iter().filter(|row| row.origin == Origin::Listing).collect();
    assert_eq!(found.iter().map(|row| &*row.key).collect::<Vec<_>>(), ["foreign/a b+c.txt", &our_key(1)]);

    // The notices come after all, one with what only S3 itself knows.
    let etag = found[0].etag.clone();
    let late = Notice {
        etag: etag.clone(),
        sequencer: Some("1".to_owned()),
        ..Notice::new("logs", "foreign/a b+c.txt")
    };
    let version = Notice { version_id: Some("v1".to_owned()), ..late.clone() };
    for notice in [Notice::new("logs", our_key(1)), late, version.clone(), version] {
        let taken = bench.inbox().put(notice, "late".to_owned(), now_ms()).await.unwrap();
        assert_eq!(taken, Taken::Repeated);
    }
    // A second listing finds nothing new.
    bench.inbox().ask_listing("logs", "", now_ms()).await.unwrap();
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 4);
    cloud.server.shutdown().await;
}

#[tokio::test]
async fn an_object_that_a_notice_named_by_its_version_is_not_taken_in_again() {
    let store = Arc::new(MemoryStore::new("logs"));
    put(&*store, "a").await;
    let etag = store.head("a", None).await.unwrap().etag;
    let bench = Bench::over(store, &flags(&["--reconcile-foreign", "true"]));
    let notice = Notice { version_id: Some("v1".to_owned()), etag, ..Notice::new("logs", "a") };
    bench.inbox().put(notice, "n".to_owned(), now_ms()).await.unwrap();
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 1);
}

#[tokio::test]
async fn objects_that_no_agent_wrote_are_left_alone_unless_configured() {
    let store = Arc::new(MemoryStore::new("logs"));
    for key in ["control/claim", &our_key(1)] {
        put(&*store, key).await;
    }
    let bench = Bench::over(store, &flags(&[]));
    bench.round().await;
    assert_eq!(bench.keys().await, [our_key(1)]);
}

#[tokio::test]
async fn objects_younger_than_the_grace_period_are_left_to_their_notices() {
    let store = Arc::new(MemoryStore::new("logs"));
    put(&*store, &our_key(1)).await;
    let bench = Bench::over(store, &["--reconcile-grace", "1h"]);
    bench.round().await;
    let listing = bench.inbox().listings().await.unwrap().remove(0);
    assert_eq!((bench.rows().await.len(), listing.listed, listing.taken), (0, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_was_cut_short_goes_on_where_it_was_after_a_restart() {
    const OBJECTS: u64 = 2500;
    let dir = TempDir::new().unwrap();
    let store = Arc::new(MemoryStore::new("logs"));
    for number in 1..=OBJECTS {
        put(&*store, &our_key(number)).await;
    }
    let faulty = Arc::new(FaultyStore::new((*store).clone(), FaultPlan::default()));
    let open = |store: Arc<dyn BlobStore>| {
        let metrics = Arc::new(Metrics::new());
        Reconciler {
            inbox: Arc::new(
                Inbox::open(dir.path(), &Location::File(None), Duration::from_secs(60), metrics.clone())
                    .unwrap(),
            ),
            stores: Stores::from([("logs".to_owned(), store)]),
            config: ReconcileConfig { objects_per_second: 1_000_000, ..config(&flags(&[])).reconcile },
            metrics,
            asked: Arc::default(),
        }
    };
    // The store fails for good after the first page.
    faulty.set_plan(
        FaultPlan::default().script(Operation::List, [None, Some(Fault::Before(ErrorKind::Server))]),
    );
    let first = open(faulty.clone());
    first.pass("logs", "", &CancellationToken::new()).await.unwrap();
    let listing = first.inbox.listings().await.unwrap().remove(0);
    assert_eq!((listing.listed, listing.taken, &*listing.position), (1000, 1000, &*our_key(1000)));
    assert!(listing.last_error.is_some() && listing.finished_ms.is_none());
    // Dies in the middle of the second page's turn: nothing says goodbye.
    let begun = first.inbox.begin_listing("logs", "", i64::MAX, now_ms()).await.unwrap();
    assert_eq!(begun.unwrap().position, our_key(1000));
    drop(first);

    faulty.set_plan(FaultPlan::default());
    let second = open(faulty.clone());
    let calls = faulty.calls().len();
    second.pass("logs", "", &CancellationToken::new()).await.unwrap();
    assert_eq!(faulty.calls().len() - calls, 2, "the first page is not listed again");
    let listing = second.inbox.listings().await.unwrap().remove(0);
    assert_eq!((listing.listed, listing.taken, &*listing.position), (OBJECTS, OBJECTS, ""));
    assert!(listing.finished_ms.is_some());
    assert_eq!(second.inbox.totals().owed, OBJECTS);
}

#[tokio::test]
async fn a_listing_runs_when_it_is_due_or_asked_for_and_by_one_server_at_a_time() {
    let store = Arc::new(MemoryStore::new("logs"));
    let bench = Bench::over(store.clone(), &flags(&["--reconcile-interval", "off"]));
    put(&*store, &our_key(1)).await;
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 0, "off lists only when asked");
    let (status, body) = bench.site.ask(post_to("/v1/reconcile", "")).await;
    assert_eq!((status, &*body), (StatusCode::ACCEPTED, r#"{"status":"asked"}"#));
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 1);
    let (_, body) = bench.site.ask(get("/v1/reconcile")).await;
    let shown: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&shown["listings"][0]["listed"], &shown["listings"][0]["taken"]), (&1.into(), &1.into()));

    let inbox = bench.inbox();
    let finished_ms = inbox.listings().await.unwrap()[0].finished_ms.unwrap();
    assert!(inbox.begin_listing("logs", "", finished_ms - 1, now_ms()).await.unwrap().is_none());
    assert!(inbox.begin_listing("logs", "", finished_ms, now_ms()).await.unwrap().is_some());
}

#[tokio::test]
async fn of_a_bucket_from_before_a_new_inbox_only_the_newest_is_taken_in_if_that_is_configured() {
    let store = Arc::new(MemoryStore::new("logs"));
    for number in [1, 2] {
        put(&*store, &our_key(number)).await;
    }
    let later = now_ms() + 3_600_000;
    let bench = Bench::over(store, &flags(&["--reconcile-start", "newest"]));
    bench.site.beside(&format!("UPDATE counters SET value = {later} WHERE name = 'made_ms'"));
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 0);
    let taken = bench.inbox().put(Notice::new("logs", our_key(2)), "n".to_owned(), now_ms()).await.unwrap();
    assert_eq!(taken, Taken::Repeated, "what was left alone is not handled for an old notice either");
}

#[tokio::test]
async fn an_object_that_was_gone_and_is_listed_again_is_owed_again() {
    let store = Arc::new(MemoryStore::new("logs"));
    let bench = Bench::over(store.clone(), &flags(&[]));
    bench.inbox().put(Notice::new("logs", our_key(1)), "n".to_owned(), 1).await.unwrap();
    let claim = bench.inbox().claim(1, 1).await.unwrap().claims.remove(0);
    bench.inbox().fail(&claim, "no such key".to_owned(), Next::Gone, 2).await.unwrap();
    let repeated = bench.inbox().put(Notice::new("logs", our_key(1)), "n".to_owned(), 3).await.unwrap();
    assert_eq!((repeated, bench.inbox().totals().gone), (Taken::Repeated, 1), "a notice proves nothing");
    put(&*store, &our_key(1)).await;
    bench.round().await;
    assert_eq!(bench.inbox().totals(), Totals { owed: 1, ..Totals::default() });
}

#[tokio::test]
async fn whoever_asks_for_a_listing_has_to_say_json_so_that_no_other_site_can() {
    let bench = Bench::over(Arc::new(MemoryStore::new("logs")), &[]);
    let mut request = post_to("/v1/reconcile", "");
    request.headers_mut().remove("content-type");
    assert_eq!(bench.site.ask(request).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// Keys that XML cannot hold, and some that it can, in their order.
fn odd_keys() -> Vec<String> {
    let odd = [
        '\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{e}', '\u{1f}', '\u{7f}', '\u{fffe}', '\u{ffff}', '+',
        ' ', '%', '&',
    ];
    let mut keys: Vec<String> = odd.iter().map(|odd| format!("x/a{odd}b.txt")).collect();
    keys.extend(["x/a".to_owned(), "x/b.txt".to_owned()]);
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_xml_cannot_hold_are_listed_as_others_are() {
    let cloud = Cloud::new().await;
    let keys = odd_keys();
    for key in keys.iter().filter(|key| !key.contains('\0')) {
        put(&*cloud.store, key).await;
    }
    let bench = Bench::over(cloud.store.clone(), &flags(&["--reconcile-foreign", "true"]));
    bench.round().await;
    let expected: Vec<_> = keys.into_iter().filter(|key| !key.contains('\0')).collect();
    assert_eq!(bench.keys().await, expected);
    for key in expected {
        cloud.store.head(&key, None).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    cloud.server.shutdown().await;
}

/// A store that knows no URL encoding, and writes keys into its pages as they are: no XML where one holds a control
/// character. It lists these keys, and counts what it was asked.
async fn plain(keys: Vec<String>) -> (Arc<S3Store>, Arc<std::sync::atomic::AtomicUsize>) {
    #[derive(serde::Deserialize)]
    struct Ask {
        #[serde(rename = "max-keys")]
        max: usize,
        #[serde(rename = "start-after", default)]
        after: String,
    }
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let answer = async move |axum::extract::Query(ask): axum::extract::Query<Ask>| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let below: Vec<_> = keys.iter().filter(|key| **key > ask.after).collect();
        let mut contents = Vec::new();
        for key in below.iter().take(ask.max) {
            let key = key.replace('&', "&amp;").replace('\u{2}', "&#2;");
            contents.push(format!("<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag></Contents>"));
        }
        let contents = contents.concat();
        let truncated = below.len() > ask.max;
        format!(
            "<?xml version=\"1.0\"?><ListBucketResult>{contents}<IsTruncated>{truncated}</IsTruncated></ListBucketResult>"
        )
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let routes = axum::Router::new().fallback(answer);
    tokio::spawn(crate::serve::serve(listener, routes, config(&[]).serve, CancellationToken::new()));
    (Arc::new(S3Store::connect(at(endpoint)).await.unwrap()), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_makes_its_page_unreadable_is_passed_over_counted_and_told_and_the_others_are_taken() {
    let mut readable: Vec<_> = (0..2100).map(|number| format!("k{number:04}&")).collect();
    // A reference to a character that XML forbids is read all the same.
    readable.insert(1500, "k1499&\u{2}".to_owned());
    let odd = ["a\u{1}", "k0999&\u{1f}", "k0999&\u{1f}\u{2}", "k1500&\u{1}", "z\u{8}"].map(str::to_owned);
    let mut keys = [&readable[..], &odd].concat();
    keys.sort_unstable();
    let (store, asked) = plain(keys).await;
    let bench = Bench::over(store, &flags(&["--reconcile-foreign", "true"]));
    bench.round().await;
    assert_eq!(bench.keys().await, readable);
    assert_eq!(bench.site.app.metrics.reconcile_passed_over.get(), odd.len() as u64);
    let listing = bench.inbox().listings().await.unwrap().remove(0);
    assert!(listing.finished_ms.is_some() && listing.last_error.is_none());
    let asked = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(asked < 120, "{asked} requests for five keys");
}

#[tokio::test]
async fn after_a_loss_of_commits_every_bucket_is_listed_and_again_once_the_youngest_objects_are_of_age() {
    let store = Arc::new(MemoryStore::new("logs"));
    put(&*store, &our_key(1)).await;
    let bench = Bench::over(store, &flags(&["--reconcile-interval", "off"]));
    let alarm = async || {
        let (_, body) = bench.site.ask(get("/metrics")).await;
        let shown = bench.site.ask(get("/v1/continuity")).await.1;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let alarm = body.contains("\nsluicegate_server_inbox_lost_alarm 1\n");
        assert_eq!(alarm, body.contains("\nsluicegate_server_inbox_lost_commits 3\n"));
        assert_eq!(alarm, shown["inbox_lost"]["commits"] == 3, "{shown}");
        alarm
    };
    bench.round().await;
    assert_eq!((bench.rows().await.len(), alarm().await), (0, false), "nothing asked for a listing");

    let mark = |since_ms: i64| {
        bench.site.beside(&format!(
            "INSERT OR REPLACE INTO counters VALUES ('lost_commits', 3), ('lost_ms', {since_ms})"
        ));
    };
    mark(now_ms());
    assert!(alarm().await);
    bench.round().await;
    assert_eq!(bench.rows().await.len(), 1);
    bench.round().await;
    assert!(!alarm().await, "all was listed since, and nothing was too young");

    // A clock that was set back since makes it no different.
    mark(now_ms() + 3_600_000);
    for _ in 0..3 {
        bench.round().await;
    }
    assert!(!alarm().await);

    // With a time of grace the first listing may have left out what was young.
    let patient = Reconciler {
        config: ReconcileConfig { grace: Duration::from_secs(60), ..bench.reconciler.config.clone() },
        inbox: bench.site.app.inbox.clone(),
        stores: bench.reconciler.stores.clone(),
        metrics: bench.site.app.metrics.clone(),
        asked: bench.site.app.asked.clone(),
    };
    let round = async || {
        patient.make_up_for_loss().await.unwrap();
        patient.pass("logs", "", &CancellationToken::new()).await.unwrap();
        patient.inbox.listings().await.unwrap()[0].finished_ms
    };
    mark(now_ms());
    let first = round().await;
    assert!(first.is_some());
    assert_eq!(round().await, first, "the second listing waits until the first one's grace is over");
    assert!(alarm().await);
    mark(now_ms() - 60_000);
    assert!(round().await > first);
    round().await;
    assert!(!alarm().await);
}
