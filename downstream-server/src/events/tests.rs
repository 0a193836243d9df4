use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blob_store::{
    BlobStore, Body as Stored, ErrorKind, Fault, FaultPlan, FaultyStore, MemoryStore, Operation, PutOptions,
};
use contract::Notice;
use futures_util::StreamExt as _;
use http::Request;
use serde_json::Value;

use super::*;
use crate::clock::now_ms;
use crate::fetch::Stores;
use crate::handler::NoEffect;
use crate::handler::conformance::mix::samples;
use crate::inbox::{Keep, Place, Report};
use crate::testing::{Home, Kept, Site, config, get as ask, on_each_database, text};

on_each_database! {
    events_come_in_the_order_in_which_their_objects_became_done_and_go_on_after_any_position,
    server_sent_events_carry_the_same_and_go_on_after_last_event_id,
    a_stream_goes_on_with_what_becomes_done_later_and_ends_when_the_server_stops,
    bytes_that_are_no_text_and_carriage_returns_arrive_as_they_are,
    an_object_that_can_no_longer_be_read_is_an_error_in_its_place_and_the_rest_follows,
    a_stream_breaks_off_at_what_waiting_may_mend_and_goes_on_from_its_last_position,
    a_position_whose_events_are_dropped_is_410_and_oldest_begins_at_what_is_kept,
    a_position_beyond_the_end_is_refused_with_where_the_feed_ends,
    newest_with_a_limit_gives_the_last_events_as_ndjson_and_as_sse_and_ends_after_them,
    a_wrong_position_is_400_and_more_streams_than_allowed_are_503,
    a_reader_that_takes_nothing_holds_the_stream_and_one_that_leaves_frees_its_place,
    a_stream_gives_one_event_for_one_event_and_calls_nothing_else_one_i10,
    what_was_done_by_a_server_of_before_keeps_its_positions,
    an_event_that_is_too_large_is_an_error_that_names_the_limit,
    an_object_of_a_format_to_come_has_no_positions_until_a_server_knows_it,
}

/// A site over a store in which some objects are done.
struct Bench {
    site: Site,
    store: Arc<FaultyStore<MemoryStore>>,
}

impl Bench {
    async fn new(home: Home, flags: &[&str]) -> Self {
        let store = Arc::new(FaultyStore::new(MemoryStore::new("logs"), FaultPlan::default()));
        Self::over(home, store, flags).await
    }

    async fn over(home: Home, store: Arc<FaultyStore<MemoryStore>>, flags: &[&str]) -> Self {
        let stores = Stores::from([("logs".to_owned(), store.clone() as Arc<dyn BlobStore>)]);
        Self { site: Site::at(home, &config(flags), stores).await, store }
    }

    /// Stores an object and makes it done, as a worker would.
    async fn done(&self, key: &str, content: &[u8]) {
        self.done_as(key, content, Vec::new()).await;
    }

    async fn done_as(&self, key: &str, content: &[u8], metadata: Vec<(String, String)>) {
        let put = PutOptions { crc32c: crc32c::crc32c(content), metadata, ..PutOptions::default() };
        self.store.put_if_absent(key, Stored::from(content.to_vec()), &put).await.unwrap();
        let inbox = &self.site.app.inbox;
        inbox.put(Notice::new("logs", key), "n".to_owned(), now_ms()).await.unwrap();
        let claim = inbox.claim(1, now_ms()).await.unwrap().claims.remove(0);
        let place = Place { bucket: "logs".to_owned(), key: key.to_owned(), version_id: None };
        let found = Content::open(self.store.clone(), &place, &self.site.app.fetch).await.unwrap();
        inbox.finish(&claim, Report::of(&found, now_ms()), Box::new(NoEffect)).await.unwrap();
    }

