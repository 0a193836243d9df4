//! Requests with an `Idempotency-Key`, over the real source and the real channel.

mod kept;

use std::path::Path;
use std::sync::Arc;

use durable_channel::disk::{Disk, OsDisk};
use durable_channel::{Channel, DurableChannel, MemoryChannel, Options};
use ingest_agent::channel::keys::{Clock, Limits, system_clock};
use ingest_agent::channel::{ChannelHandle, KeyPlace};
use tokio::io::AsyncWriteExt as _;

use super::http::{Answer, ask, chunked, gzip, kind, parse, request};
use super::{Held, QUEUE_BYTES, Running, memory_channel, read_to_end, stored};

fn small() -> Options {
    Options {
        segment_bytes: 1 << 20,
        max_frame_bytes: 1 << 19,
        free_disk_floor_bytes: 0,
        ..Options::default()
    }
}

fn keyed(path: &str, key: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let key = format!("Idempotency-Key: {key}");
    request(&format!("POST {path}"), &[&[&*key], headers].concat(), body)
}

fn lines(key: &str, body: &str) -> Vec<u8> {
    keyed("/v1/events", key, &["Content-Type: text/plain"], body.as_bytes())
}

fn is_repeat(answer: &Answer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.head.contains("\r\nidempotent-replayed: true")
}

fn answered(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// A durable channel with its keys, opened as an agent opens it.
fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    limits: Limits,
    clock: &Clock,
) -> (ChannelHandle, Arc<dyn Channel>) {
    let (channel, _) = DurableChannel::open_on(Arc::clone(disk), dir, &small()).unwrap();
    let channel: Arc<dyn Channel> = Arc::new(channel);
    let keys = KeyPlace { limits, clock: Arc::clone(clock), disk: Some(Arc::clone(disk)) };
    (ChannelHandle::with_keys("main", Arc::clone(&channel), QUEUE_BYTES, keys).unwrap(), channel)
}

fn start(disk: &Arc<dyn Disk>, dir: &Path) -> (Running, ChannelHandle) {
    let (handle, channel) = open(disk, dir, Limits::default(), &system_clock());
    (Running::start_with(kind(|_| ()), channel, vec![handle.clone()]), handle)
}

async fn stop(source: Running, handle: ChannelHandle) {
    source.stop().await;
    handle.close().await.unwrap();
}

#[tokio::test]
async fn a_request_sent_again_with_its_key_is_stored_once_and_says_where() {
    let source = Running::start(kind(|_| ()));
    ask(&source, &lines("before", "x")).await;
    let first = ask(&source, &lines("k", "one\ntwo\n")).await;
    assert!(!is_repeat(&first));
    let expected = serde_json::json!({
        "accepted": 2, "repeat": false, "positions": { "c": { "first": 1, "count": 2 } }
    });
    assert_eq!(answered(&first), expected);
    ask(&source, &lines("after", "y")).await;
    for _ in 0..3 {
        let again = ask(&source, &lines("k", "one\ntwo\n")).await;
        assert!(is_repeat(&again));
        let mut expected = expected.clone();
        expected["repeat"] = true.into();
        assert_eq!(answered(&again), expected);
    }
    assert_eq!(source.bodies(), ["x", "one", "two", "y"]);
    // Counted apart (I9): a repeat is not accepted.
    let metrics = &source.metrics;
    assert_eq!((metrics.accepted_events.get(), metrics.batches.get()), (4, 3));
    assert_eq!((metrics.repeated_requests.get(), metrics.repeated_events.get()), (3, 6));
}

#[tokio::test]
async fn every_shape_of_request_takes_a_key() {
    let source = Running::start(kind(|_| ()));
    let flume = br#"[{"headers":{"a":"b"},"body":"one"}]"#;
    let shapes: [(&str, &str, &[u8]); 5] = [
        ("/v1/events", "application/json", b"[1,2]"),
        ("/v1/events", "application/x-ndjson", b"1\n2\n"),
        ("/v1/events", "text/plain", b"1\n2\n"),
        ("/v1/events", "application/octet-stream", b"1\n2\n"),
        ("/any", "application/json", flume),
    ];
    for (index, (path, content_type, body)) in shapes.into_iter().enumerate() {
        let request = keyed(path, &format!("k{index}"), &[&format!("Content-Type: {content_type}")], body);
        let before = source.channel.stats().next;
        assert!(!is_repeat(&ask(&source, &request).await));
        let after = source.channel.stats().next;
        assert!(after > before);
        let again = ask(&source, &request).await;
        assert!(is_repeat(&again) && source.channel.stats().next == after);
        assert_eq!(again.body.is_empty(), path == "/any", "Flume is answered with an empty body");
    }
}

