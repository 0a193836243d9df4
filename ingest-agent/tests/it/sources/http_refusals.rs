//! Every way in which the HTTP source says no: the status, the text, and that nothing was stored.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, MemoryChannel, Options};
use ingest_agent::channel::ChannelHandle;
use tokio::io::AsyncWriteExt;

use super::http::{Answer, ask, kind, parse, post, request};
use super::{Held, QUEUE_BYTES, Running, read_to_end, soon, stored};

const USAGE: &str = "[{\"headers\":{\"name\":\"value\"},\"body\":\"text\"}] is expected here; \
                     POST any other JSON to /v1/events";

/// Asserts the whole of a refusal, and that the source is none the worse for it.
async fn refused(source: &Running, request: &[u8], status: u16, text: &str) -> Answer {
    let before = source.channel.stats().next;
    let answer = ask(source, request).await;
    let body = serde_json::json!({ "error": text }).to_string();
    assert_eq!((answer.status, &answer.body), (status, &body), "{:?}", String::from_utf8_lossy(request));
    assert_eq!(source.channel.stats().next, before, "something was stored");
    answer
}

#[tokio::test]
async fn bad_input_is_400_with_the_element_or_line_and_the_byte() {
    let source = Running::start(kind(|_| ()));
    let flume: [(&[u8], String); 11] = [
        (b"", format!("the body is empty; {USAGE}")),
        (b" ", format!("the body is empty; {USAGE}")),
        (b"{\"body\":\"x\"}", format!("the body is not a JSON array; {USAGE}")),
        (b"nonsense", format!("the body is not a JSON array; {USAGE}")),
        (b"[{\"body\":\"x\"},{\"a\":1}]", format!("element 1, byte 14: neither headers nor body; {USAGE}")),
        (b"[null]", format!("element 0, byte 1: not an object; {USAGE}")),
        (b"[{\"body\":{\"a\":1}}]", "element 0, byte 9: body is not a text".into()),
        (b"[{\"headers\":[],\"body\":\"\"}]", "element 0, byte 12: headers is not an object of texts".into()),
        (b"[{\"body\":\"x\"}", "element 1, byte 13: EOF while parsing a list".into()),
        (b"[{\"body\":\"x\"}] []", "byte 15: trailing characters".into()),
        (b"[{\"body\":\"\xff\"}]", "element 0, byte 10: not UTF-8".into()),
    ];
    for (body, text) in flume {
        refused(&source, &post("/", "application/json", body), 400, &text).await;
    }
    let events: [(&str, &[u8], &str); 8] = [
        ("application/json", b"", "the body is empty"),
        ("application/json", b"{\"a\":1", "byte 6: EOF while parsing an object"),
        ("application/json", b"{\"a\":1}\n{\"a\":2}\n", "byte 8: trailing characters"),
        ("application/json", b"[1,x]", "element 1, byte 3: expected value"),
        ("application/json", b"[1,\"\xff\"]", "element 1, byte 4: not UTF-8"),
        ("application/x-ndjson", b"{\"a\":1}\n{\"b\":}\n", "line 2, byte 13: expected value"),
        ("application/x-ndjson", b"1\nx", "line 2, byte 2: expected value"),
        ("application/octet-stream", b"", "the body is empty"),
    ];
    for (content_type, body, text) in events {
        refused(&source, &post("/v1/events", content_type, body), 400, text).await;
    }
    assert_eq!(source.metrics.refused_invalid.get(), 19);
}

#[tokio::test]
async fn methods_paths_and_missing_lengths_have_their_statuses() {
    let source = Running::start(kind(|_| ()));
    for method in ["TRACE", "OPTIONS"] {
        let text = format!("method {method} is not allowed: POST events");
        refused(&source, &request(&format!("{method} /"), &[], b""), 403, &text).await;
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        for path in ["/", "/v1/events"] {
            let text = format!("method {method} is not allowed: POST events");
            let answer =
                refused(&source, &request(&format!("{method} {path}"), &[], b"[]"), 405, &text).await;
            assert!(answer.head.contains("\r\nallow: post"), "{answer:?}");
        }
    }
    for path in ["/v1", "/v1/", "/v1/event", "/v1/events/"] {
        let text = format!("there is nothing at {path}: POST to /v1/events, or Flume's JSON to /");
        refused(&source, &post(path, "text/plain", b"x"), 404, &text).await;
    }
    let no_length = b"POST /v1/events HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    refused(&source, no_length, 411, "the request has neither Content-Length nor Transfer-Encoding: chunked")
        .await;
}