    /// What a query answers, line by line.
    async fn read(&self, query: &str) -> Vec<Value> {
        let answer = self.site.send(ask(&format!("/v1/events?{query}"))).await;
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        text(answer).await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn sse(query: &str, last: Option<&str>) -> Request<Body> {
    let mut request = ask(&format!("/v1/events?{query}"));
    request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    if let Some(last) = last {
        request.headers_mut().insert("last-event-id", last.parse().unwrap());
    }
    request
}

fn data(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"].as_str().unwrap()).collect()
}

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap()
}

async fn three(home: Home) -> Bench {
    let bench = Bench::new(home, &[]).await;
    bench.done("one.txt", b"a\nb\n\nd").await;
    bench.done("two.txt", b"").await;
    bench.done("three.txt", b"e\nf\n").await;
    bench
}

async fn events_come_in_the_order_in_which_their_objects_became_done_and_go_on_after_any_position(
    home: Home,
) {
    let bench = three(home).await;
    let all = bench.read("").await;
    assert_eq!(data(&all), ["a", "b", "", "d", "e", "f"]);
    assert_eq!(all.iter().map(id).collect::<Vec<_>>(), ["1.0", "1.1", "1.2", "1.3", "3.0", "3.1"]);
    assert_eq!(all[4]["object"], 3);
    for (number, event) in all.iter().enumerate() {
        assert_eq!(bench.read(&format!("from={}", id(event))).await, all[number + 1..], "{event}");
        let some = bench.read(&format!("from={}&limit=2", id(event))).await;
        assert_eq!(some, all[number + 1..(number + 3).min(all.len())], "{event}");
    }
    assert_eq!(bench.read("from=1").await, all[4..]);
    assert_eq!(bench.read("from=newest").await, [] as [Value; 0]);
}

async fn server_sent_events_carry_the_same_and_go_on_after_last_event_id(home: Home) {
    let bench = three(home).await;
    let all = bench.read("").await;
    for (last, rest) in [(None, &all[..]), (Some("1.1"), &all[2..]), (Some("3.0"), &all[5..])] {
        // The header is newer than what the address says.
        let answer = bench.site.send(sse("follow=false&from=oldest", last)).await;
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let written = text(answer).await;
        let events: Vec<Value> = written
            .split_terminator("\n\n")
            .map(|one| {
                let (name, data) = one.strip_prefix("id: ").unwrap().split_once("\ndata: ").unwrap();
                let event: Value = serde_json::from_str(data).unwrap();
                assert_eq!(id(&event), name);
                event
            })
            .collect();
        assert_eq!(events, rest, "{last:?}");
    }
}

async fn a_stream_goes_on_with_what_becomes_done_later_and_ends_when_the_server_stops(home: Home) {
    let bench = three(home).await;
    let answer = bench.site.send(sse("from=newest", None)).await;
    let mut pieces = answer.into_body().into_data_stream();
    bench.done("four.txt", b"g\nh\n").await;
    let piece = pieces.next().await.unwrap().unwrap();
    let piece = std::str::from_utf8(&piece).unwrap();
    assert!(piece.starts_with("id: 4.0\ndata: {") && piece.contains("id: 4.1\n"), "{piece}");
    bench.site.app.stopping.cancel();
    assert!(pieces.next().await.is_none());
}

async fn bytes_that_are_no_text_and_carriage_returns_arrive_as_they_are(home: Home) {
    let bench = Bench::new(home, &[]).await;
    bench.done("raw", b"\xff\xfe\n\"quoted\"\r\n").await;
    let events = bench.read("").await;
    assert_eq!((&events[0]["data_base64"], &events[0]["data"]), (&Value::from("//4="), &Value::Null));
    assert_eq!(events[1]["data"], "\"quoted\"\r");
    let written = text(bench.site.send(sse("follow=false", None)).await).await;
    assert!(!written.contains('\r'), "a carriage return would end the field");
}

async fn an_object_that_can_no_longer_be_read_is_an_error_in_its_place_and_the_rest_follows(home: Home) {
    let bench = three(home).await;
    let gone = || [Some(Fault::Before(ErrorKind::NoSuchKey))];
    bench.store.set_plan(FaultPlan::default().script(Operation::Get, gone()));
    let events = bench.read("").await;
    assert_eq!(id(&events[0]), "1");
    assert!(events[0]["error"].as_str().unwrap().contains("one.txt"), "{}", events[0]);
    assert_eq!(data(&events[1..]), ["e", "f"]);
    // Whoever has the error has the object.
    assert_eq!(data(&bench.read("from=1").await), ["e", "f"]);
}

async fn a_stream_breaks_off_at_what_waiting_may_mend_and_goes_on_from_its_last_position(home: Home) {
    let bench = three(home).await;
    // The first two objects come; the third does not, once.
    let faults = [None, None, Some(Fault::Before(ErrorKind::Throttled))];
    bench.store.set_plan(FaultPlan::default().script(Operation::Get, faults));
    let answer = bench.site.send(ask("/v1/events")).await;
    let mut pieces = answer.into_body().into_data_stream();
    let first = pieces.next().await.unwrap().unwrap();
    assert_eq!(first.split(|byte| *byte == b'\n').count(), 5);
    assert!(pieces.next().await.unwrap().is_err(), "it does not look like the end");
    assert_eq!(data(&bench.read("from=1.3").await), ["e", "f"]);
}

async fn a_position_whose_events_are_dropped_is_410_and_oldest_begins_at_what_is_kept(home: Home) {
    let bench = three(home).await;
    let keep = Keep { after_ms: 0, rows: 1 };
    assert!(!bench.site.app.inbox.drop_done(keep).await.unwrap());
    for query in ["from=1", "from=1.2", "from=2.0"] {
        let (status, said) = bench.site.ask(ask(&format!("/v1/events?{query}"))).await;
        assert_eq!(status, StatusCode::GONE, "{query}: {said}");
    }
    for query in ["", "from=oldest", "from=2"] {
        assert_eq!(data(&bench.read(query).await), ["e", "f"], "{query}");
    }
}

async fn a_position_beyond_the_end_is_refused_with_where_the_feed_ends(home: Home) {
    let bench = three(home).await;
    for query in ["from=4", "from=4.0", "from=5000.0&follow=true", "from=5000.0&limit=1"] {
        let (status, said) = bench.site.ask(ask(&format!("/v1/events?{query}"))).await;
        assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE, "{query}: {said}");
        assert!(said.contains("the end of the feed, which is 3"), "{said}");
    }
    assert_eq!(bench.site.send(sse("", Some("5000.0"))).await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    // At the end is not beyond it.
    for query in ["from=3", "from=3.1"] {
        assert_eq!(bench.read(query).await, [] as [Value; 0], "{query}");
    }
}

async fn newest_with_a_limit_gives_the_last_events_as_ndjson_and_as_sse_and_ends_after_them(home: Home) {
    let bench = three(home).await;
    let all = bench.read("").await;
    for limit in 1..9 {
        let last = &all[all.len().saturating_sub(limit)..];
        assert_eq!(bench.read(&format!("from=newest&limit={limit}")).await, last, "{limit}");
        let written =
            text(bench.site.send(sse(&format!("from=newest&follow=false&limit={limit}"), None)).await).await;
        let ids = written.lines().filter_map(|line| line.strip_prefix("id: "));
        assert_eq!(ids.collect::<Vec<_>>(), last.iter().map(id).collect::<Vec<_>>(), "{limit}");
    }
    // It ends after so many also where it follows, and waits for those that there are not yet.
    let answer = bench.site.send(ask("/v1/events?from=newest&limit=2&follow=true")).await;
    assert_eq!(text(answer).await.lines().count(), 2);
    let answer = bench.site.send(sse("from=newest&limit=8", None)).await;
    bench.done("four.txt", b"g\nh\ni\n").await;
    let written = text(answer).await;
    assert_eq!(written.matches("id: ").count(), 8, "{written}");
    assert!(written.contains("id: 4.1\n") && !written.contains("id: 4.2\n"), "{written}");

    // What can no longer be read has no events to count.
    let gone = || [Some(Fault::Before(ErrorKind::NoSuchKey))];
    bench.store.set_plan(FaultPlan::default().script(Operation::Get, gone()));
    assert_eq!(data(&bench.read("from=newest&limit=2").await), ["e", "f"]);
}

async fn a_wrong_position_is_400_and_more_streams_than_allowed_are_503(home: Home) {
    let bench = Bench::new(home, &["--max-streams", "1"]).await;
    for query in ["from=here", "from=1.", "limit=0", "limit=x", "follow=maybe", "form=1"] {
        assert_eq!(bench.site.send(ask(&format!("/v1/events?{query}"))).await.status(), 400, "{query}");
    }
    let open = bench.site.send(ask("/v1/events?follow=true")).await;
    assert_eq!(bench.site.send(ask("/v1/events")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(open);
}

async fn a_reader_that_takes_nothing_holds_the_stream_and_one_that_leaves_frees_its_place(home: Home) {
    let bench = Bench::new(home, &["--max-streams", "1"]).await;
    for number in 0..40 {
        bench.done(&format!("{number}"), b"event\n").await;
    }
    let before = bench.store.calls().len();
    let open = bench.site.send(ask("/v1/events")).await;
    // Whoever reads nothing lets the server read little beyond what is on its way.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let read = bench.store.calls().len() - before;
    assert!(read < 8, "{read} objects were read for nobody");
    drop(open);
    while bench.site.app.metrics.streams.get() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.read("").await.len(), 40);
}

#[cfg(feature = "foreign-postgres")]
#[tokio::test]
async fn a_stream_shows_what_another_server_that_shares_the_inbox_has_done() {
    let home = Home::postgres();
    let other = Bench::new(home.beside(), &[]).await;
    let bench = Bench::over(home, other.store.clone(), &[]).await;
    let answer = bench.site.send(sse("from=newest", None)).await;
    let mut pieces = answer.into_body().into_data_stream();
    other.done("a.txt", b"a\nb\n").await;
    let piece = pieces.next().await.unwrap().unwrap();
    let piece = std::str::from_utf8(&piece).unwrap();
    assert!(piece.starts_with("id: 1.0\ndata: {") && piece.contains("id: 1.1\n"), "{piece}");
    assert_eq!(bench.read("").await, other.read("").await);
}

async fn a_stream_gives_one_event_for_one_event_and_calls_nothing_else_one_i10(home: Home) {
    let bench = Bench::new(home, &[]).await;
    for (number, sample) in samples().iter().enumerate() {
        bench.done_as(&sample.key, &sample.stored, sample.put.metadata.clone()).await;
        let found = bench.read(&format!("from={number}")).await;
        let (what, order) = (&sample.what, number + 1);
        assert_eq!(found.len(), sample.rows.len(), "{what}");
        for (number, (found, row)) in found.iter().zip(&sample.rows).enumerate() {
            let is_line = sample.reader == "lines/1";
            let id = if is_line { format!("{order}.line{number}") } else { format!("{order}.{number}") };
            assert_eq!(found["id"], id, "{what}");
            assert_eq!(found["row"], if is_line { Value::from("line") } else { Value::Null }, "{what}");
            let data = found["data"].as_str().map(|text| text.as_bytes().to_vec());
            let base64 = || STANDARD.decode(found["data_base64"].as_str().unwrap()).unwrap();
            assert!(data.unwrap_or_else(base64) == *row, "{what}: row {number} is another one");
            // Whoever has it goes on behind it.
            let rest = bench.read(&format!("from={id}&limit=1")).await;
            let next = sample.rows.get(number + 1);
            let goes_on = next.is_some() == rest.first().is_some_and(|next| next["object"] == order);
            assert!(goes_on, "{what}: after {id} comes {rest:.80?}");
        }
    }
}

/// What a server of inbox version 3 has done, and what it streamed of that, are in the fixture.
async fn what_was_done_by_a_server_of_before_keeps_its_positions(home: Home) {
    let (home, streamed) = home.of_version_3();
    let stores = Stores::from([("events".to_owned(), Arc::new(Kept::of_version_3()) as Arc<dyn BlobStore>)]);
    let site = Site::at(home, &config(&[]), stores).await;
    let (_, now) = site.ask(ask("/v1/events")).await;
    assert_eq!(now, streamed);
    let lines: Vec<&str> = streamed.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let event: Value = serde_json::from_str(line).unwrap();
        let (_, rest) = site.ask(ask(&format!("/v1/events?from={}", id(&event)))).await;
        assert_eq!(rest.lines().collect::<Vec<_>>(), lines[number + 1..], "after {line}");
    }
    let rows = site.app.inbox.done_from(0, 99).await.unwrap();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.reader.is_none()), "nothing was recorded then");

    // Done again, it has a new place, and there the numbers of today.
    let raw = rows.iter().find(|row| row.key.ends_with(".bin.zst")).unwrap();
    let inbox = &site.app.inbox;
    inbox.replay(raw.id, now_ms()).await.unwrap();
    let claim = inbox.claim(9, now_ms()).await.unwrap().claims.into_iter().find(|claim| claim.id == raw.id);
    let claim = claim.unwrap();
    let store = site.app.stores["events"].clone();
    let found = Content::open(store, claim.place(), &site.app.fetch).await.unwrap();
    inbox.finish(&claim, Report::of(&found, now_ms()), Box::new(NoEffect)).await.unwrap();
    let (_, again) = site.ask(ask("/v1/events?from=5")).await;
    let again: Vec<Value> = again.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(again.iter().map(id).collect::<Vec<_>>(), ["6.line0", "6.line1"]);
    assert_eq!(data(&again), ["no newlinetwo", "lines"]);
}