#[tokio::test]
async fn a_key_with_other_content_is_409_and_stores_nothing() {
    let source = Running::start(kind(|_| ()));
    assert_eq!(ask(&source, &lines("k", "one\n")).await.status, 200);
    let others = [
        lines("k", "two\n"),
        lines("k", "one"),
        keyed("/v1/events", "k", &["Content-Type: application/x-ndjson"], b"one\n"),
        keyed("/v1/events", "k", &["Content-Type: application/octet-stream"], b"one\n"),
    ];
    for other in &others[..2] {
        let answer = ask(&source, other).await;
        let text = "the Idempotency-Key was used for another request: use a new key for each request";
        assert_eq!((answer.status, &*answer.body), (409, &*serde_json::json!({ "error": text }).to_string()));
    }
    // Bad input is bad input, whatever its key.
    assert_eq!(ask(&source, &others[2]).await.status, 400);
    assert_eq!(ask(&source, &others[3]).await.status, 409);
    assert!(is_repeat(&ask(&source, &lines("k", "one\n")).await), "the first one stays what it was");
    assert_eq!(source.bodies(), ["one"]);
    assert_eq!((source.metrics.refused_key.get(), source.metrics.refused_invalid.get()), (3, 1));
}

#[tokio::test]
async fn a_bad_key_is_400_before_anything_is_stored() {
    let source = Running::start(kind(|config| config.max_key_bytes = 8));
    let cases = [
        ("123456789", "the Idempotency-Key has 9 bytes, at most 8 are taken"),
        ("", "the Idempotency-Key is not of visible ASCII characters: send one such as a UUID"),
        ("a b", "the Idempotency-Key is not of visible ASCII characters: send one such as a UUID"),
        ("a\r\nIdempotency-Key: b", "the request has more than one Idempotency-Key"),
    ];
    for (key, text) in cases {
        let answer = ask(&source, &lines(key, "x")).await;
        assert_eq!((answer.status, answer.body), (400, serde_json::json!({ "error": text }).to_string()));
    }
    assert_eq!((source.channel.stats().next, source.metrics.refused_invalid.get()), (0, 4));
    assert_eq!(ask(&source, &lines("12345678", "x")).await.status, 200);
}

#[tokio::test]
async fn the_same_body_in_chunks_or_compressed_is_the_same_request() {
    let source = Running::start(kind(|_| ()));
    let body: Vec<u8> = (0..500).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let text = "Content-Type: text/plain";
    assert!(!is_repeat(&ask(&source, &keyed("/v1/events", "k", &[text], &body)).await));
    let again = [
        keyed("/v1/events", "k", &[text, "Transfer-Encoding: chunked"], &chunked(&body, 7)),
        keyed("/v1/events", "k", &[text, "Content-Encoding: gzip"], &gzip(&body)),
        keyed("/v1/events", "k", &[text, "Content-Encoding: zstd"], &zstd::encode_all(&*body, 3).unwrap()),
        keyed("/v1/events", "k", &["Content-Type: TEXT/plain"], &body),
    ];
    for request in again {
        assert!(is_repeat(&ask(&source, &request).await));
    }
    assert_eq!(source.channel.stats().next, 500);
}