#[tokio::test]
async fn what_is_not_supported_is_415_with_what_is() {
    let source = Running::start(kind(|_| ()));
    // Its newlines are two bytes: cut at one, each line is half a character off.
    let utf16: Vec<u8> = "\u{feff}one\ntwo\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for essence in ["text/plain", "application/json", "application/x-ndjson"] {
        let text = "charset \"utf-16le\" is not supported: send UTF-8";
        refused(&source, &post("/v1/events", &format!("{essence}; charset=utf-16le"), &utf16), 415, text)
            .await;
        let text = "byte 0: this is the byte order mark of UTF-16 or UTF-32: send UTF-8";
        refused(&source, &post("/v1/events", essence, &utf16), 400, text).await;
    }
    let charset = "charset \"ISO-8859-1\" is not supported: send UTF-8, UTF-16 or UTF-32";
    refused(&source, &post("/", "application/json; charset=ISO-8859-1", b"[]"), 415, charset).await;
    for encoding in ["br", "deflate", "gzip, zstd"] {
        let text = format!("content encoding {encoding:?} is not supported: send gzip, zstd or none");
        let header = format!("Content-Encoding: {encoding}");
        let answer = refused(&source, &request("POST /v1/events", &[&header], b"x"), 415, &text).await;
        assert!(answer.head.contains("\r\naccept-encoding: gzip, zstd"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_with_the_limit() {
    let source = Running::start(kind(|config| config.max_body_bytes = 10_000));
    let text = "the body is larger than the limit of 10000 bytes";
    for content_type in ["text/plain", "application/json", "application/octet-stream"] {
        for size in [10_001, 3_000_000] {
            refused(&source, &post("/v1/events", content_type, &vec![b'x'; size]), 413, text).await;
        }
        let chunked = [b"2711\r\n", &[b'x'; 10_001][..], b"\r\n0\r\n\r\n"].concat();
        let headers = [&*format!("Content-Type: {content_type}"), "Transfer-Encoding: chunked"];
        refused(&source, &request("POST /v1/events", &headers, &chunked), 413, text).await;
    }
    assert_eq!(source.metrics.refused_too_large.get(), 9);
    let fits = ask(&source, &post("/v1/events", "text/plain", &[b'x'; 10_000])).await;
    assert_eq!(fits.status, 200);
}

#[tokio::test]
async fn a_body_that_expands_beyond_the_limit_is_413_and_one_that_does_not_expand_is_400() {
    let source = Running::start(kind(|config| config.max_body_bytes = 1 << 20));
    let zeros = vec![0; 100 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&zeros).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstd = zstd::encode_all(&zeros[..], 19).unwrap();
    let whole = zstd::encode_all(&b"some text"[..], 3).unwrap();
    let mut small = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    small.write_all(b"some text").unwrap();
    let small = small.finish().unwrap();

    let too_large = "the body is larger than the limit of 1048576 bytes when decompressed";
    let cases: [(&str, &[u8], u16, &str); 8] = [
        ("gzip", &gzip, 413, too_large),
        ("zstd", &zstd, 413, too_large),
        ("gzip", b"not gzip at all", 400, "the body is not valid gzip"),
        ("gzip", b"", 400, "the body is not valid gzip"),
        ("gzip", &small[..small.len() - 1], 400, "the body is not valid gzip"),
        ("gzip", &[&small[..], b"junk"].concat(), 400, "the body is not valid gzip"),
        ("zstd", b"not zstd at all", 400, "the body is not valid zstd"),
        ("zstd", &whole[..whole.len() - 1], 400, "the body is not valid zstd"),
    ];
    for (encoding, body, status, text) in cases {
        let header = format!("Content-Encoding: {encoding}");
        for content_type in ["text/plain", "application/octet-stream"] {
            let headers = [&*header, &format!("Content-Type: {content_type}")];
            refused(&source, &request("POST /v1/events", &headers, body), status, text).await;
        }
    }
}

#[tokio::test]
async fn a_zstd_window_beyond_the_limit_is_413_with_both() {
    let windowed = |log: u32, size: usize| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(log).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&vec![b'x'; size]).unwrap();
        encoder.finish().unwrap()
    };
    let source = Running::start(kind(|_| ()));
    let headers = ["Content-Encoding: zstd", "Content-Type: text/plain"];
    let text = "the body was compressed with a zstd window of 134217728 bytes, and the limit is 8388608 bytes: \
                compress it without --long";
    refused(&source, &request("POST /v1/events", &headers, &windowed(27, 100)), 413, text).await;
    assert_eq!(ask(&source, &request("POST /v1/events", &headers, &windowed(23, 100))).await.status, 200);
    assert_eq!(source.metrics.refused_too_large.get(), 1);
    // One whose content is its own window names that, and the limit is the configured one.
    let source = Running::start(kind(|config| config.max_zstd_window_bytes = 100 << 10));
    let whole = zstd::bulk::compress(&vec![b'x'; 300_000], 3).unwrap();
    let text = "the body was compressed with a zstd window of 300000 bytes, and the limit is 65536 bytes: \
                compress it without --long";
    refused(&source, &request("POST /v1/events", &headers, &whole), 413, text).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_head_is_told_as_every_refusal_is_and_nothing_is_stored() {
    let source = Running::start(kind(|config| {
        (config.max_head_bytes, config.max_headers) = (8192, 20);
        config.request_timeout = Duration::from_millis(100);
    }));
    let long = format!("X-Long: {}", "x".repeat(9000));
    let text = "the head of the request is larger than the limit of 8192 bytes";
    refused(&source, &request("POST /v1/events", &[&long], b"x"), 431, text).await;
    let many = vec!["X-Many: x"; 18];
    let text = "the request has more than 20 header lines";
    refused(&source, &request("POST /v1/events", &many, b"x"), 431, text).await;
    let text = "the request has more than one Host header";
    refused(&source, &request("POST /v1/events", &["Host: other"], b"x"), 400, text).await;
    let text = "the target of the request names a host; this is no proxy, so send the path alone";
    refused(&source, &request("POST http://agent/v1/events", &[], b"x"), 400, text).await;
    // gzip for the way is not taken off, and its bytes are no text.
    let gzip = super::http::chunked(&super::http::gzip(b"{\"a\":1}\n"), 100);
    let headers = ["Content-Type: text/plain", "Transfer-Encoding: gzip, chunked"];
    let text = "transfer coding \"gzip, chunked\" is not supported: send chunked alone, and what is compressed with \
                Content-Encoding";
    refused(&source, &request("POST /v1/events", &headers, &gzip), 501, text).await;
    let text = "this is no HTTP request: its first line or a header is malformed";
    refused(&source, b"POST /v1/events\r\n\r\n", 400, text).await;
    let text = "the head of the request did not arrive within 0.1 seconds";
    refused(&source, b"POST /v1/events HTTP/1.1\r\nHost: ag", 408, text).await;
    assert_eq!(source.metrics.refused_invalid.get(), 7);
}

#[tokio::test]
async fn a_request_that_waits_for_what_has_run_out_is_503_within_room_timeout_and_names_it() {
    let disk = SimDisk::new();
    let options = Options {
        segment_bytes: 64 << 10,
        max_frame_bytes: 16 << 10,
        free_disk_floor_bytes: 0,
        ..Options::default()
    };
    let dir = Path::new("/state/channel");
    let (channel, _) = DurableChannel::open_on(Arc::new(disk.clone()), dir, &options).unwrap();
    let source =
        Running::start_on(kind(|config| config.room_timeout = Duration::from_millis(50)), Arc::new(channel));
    disk.set_descriptors(false);
    let line = post("/v1/events", "text/plain", &[b'x'; 8_000]);
    let first = soon(async {
        loop {
            let answer = ask(&source, &line).await;
            if answer.status != 200 {
                break answer;
            }
        }
    })
    .await;
    let reason = "the file descriptors are used up: raise the limit of open files";
    assert_eq!(first.status, 503);
    assert!(first.body.contains(reason) && first.body.contains("it may still be stored"), "{first:?}");
    assert!(first.head.contains("\r\nretry-after: 7"), "{first:?}");
    // From then on nothing is taken that would wait.
    let next = ask(&source, &line).await;
    assert!(next.body.contains(reason) && !next.body.contains("stored"), "{next:?}");
    let before = source.channel.stats().next;
    disk.set_descriptors(true);
    soon(async { while ask(&source, &line).await.status != 200 {} }).await;
    assert_eq!(
        source.bodies().len() as u64,
        before + 1,
        "what was left in doubt was stored, and nothing else"
    );
}

#[tokio::test]
async fn a_full_channel_is_503_with_when_to_come_back() {
    let channel = Arc::new(MemoryChannel::new(3, 3, 1 << 20).unwrap());
    let source = Running::start_on(kind(|_| ()), channel);
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"1\n2\n")).await.status, 200);
    let text = "channel full: 2 of 3 events used";
    let answer = refused(&source, &post("/v1/events", "text/plain", b"3\n4\n"), 503, text).await;
    assert!(answer.head.contains("\r\nretry-after: 7"), "{answer:?}");
    let text = "batch of 4 events exceeds the transaction capacity of 3";
    refused(&source, &post("/v1/events", "text/plain", b"3\n4\n5\n6\n"), 413, text).await;
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"3\n")).await.status, 200);
    assert_eq!(source.metrics.refused_full.get(), 1);
    assert_eq!(source.metrics.refused_too_large.get(), 1);
}

