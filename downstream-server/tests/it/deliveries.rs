//! From notices to effects, over a store that fails at random.

use std::sync::Arc;

use blob_store::{
    BlobStore as _, Body, ErrorKind, Fault, FaultPlan, FaultyStore, MemoryStore, Operation, PutOptions,
};
use downstream_server::fetch::Content;
use downstream_server::handler::{Delivery, Effect, Handler, HandlerError, Outcome};
use downstream_server::inbox::{Database, DatabaseError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::site::{Site, store};

fn content(number: usize) -> String {
    (0..50).map(|line| format!("{{\"object\":{number},\"line\":{line}}}\n")).collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_in_the_file_once_over_failing_fetches_repeated_notices_and_restarts_i8() {
    const OBJECTS: usize = 60;
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let bucket = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
    for number in 0..OBJECTS {
        store(&*bucket, &format!("k{number}"), &content(number)).await;
    }
    bucket.set_plan(FaultPlan::default().random(7, 0.3));
    let flags = [
        "--handler-kind",
        "lines",
        "--handler-path",
        out.to_str().unwrap(),
        "--fetch-read-ahead-bytes",
        "100",
    ];
    for round in 0..3 {
        let site = Site::start(dir.path(), bucket.clone(), None, &flags).await;
        // Each round repeats all notices of the earlier ones, while objects are under way.
        for number in 0..OBJECTS * (round + 1) / 3 {
            assert_eq!(site.notify(&format!("k{number}")).await, 202);
        }
        site.stop().await;
    }
    let site = Site::start(dir.path(), bucket.clone(), None, &flags).await;
    site.until_done(OBJECTS as u64).await;
    site.eventually("nothing is owed", async || {
        let totals = site.get("/v1/summary").await["totals"].clone();
        (totals["owed"] == 0 && totals["fetching"] == 0).then_some(())
    })
    .await;
    site.stop().await;
    let written = std::fs::read_to_string(&out).unwrap();
    let mut found: Vec<&str> = written.split_inclusive('\n').collect();
    let expected: Vec<String> = (0..OBJECTS).map(content).collect();
    let mut expected: Vec<&str> = expected.iter().flat_map(|content| content.split_inclusive('\n')).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(bucket.injected() > 0, "the store never failed, so nothing was shown");
}

#[tokio::test]
async fn a_missing_object_is_tried_a_bounded_number_of_times_and_then_gone_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    let site = Site::start(dir.path(), bucket, None, &["--retry-missing-attempts", "3"]).await;
    site.notify("never/stored").await;
    let dead = site
        .eventually("the object is gone", async || {
            let dead = site.get("/v1/objects?state=gone").await;
            dead["objects"].as_array().unwrap().first().cloned()
        })
        .await;
    assert_eq!((&dead["key"], &dead["attempts"]), (&"never/stored".into(), &3.into()));
    let reason = dead["last_error"].as_str().unwrap();
    assert!(reason.starts_with("getting object never/stored: "), "{reason}");
    site.stop().await;
}

#[tokio::test]
async fn an_object_that_is_later_than_its_notice_still_arrives_and_is_shown_as_its_lines() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    let site = Site::start(dir.path(), bucket.clone(), None, &["--retry-missing-attempts", "1000"]).await;
    site.notify("late").await;
    site.eventually("an attempt missed it", async || {
        let listing = site.get("/v1/objects").await;
        (listing["objects"][0]["attempts"].as_u64() > Some(0)).then_some(())
    })
    .await;
    store(&*bucket, "late", "first <b>line</b>\nsecond\n").await;
    site.until_done(1).await;
    let recent = site
        .eventually("the lines are shown", async || {
            let lines = site.get("/v1/recent").await["lines"].clone();
            (lines != serde_json::json!([])).then_some(lines)
        })
        .await;
    let expected = serde_json::json!([
        { "object": 1, "row": "event", "text": "first <b>line</b>" },
        { "object": 1, "row": "event", "text": "second" },
    ]);
    assert_eq!(recent, expected);
    site.stop().await;
}

/// What a user would write: a handler whose effect is a row in the inbox's own database.
struct Count;

struct Counted(u64);

#[async_trait::async_trait]
impl Handler for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        let mut bytes = 0;
        while let Some(piece) = content.next().await? {
            bytes += piece.len() as u64;
        }
        if delivery.attempt == 1 {
            return Err(HandlerError::retry("the first attempt always fails"));
        }
        Ok(Box::new(Counted(bytes)))
    }
}

impl Effect for Counted {
    fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError> {
        transaction.execute("CREATE TABLE IF NOT EXISTS counted (bytes BIGINT)", &[])?;
        transaction.execute("INSERT INTO counted VALUES (?1)", &[self.0.into()]).map(drop)
    }

    fn settle(self: Box<Self>, _: Outcome) {}
}

#[tokio::test]
async fn a_handler_of_ones_own_commits_its_effect_with_the_object() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    store(&*bucket, "a", "12345").await;
    store(&*bucket, "b", "1234567").await;
    let site = Site::start(dir.path(), bucket, Some(Arc::new(Count)), &[]).await;
    for key in ["a", "b", "a", "b"] {
        site.notify(key).await;
    }
    site.until_done(2).await;
    site.stop().await;
    let inbox = Connection::open(dir.path().join(downstream_server::inbox::FILE)).unwrap();
    let sums: (u64, u64) = inbox
        .query_row("SELECT count(*), sum(bytes) FROM counted", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(sums, (2, 12));
}