#[tokio::test]
async fn a_request_without_events_leaves_its_key_free() {
    let source = Running::start(kind(|_| ()));
    let empty = keyed("/", "k", &["Content-Type: application/json"], b"[]");
    assert!(!is_repeat(&ask(&source, &empty).await));
    assert!(!is_repeat(&ask(&source, &lines("k", "one")).await));
    assert_eq!(source.bodies(), ["one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_requests_with_one_key_at_a_time_one_is_stored_and_all_are_answered() {
    let root = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let (source, handle) = start(&disk, root.path());
    let asking = (0..64).map(|_| {
        let address = source.address;
        tokio::spawn(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(&lines("k", "one\ntwo\n")).await.unwrap();
            parse(&read_to_end(&mut stream).await)
        })
    });
    let answers = futures_util::future::join_all(asking.collect::<Vec<_>>()).await;
    let positions = serde_json::json!({ "main": { "first": 0, "count": 2 } });
    let repeats = answers.into_iter().map(|answer| {
        let answer = answer.unwrap();
        assert_eq!(answered(&answer)["positions"], positions);
        is_repeat(&answer)
    });
    assert_eq!(repeats.filter(|repeat| *repeat).count(), 63);
    assert_eq!(source.bodies(), ["one", "two"]);
    assert_eq!((source.metrics.batches.get(), source.metrics.accepted_events.get()), (1, 2));
    assert_eq!(source.metrics.repeated_requests.get(), 63);
    stop(source, handle).await;
}

#[tokio::test]
async fn a_repeat_in_flight_waits_for_the_first_ones_sync_i1() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let mut first = source.connect().await;
    first.write_all(&lines("k", "one")).await.unwrap();
    source.appended(1).await;
    let mut second = source.connect().await;
    second.write_all(&lines("k", "one")).await.unwrap();
    let mut other = source.connect().await;
    other.write_all(&lines("l", "two")).await.unwrap();
    // The other one came later, so by now the second has been looked at, or will be.
    source.appended(2).await;
    assert!(first.try_read(&mut [0]).is_err() && second.try_read(&mut [0]).is_err(), "I1: nothing is synced");
    channel.release();
    assert!(!is_repeat(&parse(&read_to_end(&mut first).await)));
    assert!(is_repeat(&parse(&read_to_end(&mut second).await)));
    assert_eq!(source.bodies(), ["one", "two"]);
}

#[tokio::test]
async fn a_sender_that_hangs_up_before_the_answer_and_sends_again_is_stored_once() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let mut first = source.connect().await;
    first.write_all(&lines("k", "one")).await.unwrap();
    source.appended(1).await;
    // The connection is reset, so the source may notice, and drop what it was doing for it.
    first.set_zero_linger().unwrap();
    drop(first);
    channel.release();
    assert!(is_repeat(&ask(&source, &lines("k", "one")).await));
    assert_eq!(source.bodies(), ["one"]);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free_for_the_next_try() {
    let channel = Arc::new(MemoryChannel::new(3, 3, 1 << 20).unwrap());
    let source = Running::start_on(kind(|_| ()), channel);
    assert_eq!(ask(&source, &lines("a", "1\n2\n")).await.status, 200);
    let refused = ask(&source, &lines("b", "3\n4\n")).await;
    assert_eq!((refused.status, refused.head.contains("\r\nretry-after: 7")), (503, true), "{refused:?}");
    assert_eq!(ask(&source, &lines("c", "3\n4\n5\n6\n")).await.status, 413);
    // What was not stored may be sent otherwise.
    assert!(!is_repeat(&ask(&source, &lines("b", "3\n")).await));
    assert_eq!(source.bodies(), ["1", "2", "3"]);
    assert_eq!(source.metrics.refused_full.get(), 1);
    assert_eq!(source.metrics.refused_too_large.get(), 1);
}

#[tokio::test]
async fn with_several_channels_a_refusal_of_one_leaves_the_key_free_in_all() {
    let small: Arc<dyn Channel> = Arc::new(MemoryChannel::new(2, 2, 1 << 20).unwrap());
    let large: Arc<dyn Channel> = Arc::new(memory_channel());
    let handles = [("a", &large), ("b", &small)]
        .map(|(name, channel)| ChannelHandle::new(name, Arc::clone(channel), QUEUE_BYTES));
    let source = Running::start_with(kind(|_| ()), Arc::clone(&large), handles.into());
    assert_eq!(ask(&source, &lines("first", "1\n")).await.status, 200);
    assert_eq!(ask(&source, &lines("k", "2\n3\n")).await.status, 503);
    assert_eq!((small.stats().next, large.stats().next), (1, 1));
    assert!(!is_repeat(&ask(&source, &lines("k", "2\n")).await));
    assert_eq!(stored(&*small), stored(&*large));
}