#[tokio::test]
async fn a_request_that_one_of_several_channels_refuses_is_stored_in_none() {
    // In the order of their names, the one that refuses is asked last, first and in between.
    for small in ["a", "b", "c"] {
        let channels: Vec<(&str, Arc<dyn Channel>)> = ["a", "b", "c"]
            .map(|name| {
                let capacity = if name == small { 3 } else { 1000 };
                (name, Arc::new(MemoryChannel::new(capacity, 3, 1 << 20).unwrap()) as Arc<dyn Channel>)
            })
            .into();
        let handles = channels
            .iter()
            .map(|(name, channel)| ChannelHandle::new(*name, Arc::clone(channel), QUEUE_BYTES));
        let source = Running::start_with(kind(|_| ()), Arc::clone(&channels[0].1), handles.collect());
        assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"1\n2\n")).await.status, 200);
        let text = "channel full: 2 of 3 events used";
        refused(&source, &post("/v1/events", "text/plain", b"3\n4\n"), 503, text).await;
        for (name, channel) in &channels {
            assert_eq!(channel.stats().next, 2, "{name} took what {small} refused");
        }
        assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"3\n")).await.status, 200);
        let all = stored(&*channels[0].1);
        assert!(channels.iter().skip(1).all(|(_, channel)| stored(&**channel) == all));
    }
}