#[path = "../../examples/totals.rs"]
#[expect(dead_code, reason = "the example's main is not called here")]
mod totals;

#[tokio::test]
async fn the_example_counts_each_event_exactly_once_over_repeats_faults_and_restarts() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
    for number in 0..30 {
        let lines = "{\"type\":\"a\"}\n{\"type\":\"b\"}\nno json\n";
        store(&*bucket, &format!("k{number}"), lines).await;
    }
    bucket.set_plan(FaultPlan::default().random(7, 0.3));
    for _ in 0..3 {
        let handler = Arc::new(downstream_server::handler::InTransaction::new(totals::Totals));
        let site = Site::start(dir.path(), bucket.clone(), Some(handler), &[]).await;
        for number in 0..30 {
            site.notify(&format!("k{number}")).await;
        }
        site.stop().await;
    }
    bucket.set_plan(FaultPlan::default());
    let handler = Arc::new(downstream_server::handler::InTransaction::new(totals::Totals));
    let site = Site::start(dir.path(), bucket, Some(handler), &[]).await;
    site.until_done(30).await;
    site.stop().await;
    let inbox = Connection::open(dir.path().join(downstream_server::inbox::FILE)).unwrap();
    let mut totals = inbox.prepare("SELECT type, events FROM totals ORDER BY type").unwrap();
    let totals: Vec<(String, i64)> =
        totals.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(totals, [("a".to_owned(), 30), ("b".to_owned(), 30), ("none".to_owned(), 30)]);
}

#[tokio::test]
async fn an_object_that_was_overwritten_before_it_was_fetched_is_gone_and_its_successor_is_handled() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    store(&*bucket, "a", "old\n").await;
    store(&*bucket, "a", "new\n").await;
    let out = dir.path().join("out.ndjson");
    let flags = ["--handler-kind", "lines", "--handler-path", out.to_str().unwrap()];
    let site = Site::start(dir.path(), bucket, None, &flags).await;
    for etag in ["etag-1", "etag-2"] {
        let notice = serde_json::json!({ "bucket": "logs", "key": "a", "etag": etag });
        assert_eq!(site.tell(&notice).await.0, 202);
    }
    site.until_done(1).await;
    let gone = site
        .eventually("the first is gone", async || {
            site.get("/v1/objects?state=gone").await["objects"].as_array().unwrap().first().cloned()
        })
        .await;
    let reason = gone["last_error"].as_str().unwrap();
    assert!(reason.starts_with("the object was overwritten: the notice told of etag etag-1"), "{reason}");
    site.stop().await;
    assert_eq!(std::fs::read_to_string(out).unwrap(), "new\n");
}

#[tokio::test]
async fn an_outage_of_the_store_uses_up_no_attempts_however_long_it_is() {
    let outages = [
        ErrorKind::Connection,
        ErrorKind::Timeout,
        ErrorKind::Server,
        ErrorKind::Throttled,
        ErrorKind::Credentials,
        ErrorKind::CredentialsExpired,
        ErrorKind::NoSuchBucket,
    ];
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
    store(&*bucket, "a", "one\n").await;
    let faults = outages.iter().cycle().take(4 * outages.len()).map(|kind| Some(Fault::Before(*kind)));
    bucket.set_plan(FaultPlan::default().script(Operation::Get, faults));
    let flags = ["--retry-attempts", "2", "--retry-missing-attempts", "2"];
    let site = Site::start(dir.path(), bucket.clone(), None, &flags).await;
    site.notify("a").await;
    site.until_done(1).await;
    assert_eq!(bucket.injected(), 4 * outages.len() as u64);
    site.stop().await;
}

#[tokio::test]
async fn an_object_of_an_agents_own_is_done_without_the_handler_and_is_no_event() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out.ndjson");
    let bucket = Arc::new(MemoryStore::new("logs"));
    let marked = PutOptions {
        metadata: vec![(blob_store::CONTROL.to_owned(), "claim".to_owned())],
        crc32c: crc32c::crc32c(b"nonce\n"),
        ..PutOptions::default()
    };
    bucket.put_if_absent("elsewhere/claim", Body::from(b"nonce\n".to_vec()), &marked).await.unwrap();
    store(&*bucket, "_sluicegate/claims/of-an-older-agent", "nonce\n").await;
    store(&*bucket, "a", "an event\n").await;
    let flags = ["--handler-kind", "lines", "--handler-path", out.to_str().unwrap()];
    let site = Site::start(dir.path(), bucket, None, &flags).await;
    for key in ["elsewhere/claim", "_sluicegate/claims/of-an-older-agent", "a"] {
        site.notify(key).await;
    }
    site.until_done(3).await;
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "an event\n");
    let (_, feed) = crate::site::request(&site.address, "GET", "/v1/events", "").await;
    assert_eq!(feed.matches("\"id\"").count(), 1, "{feed}");
    assert_eq!(site.get("/v1/summary").await["totals"]["events"], 1);
    site.stop().await;
}
