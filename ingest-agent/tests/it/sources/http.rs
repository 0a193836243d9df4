//! The HTTP source: what is stored, and when it is said to be.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use durable_channel::{DurableChannel, Options};
use entrance::Tokens;
use ingest_agent::source::SourceKind;
use ingest_agent::source::http::HttpConfig;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Held, Running, Stored, read_to_end, runtime, soon, stored, write_pieces};

fn config() -> HttpConfig {
    HttpConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        tokens: Tokens::default(),
        max_body_bytes: 1 << 20,
        max_head_bytes: 16 << 10,
        max_headers: 100,
        max_zstd_window_bytes: 8 << 20,
        max_key_bytes: 64,
        request_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(75),
        room_timeout: Duration::from_secs(5),
        max_connections: 100,
        retry_after: Duration::from_secs(7),
        normalise_to_utf8: false,
        validate_ndjson: true,
    }
}

pub(super) fn kind(change: impl FnOnce(&mut HttpConfig)) -> SourceKind {
    let mut config = config();
    change(&mut config);
    SourceKind::Http(config)
}

/// The bytes of a request that asks to be its connection's last.
pub(super) fn request(line: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{line} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Transfer-Encoding")) {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(super) fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    request(&format!("POST {path}"), &[&format!("Content-Type: {content_type}")], body)
}

/// An answer: status, headers in lower case, body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

pub(super) fn parse(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(super) async fn ask(source: &Running, request: &[u8]) -> Answer {
    let mut stream = source.connect().await;
    soon(stream.write_all(request)).await.unwrap();
    parse(&read_to_end(&mut stream).await)
}

pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let chunk = |chunk: &[u8]| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
    let mut chunks: Vec<u8> = body.chunks(size).flat_map(chunk).collect();
    chunks.extend(b"0\r\n\r\n");
    chunks
}