#[tokio::test]
async fn a_disk_with_less_free_than_the_floor_is_503_until_there_is_room_again() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(64 << 20));
    let floor = 16 << 20;
    let options = Options {
        segment_bytes: 1 << 20,
        max_frame_bytes: 1 << 19,
        free_disk_floor_bytes: floor,
        ..Options::default()
    };
    let dir = Path::new("/state/channel");
    let (channel, _) = DurableChannel::open_on(Arc::new(disk.clone()), dir, &options).unwrap();
    let source = Running::start_on(kind(|_| ()), Arc::new(channel));
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"1\n")).await.status, 200);
    disk.set_capacity(Some(disk.used_bytes() + floor - 1));
    // The free space is looked at once a second while groups are written.
    let answer = soon(async {
        loop {
            let answer = ask(&source, &post("/v1/events", "text/plain", b"x\n")).await;
            if answer.status != 200 {
                break answer;
            }
        }
    })
    .await;
    let next = source.channel.stats().next;
    assert_eq!(answer.status, 503, "{answer:?}");
    let text = format!("disk nearly full: {} bytes free, {floor} kept free", floor - 1);
    assert_eq!(answer.body, serde_json::json!({ "error": text }).to_string());
    assert!(answer.head.contains("\r\nretry-after: 7"), "{answer:?}");
    assert_eq!(source.metrics.refused_full.get(), 1);
    disk.set_capacity(None);
    soon(async { while ask(&source, &post("/v1/events", "text/plain", b"again\n")).await.status != 200 {} })
        .await;
    let stored: Vec<_> = source.bodies();
    assert_eq!(stored.len() as u64, next + 1, "a refused request was stored");
    assert_eq!((&*stored[0], stored.last().map(String::as_str)), ("1", Some("again")));
}

#[tokio::test]
async fn a_request_that_finds_no_room_before_the_channel_is_503_too() {
    let channel = Held::new();
    let room_timeout = Duration::from_millis(20);
    let source = Running::start_on(
        kind(|config| {
            config.room_timeout = room_timeout;
            config.max_body_bytes = 16 << 20;
        }),
        channel.clone(),
    );
    // It takes all the room there is, until it is synced.
    let mut large = source.connect().await;
    soon(large.write_all(&post("/v1/events", "application/octet-stream", &vec![b'x'; 8 << 20])))
        .await
        .unwrap();
    source.appended(1).await;
    let text = "too much is on its way to the channel, try again later";
    let answer = refused(&source, &post("/v1/events", "text/plain", b"x"), 503, text).await;
    assert!(answer.head.contains("\r\nretry-after: 7"), "{answer:?}");
    channel.release();
    assert_eq!(parse(&read_to_end(&mut large).await).status, 200);
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"x")).await.status, 200);
}

#[tokio::test]
async fn a_request_that_arrives_too_slowly_is_408() {
    let source = Running::start(kind(|config| config.request_timeout = Duration::from_millis(50)));
    let mut stream = source.connect().await;
    let whole = post("/v1/events", "text/plain", b"one\ntwo\n");
    stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
    let answer = parse(&read_to_end(&mut stream).await);
    assert_eq!(answer.status, 408);
    assert_eq!(answer.body, "{\"error\":\"the request did not arrive within 0.05 seconds\"}");
    assert_eq!(source.channel.stats().next, 0);
}

#[tokio::test]
async fn a_sender_that_asks_first_is_refused_before_it_sends_its_body() {
    let source = Running::start(kind(|config| config.max_body_bytes = 1000));
    let mut stream = source.connect().await;
    let head =
        "POST /v1/events HTTP/1.1\r\nHost: agent\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = parse(&read_to_end(&mut stream).await);
    assert_eq!(answer.status, 413, "{answer:?}");
}