async fn an_event_that_is_too_large_is_an_error_that_names_the_limit(home: Home) {
    let bench = Bench::new(home, &["--events-max-event-bytes", "100B"]).await;
    bench.done("large", &[&b"small\n"[..], &[b'x'; 101]].concat()).await;
    bench.done("next", b"next\n").await;
    let events = bench.read("").await;
    assert_eq!(id(&events[0]), "1");
    let said = events[0]["error"].as_str().unwrap();
    assert!(said.contains("event 1 of the object") && said.contains("events.max_event_bytes"), "{said}");
    assert_eq!(data(&events[1..]), ["next"]);
}

async fn an_object_of_a_format_to_come_has_no_positions_until_a_server_knows_it(home: Home) {
    let bench = Bench::new(home, &[]).await;
    let mut sample = samples().remove(0);
    let format = sample.put.metadata.iter_mut().find(|(name, _)| name == "sluicegate-encoder").unwrap();
    format.1 = "parquet".to_owned();
    bench.done_as(&sample.key, &sample.stored, sample.put.metadata).await;
    let events = bench.read("").await;
    assert_eq!((events.len(), id(&events[0])), (1, "1"));
    assert!(events[0]["error"].as_str().unwrap().contains("parquet/1"), "{}", events[0]);
    let row = bench.site.app.inbox.row(1).await.unwrap().unwrap();
    assert_eq!(row.reader, Some(Reading::Unread("parquet/1".to_owned())));
}