#[tokio::test]
async fn flumes_json_is_answered_200_with_an_empty_body_at_any_path() {
    let source = Running::start(kind(|_| ()));
    let body = br#"[{"headers":{"host":"a","timestamp":"1700000000123"},"body":"one"},{"body":"two"}]"#;
    for path in ["/", "/flume", "/a/b?c=d"] {
        let answer = ask(&source, &post(path, "application/json", body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    // What curl says when it is told nothing else.
    let answer = ask(&source, &post("/", "application/x-www-form-urlencoded", b"[]")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let one = Stored {
        timestamp_ms: Some(1_700_000_000_123),
        headers: vec![header("host", "a"), header("timestamp", "1700000000123")],
        body: b"one".to_vec(),
    };
    let two = Stored { timestamp_ms: None, headers: vec![], body: b"two".to_vec() };
    assert_eq!(source.stored(), [one.clone(), two.clone(), one.clone(), two.clone(), one, two]);
    assert_eq!(source.metrics.accepted_events.get(), 6);
    assert_eq!(source.metrics.batches.get(), 3);
}

#[tokio::test]
async fn flumes_bodies_keep_the_charset_of_their_request_or_are_normalised() {
    let text = r#"[{"body":"grün"}]"#;
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let body = [b"\xff\xfe", &utf16[..]].concat();
    for (normalise, expected) in [(false, &b"\xfe\xff\0g\0r\0\xfc\0n"[..]), (true, "grün".as_bytes())] {
        let source = Running::start(kind(|config| config.normalise_to_utf8 = normalise));
        let answer = ask(&source, &post("/", "application/json; charset=UTF-16", &body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(source.stored()[0].body, expected);
    }
}

#[tokio::test]
async fn the_content_type_says_what_is_an_event() {
    let source = Running::start(kind(|_| ()));
    let cases: [(&str, &str, &[&str]); 11] = [
        ("application/x-ndjson", "\u{feff}{\"a\":1}\n", &["{\"a\":1}"]),
        ("application/json", "\u{feff}{\"a\":1}", &["{\"a\":1}"]),
        ("application/json", "{\"a\": 1.50}\n", &["{\"a\": 1.50}"]),
        ("application/json; charset=utf-8", "[{\"a\": 1}, [2],\"t\"]", &["{\"a\": 1}", "[2]", "\"t\""]),
        ("application/x-ndjson", "{\"a\":1}\n\n{\"b\": 2}", &["{\"a\":1}", "{\"b\": 2}"]),
        ("application/jsonl", "1\n2\n", &["1", "2"]),
        ("text/plain", "one\r\n\ntwo\n", &["one\r", "", "two"]),
        ("text/plain; charset=utf-8", "", &[]),
        ("application/octet-stream", "raw\nbytes\n", &["raw\nbytes\n"]),
        ("application/x-www-form-urlencoded", "{\"a\":1}", &["{\"a\":1}"]),
        ("", "x", &["x"]),
    ];
    let mut expected: Vec<&str> = Vec::new();
    for (content_type, body, bodies) in cases {
        let answer = ask(&source, &post("/v1/events", content_type, body.as_bytes())).await;
        let accepted = format!("{{\"accepted\":{}}}", bodies.len());
        assert_eq!((answer.status, answer.body), (200, accepted), "{content_type}");
        assert!(answer.head.contains("content-type: application/json"));
        expected.extend(bodies);
        assert_eq!(source.bodies(), expected, "{content_type}");
    }
}

#[tokio::test]
async fn compressed_and_chunked_bodies_are_taken_apart_as_plain_ones_are() {
    let source = Running::start(kind(|_| ()));
    let lines: Vec<String> = (0..5_000).map(|number| format!("line {number}")).collect();
    let body = lines.join("\n").into_bytes();
    let two_members = [gzip(&body[..1000]), gzip(&body[1000..])].concat();
    let bodies: [(&str, Vec<u8>); 5] = [
        ("identity", body.clone()),
        ("gzip", gzip(&body)),
        ("X-GZIP", two_members),
        ("zstd", zstd::encode_all(&body[..], 19).unwrap()),
        (
            "zstd",
            [zstd::encode_all(&body[..7], 1).unwrap(), zstd::encode_all(&body[7..], 1).unwrap()].concat(),
        ),
    ];
    for (encoding, body) in bodies {
        let encoding = format!("Content-Encoding: {encoding}");
        for (headers, body) in [
            (vec!["Content-Type: text/plain", &encoding], body.clone()),
            (vec!["Content-Type: text/plain", &encoding, "Transfer-Encoding: chunked"], chunked(&body, 700)),
        ] {
            let before = source.channel.stats().next as usize;
            let answer = ask(&source, &request("POST /v1/events", &headers, &body)).await;
            assert_eq!((answer.status, &*answer.body), (200, "{\"accepted\":5000}"), "{headers:?}");
            assert_eq!(source.bodies()[before..], lines);
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_200_only_after_all_of_it_is_synced_i1() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let mut stream = source.connect().await;
    stream.write_all(&post("/v1/events", "text/plain", b"one\ntwo\n")).await.unwrap();
    source.appended(2).await;
    assert!(stream.try_read(&mut [0]).is_err(), "nothing is answered before the sync");
    assert_eq!(source.metrics.accepted_events.get(), 0);
    channel.release();
    assert_eq!(parse(&read_to_end(&mut stream).await).status, 200);
}

#[tokio::test]
async fn a_request_that_breaks_off_stores_nothing() {
    let source = Running::start(kind(|_| ()));
    for content_type in ["text/plain", "application/x-ndjson", "application/octet-stream"] {
        let whole = post("/v1/events", content_type, b"1\n2\n3\n");
        let cut = &whole[..whole.len() - 1];
        // The sending side is closed: the request can never become whole.
        let answer = source.exchange(cut).await;
        assert!(answer.is_empty() || parse(&answer).status == 400, "{answer}");
    }
    let headers = ["Content-Type: text/plain", "Transfer-Encoding: chunked"];
    let whole = request("POST /v1/events", &headers, &chunked(b"1\n2\n3\n", 2));
    source.exchange(&whole[..whole.len() - 4]).await;
    assert_eq!(source.bodies(), Vec::<String>::new());
}

#[tokio::test]
async fn one_connection_carries_many_requests_and_a_refusal_does_not_end_it() {
    let source = Running::start(kind(|_| ()));
    let mut stream = source.connect().await;
    for (body, status) in [("{\"a\":1}", 200), ("{\"a\":", 400), ("{\"b\":1}", 200)] {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len(),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_one(&mut stream).await.status, status);
    }
    assert_eq!(source.bodies(), ["{\"a\":1}", "{\"b\":1}"]);
}

/// Reads one answer of a connection that stays open.
async fn read_one(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "the connection ended");
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return parse(&text);
        }
    }
}

#[tokio::test]
async fn a_source_listens_on_ipv6_too() {
    let source = Running::start(kind(|config| config.listen = "[::1]:0".parse().unwrap()));
    assert_eq!(ask(&source, &post("/v1/events", "text/plain", b"x")).await.status, 200);
}

#[tokio::test]
async fn at_shutdown_a_request_that_was_taken_is_answered_and_the_source_returns() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let (mut stream, mut idle) = (source.connect().await, source.connect().await);
    let mut kept_alive = post("/v1/events", "text/plain", b"one");
    let close = b"Connection: close\r\n";
    let at = kept_alive.windows(close.len()).position(|window| window == close).unwrap();
    kept_alive.drain(at..at + close.len());
    stream.write_all(&kept_alive).await.unwrap();
    source.appended(1).await;
    source.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    channel.release();
    assert_eq!(parse(&read_to_end(&mut stream).await).body, "{\"accepted\":1}");
    source.stop().await;
}

#[tokio::test]
async fn requests_on_a_durable_channel_are_there_after_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, max_frame_bytes: 1 << 19, ..Options::default() };
    let (channel, _) = DurableChannel::open(dir.path(), &options).unwrap();
    let source = Running::start_on(kind(|_| ()), Arc::new(channel));
    let lines: Vec<String> = (0..10_000).map(|number| format!("{{\"n\":{number}}}")).collect();
    for lines in lines.chunks(100) {
        let answer =
            ask(&source, &post("/v1/events", "application/x-ndjson", lines.join("\n").as_bytes())).await;
        assert_eq!(answer.body, "{\"accepted\":100}");
    }
    let too_large = ask(&source, &post("/v1/events", "application/octet-stream", &vec![b'x'; 600_000])).await;
    assert_eq!(too_large.status, 413);
    assert!(too_large.body.contains("at most 524288"), "{too_large:?}");
    let channel = Arc::clone(&source.channel);
    source.stop().await;
    channel.close().unwrap();
    drop(channel);
    let (channel, _) = DurableChannel::open(dir.path(), &options).unwrap();
    let bodies: Vec<_> =
        stored(&channel).into_iter().map(|event| String::from_utf8(event.body).unwrap()).collect();
    assert_eq!(bodies, lines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wherever_segments_end_the_events_and_the_answer_are_the_same_and_no_part_is_stored_alone(
        content_type in prop_oneof![
            Just("text/plain"), Just("application/json"), Just("application/x-ndjson"), Just("application/octet-stream"),
        ],
        body in proptest::collection::vec(
            prop_oneof![Just("{\"a\":1}"), Just("\n"), Just("["), Just(","), Just("]"), Just("7")], 0..12,
        ),
        chunk in proptest::option::of(1_usize..9),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        end in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let body = body.concat().into_bytes();
        let content_type = format!("Content-Type: {content_type}");
        let sent = match chunk {
            Some(size) => {
                request("POST /v1/events", &[&content_type, "Transfer-Encoding: chunked"], &chunked(&body, size))
            }
            None => request("POST /v1/events", &[&content_type], &body),
        };
        let whole = request("POST /v1/events", &[&content_type], &body);
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len())).collect();
        runtime().block_on(async {
            let reference = Running::start(kind(|_| ()));
            let expected = ask(&reference, &whole).await;
            let source = Running::start(kind(|_| ()));
            let mut stream = source.connect().await;
            if let Some(end) = end {
                let end = end.index(sent.len());
                let cuts: Vec<_> = cuts.iter().copied().filter(|cut| *cut < end).collect();
                write_pieces(&mut stream, &sent[..end], &cuts).await;
                stream.shutdown().await.unwrap();
                read_to_end(&mut stream).await;
                assert_eq!(source.stored(), [], "half a request was stored");
            } else {
                write_pieces(&mut stream, &sent, &cuts).await;
                let answer = parse(&read_to_end(&mut stream).await);
                assert_eq!((answer.status, answer.body), (expected.status, expected.body));
                assert_eq!(source.stored(), reference.stored());
            }
        });
    }
}
