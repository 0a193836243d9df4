//! What producers send is in no log line, at any level, and in no answer, whatever becomes of it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_channel::MemoryChannel;
use tokio::io::AsyncWriteExt as _;
use tracing_subscriber::fmt::MakeWriter;

use super::http::{gzip, kind, parse, post, request};
use super::{Running, netcat, read_to_end, soon};

const MARKER: &str = "hunter2";

/// All that is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Logs everything from now on, until the guard is dropped.
    fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn assert_without_marker(&self) {
        tracing::trace!("the end of what was captured");
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("the end of what was captured"), "nothing is captured");
        assert!(!log.contains(MARKER), "{log}");
    }
}

fn assert_answer(answer: &str, expected: &str) {
    assert!(answer.contains(expected) && !answer.contains(MARKER), "{expected}: {answer:?}");
}

#[tokio::test]
async fn no_log_line_and_no_answer_of_the_http_source_shows_a_body_a_key_or_a_token() {
    let (log, _guard) = Log::capture();
    let channel = Arc::new(MemoryChannel::new(5, 3, 1 << 20).unwrap());
    let source = Running::start_on(
        kind(|config| {
            config.max_body_bytes = 1000;
            config.max_key_bytes = 20;
            config.request_timeout = Duration::from_millis(300);
        }),
        channel,
    );
    let secrets =
        [&*format!("Authorization: Bearer {MARKER}"), &format!("Cookie: {MARKER}"), "Idempotency-Key: k"];
    let with = |path: &str, content_type: &str, further: &[&str], body: &[u8]| {
        let content_type = format!("Content-Type: {content_type}");
        let headers = [&[&*content_type], &secrets[..2], further].concat();
        request(&format!("POST {path}"), &headers, body)
    };
    let large = format!("{MARKER} {}", "x".repeat(1000)).into_bytes();
    let bomb = gzip(&[MARKER.as_bytes(), &[b'x'; 5000]].concat());
    let chunked = ["Transfer-Encoding: chunked"];
    let body = MARKER.as_bytes();
    let json = format!("{{\"{MARKER}\":\"{MARKER}\"");
    let flume = format!("[{{\"headers\":{{\"a\":\"{MARKER}\"}},\"body\":[\"{MARKER}\"]}}]");
    let key = format!("Idempotency-Key: {MARKER}{}", "y".repeat(20));
    let bad_key = format!("Idempotency-Key: {MARKER} {MARKER}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("200", with("/v1/events", "text/plain", &secrets[2..], body)),
        ("200", with("/v1/events", "text/plain", &secrets[2..], body)),
        ("409", with("/v1/events", "text/plain", &secrets[2..], format!("{MARKER}!").as_bytes())),
        ("400", with("/v1/events", "text/plain", &[&key], body)),
        ("400", with("/v1/events", "text/plain", &[&bad_key], body)),
        ("400", with("/v1/events", "application/json", &[], json.as_bytes())),
        ("400", with("/v1/events", "application/x-ndjson", &[], body)),
        ("400", with("/", "application/json", &[], body)),
        ("400", with("/", "application/json", &[], flume.as_bytes())),
        ("400", with("/", "application/json", &[], &[body, b"\xff"].concat())),
        ("400", with("/v1/events", "text/plain", &["Content-Encoding: gzip"], body)),
        ("400", with("/v1/events", "text/plain", &["Content-Encoding: zstd"], body)),
        ("400", with("/v1/events", "text/plain", &chunked, format!("{MARKER}\r\n").as_bytes())),
        ("404", with("/v1/nothing", "text/plain", &[], body)),
        ("405", request("PUT /v1/events", &secrets[..2], body)),
        ("408", with("/v1/events", "text/plain", &chunked, format!("ff\r\n{MARKER}").as_bytes())),
        ("413", with("/v1/events", "text/plain", &[], &large)),
        ("413", with("/v1/events", "text/plain", &["Content-Encoding: gzip"], &bomb)),
        ("413", with("/v1/events", "text/plain", &[], format!("{MARKER}\n{MARKER}\n1\n2\n").as_bytes())),
        ("415", with("/v1/events", "text/plain", &["Content-Encoding: br"], body)),
        ("415", with("/", "application/json; charset=latin1", &[], body)),
        ("200", post("/v1/events", "text/plain", format!("{MARKER}\n1\n2\n").as_bytes())),
        ("503", with("/v1/events", "text/plain", &[], format!("{MARKER}\n2\n").as_bytes())),
    ];
    for (status, request) in cases {
        let mut stream = source.connect().await;
        soon(stream.write_all(&request)).await.unwrap();
        assert_answer(&read_to_end(&mut stream).await, &format!("HTTP/1.1 {status}"));
    }
    // What breaks off in the middle of its head, its body, or is no HTTP.
    for request in [
        format!("POST /{MARKER}"),
        format!("{MARKER}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{MARKER}\r\n\r\n"),
    ] {
        assert!(!source.exchange(request.as_bytes()).await.contains(MARKER));
    }
    let broken = post("/v1/events", "text/plain", &[body, body].concat());
    assert_answer(&source.exchange(&broken[..broken.len() - 3]).await, "");
    assert_eq!(parse(&source.exchange(&post("/", "text/plain", b"[]")).await).status, 200);
    source.stop().await;
    log.assert_without_marker();
}

#[tokio::test]
async fn no_log_line_and_no_answer_of_the_netcat_source_shows_a_line() {
    let (log, _guard) = Log::capture();
    let channel = Arc::new(MemoryChannel::new(2, 2, 1 << 20).unwrap());
    let source = Running::start_on(netcat::kind(|config| config.max_line_bytes = 100), channel);
    assert_answer(&source.exchange(format!("{MARKER}\n{MARKER}\n").as_bytes()).await, "OK\nOK\n");
    assert_answer(&source.exchange(format!("{MARKER}\n").as_bytes()).await, "FAILED: channel full");
    let long = format!("{MARKER}{}\n", "x".repeat(100));
    assert_answer(&source.exchange(long.as_bytes()).await, "FAILED: Event exceeds the maximum length");
    assert_eq!(source.exchange(MARKER.as_bytes()).await, "");
    source.stop().await;
    log.assert_without_marker();
}
