use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::serve::Listener;
use blob_store::{BlobStore as _, Body, MemoryStore, PutOptions};
use bytes::Bytes;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Headers, Secret, verify};
use contract::{CutKind, ObjectMetadata};
use http::HeaderMap;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::config::HandlerConfig;
use crate::inbox::Place;
use crate::testing::config;

const SECRET: &str = "a secret of some length";

/// A receiver behind a real socket: what it got, and what it answers next (200 after that).
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
}

impl Receiver {
    fn answering(answers: impl IntoIterator<Item = (u16, &'static str)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn app(&self) -> Router {
        let take = async |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| {
            receiver.got.lock().unwrap().push((headers, body));
            let (status, retry_after) = receiver.answers.lock().unwrap().pop_front().unwrap_or((200, ""));
            let status = StatusCode::from_u16(status).unwrap();
            let header = (!retry_after.is_empty()).then_some(("retry-after", retry_after));
            (status, axum::response::AppendHeaders(header), "because")
        };
        Router::new().fallback(take).with_state(self.clone())
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let app = self.app();
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn bodies(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| String::from_utf8(body.to_vec()).unwrap()).collect()
    }

    fn headers(&self, name: &str) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(headers, _)| headers[name].to_str().unwrap().to_owned()).collect()
    }
}

fn http(url: &str, flags: &[&str]) -> Http {
    let dir = TempDir::new().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_str().unwrap();
    let base = [
        "--handler-kind",
        "http",
        "--handler-url",
        url,
        "--handler-secret-file",
        secret,
        "--handler-batch-events",
        "2",
    ];
    match config(&[&base, flags].concat()).handler {
        HandlerConfig::Http(config) => Http::new(config).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn delivery(attempt: u32) -> Delivery {
    Delivery {
        id: "the-id".to_owned(),
        attempt,
        notice_id: "the-notice".to_owned(),
        bucket: "logs".to_owned(),
        key: "a key/\u{e4}\n%".to_owned(),
        version_id: None,
        metadata: Some(ObjectMetadata {
            version: 1,
            cut: format!("{}-s3-000000000007", "a".repeat(32)).parse().unwrap(),
            kind: CutKind::Events,
            events: 5,
            first: 100,
            last: 104,
            set_aside: 0,
            total_events: 105,
            total_dead_lettered: 0,
            total_damaged: 0,
            length: 1,
            crc32c: 0,
            format: "text".to_owned(),
            format_version: 1,
            rows: Some("events".to_owned()),
            codec: "none".to_owned(),
        }),
    }
}

async fn deliver(http: &Http, attempt: u32, text: &str) -> Result<(), HandlerError> {
    deliver_as(http, &delivery(attempt), text.as_bytes(), Vec::new()).await
}

async fn deliver_as(
    http: &Http,
    delivery: &Delivery,
    bytes: &[u8],
    metadata: Vec<(String, String)>,
) -> Result<(), HandlerError> {
    let store = Arc::new(MemoryStore::new("logs"));
    let put = PutOptions { crc32c: crc32c::crc32c(bytes), metadata, ..PutOptions::default() };
    store.put_if_absent("k", Body::from(bytes.to_vec()), &put).await.unwrap();
    let place = Place { bucket: "logs".to_owned(), key: "k".to_owned(), version_id: None };
    let mut content = Content::open(store, &place, &config(&[]).fetch).await.unwrap();
    http.handle(delivery, &mut content).await.map(drop)
}

#[tokio::test]
async fn what_is_no_event_is_called_a_line_in_each_id_and_header_i10() {
    let receiver = Receiver::default();
    let http = http(&receiver.serve().await, &[]);
    let text = b"{\n  \"pretty\": 1\n}\n";
    let mut delivery = delivery(1);
    let metadata = delivery.metadata.as_mut().unwrap();
    metadata.rows = Some("lines".to_owned());
    (metadata.length, metadata.crc32c) = (text.len() as u64, crc32c::crc32c(text));
    let pairs = metadata.to_pairs();
    deliver_as(&http, &delivery, text, pairs).await.unwrap();
    assert_eq!(receiver.headers(HEADER_ID), ["the-id-line0-2", "the-id-line2-1"]);
    assert_eq!(receiver.headers("sluicegate-batch-first"), ["0", "2"]);
    assert_eq!(receiver.headers("sluicegate-batch-lines"), ["2", "1"]);
    assert_eq!(receiver.headers("sluicegate-rows"), ["lines", "lines"]);
    for (headers, _) in &*receiver.got.lock().unwrap() {
        for name in ["sluicegate-batch-events", "sluicegate-batch-position"] {
            assert!(!headers.contains_key(name), "{name}: no line has one");
        }
    }
    assert_eq!(receiver.bodies().concat().as_bytes(), text);
}

#[tokio::test]
async fn as_json_no_byte_of_an_event_is_lost() {
    let receiver = Receiver::default();
    let http = http(&receiver.serve().await, &["--handler-format", "json"]);
    deliver_as(&http, &delivery(1), b"caf\xe9\n{\"a\":\"caf\xe9\"}\n", Vec::new()).await.unwrap();
    assert_eq!(receiver.bodies(), [r#"[{"data_base64":"Y2Fm6Q=="},{"data_base64":"eyJhIjoiY2Fm6SJ9"}]"#]);
}

#[tokio::test]
async fn batches_arrive_in_order_signed_and_with_all_that_a_receiver_needs_to_know_them_again() {
    let receiver = Receiver::default();
    let http = http(&receiver.serve().await, &[]);
    deliver(&http, 3, "{\"n\":1}\nnot json\n3\n4\n5").await.unwrap();
    assert_eq!(receiver.bodies(), ["{\"n\":1}\nnot json\n", "3\n4\n", "5\n"]);
    assert_eq!(receiver.headers(HEADER_ID), ["the-id-0-2", "the-id-2-2", "the-id-4-1"]);
    assert_eq!(receiver.headers("sluicegate-batch-position"), ["100", "102", "104"]);
    assert_eq!(receiver.headers("sluicegate-batch-is-last"), ["false", "false", "true"]);
    let got = receiver.got.lock().unwrap();
    for (name, value) in [
        ("content-type", "application/x-ndjson"),
        ("sluicegate-delivery-id", "the-id"),
        ("sluicegate-attempt", "3"),
        ("sluicegate-key", "a key/%C3%A4%0A%25"),
        ("sluicegate-cut", &format!("{}-s3-000000000007", "a".repeat(32))),
        ("sluicegate-batch-first", "0"),
        ("sluicegate-batch-events", "2"),
    ] {
        assert_eq!(got[0].0[name], value, "{name}");
    }
    let now_s = u64::try_from(crate::clock::now_ms() / 1000).unwrap();
    for (headers, body) in &*got {
        let header = |name: &str| headers[name].to_str().ok();
        let signed = Headers {
            id: header(HEADER_ID),
            timestamp: header(HEADER_TIMESTAMP),
            signature: header(HEADER_SIGNATURE),
        };
        let secrets = [SECRET.parse::<Secret>().unwrap()];
        verify(&secrets, signed, body, now_s, Duration::from_mins(5)).unwrap();
    }
}

#[tokio::test]
async fn as_json_a_batch_is_an_array_and_a_line_that_is_no_json_is_a_text() {
    let receiver = Receiver::default();
    let http = http(&receiver.serve().await, &["--handler-format", "json"]);
    deliver(&http, 1, "{\"n\": 1.10}\nsay \"hi\"\n\n[3]\n").await.unwrap();
    assert_eq!(receiver.bodies(), [r#"[{"n": 1.10},"say \"hi\""]"#, r#"["",[3]]"#]);
    assert_eq!(receiver.headers("content-type"), ["application/json", "application/json"]);
}

#[tokio::test]
async fn each_kind_of_answer_has_its_consequence() {
    let answered = async |answer: (u16, &'static str), flags: &[&str]| {
        let receiver = Receiver::answering([answer]);
        deliver(&http(&receiver.serve().await, flags), 1, "x\n").await
    };
    for status in [200, 202, 204] {
        answered((status, ""), &[]).await.unwrap();
    }
    for status in [500, 502, 504, 302, 408, 409, 425] {
        let error = answered((status, ""), &[]).await.unwrap_err();
        assert!(matches!(error, HandlerError::Retry(_)), "{status}: {error}");
    }
    for status in [400, 401, 404, 413, 422] {
        let error = answered((status, ""), &[]).await.unwrap_err();
        assert!(matches!(error, HandlerError::Never(_)), "{status}: {error}");
        assert!(error.to_string().contains("\"because\""), "{error}");
    }
    let again = ["--handler-retry-statuses", "401,404"];
    assert!(matches!(answered((401, ""), &again).await, Err(HandlerError::Retry(_))));
    assert!(matches!(answered((409, ""), &again).await, Err(HandlerError::Never(_))));

    let asked = async |status, retry_after| match answered((status, retry_after), &[]).await {
        Err(HandlerError::Later { after, .. }) => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(429, "7").await, Some(Duration::from_secs(7)));
    assert_eq!(asked(503, "").await, None);
    assert_eq!(asked(503, "Thu, 01 Jan 1970 00:00:00 GMT").await, Some(Duration::ZERO));
}

#[tokio::test]
async fn an_attempt_goes_on_after_the_last_batch_that_was_taken_under_the_same_ids() {
    let receiver = Receiver::answering([(200, ""), (500, "")]);
    let http = http(&receiver.serve().await, &[]);
    let text = "1\n2\n3\n4\n5\n";
    deliver(&http, 1, text).await.unwrap_err();
    deliver(&http, 2, text).await.unwrap();
    assert_eq!(receiver.headers(HEADER_ID), ["the-id-0-2", "the-id-2-2", "the-id-2-2", "the-id-4-1"]);
    assert_eq!(receiver.headers("sluicegate-attempt"), ["1", "1", "2", "2"]);
    // An object that was handed over is forgotten: whoever delivers it again means it.
    deliver(&http, 1, text).await.unwrap();
    assert_eq!(receiver.got.lock().unwrap().len(), 7);
}

/// A receiver that reads a request, and then says this much and no more.
async fn saying(answer: &'static str, and_hangs: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
            held.extend(and_hangs.then_some(connection));
        }
    });
    url
}

#[tokio::test]
async fn a_receiver_that_stalls_breaks_off_or_is_away_is_tried_again() {
    let soon = ["--handler-timeout", "200ms"];
    for (answer, and_hangs) in
        [("", true), ("", false), ("HTTP/1.1 20", true), ("HTTP/1.1 200 OK\r\ncont", false)]
    {
        let error = deliver(&http(&saying(answer, and_hangs).await, &soon), 1, "x\n").await.unwrap_err();
        assert!(matches!(error, HandlerError::Retry(_)), "{answer:?}: {error}");
    }
    // A status is an answer, whatever becomes of the text after it.
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    deliver(&http(&saying(half, false).await, &soon), 1, "x\n").await.unwrap();
    let half = "HTTP/1.1 422 No\r\ncontent-length: 100\r\n\r\nhalf";
    let error = deliver(&http(&saying(half, true).await, &soon), 1, "x\n").await.unwrap_err();
    assert!(matches!(error, HandlerError::Never(_)), "{error}");

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = deliver(&http(&format!("http://{gone}"), &[]), 1, "x\n").await.unwrap_err();
    assert!(matches!(error, HandlerError::Later { after: None, .. }), "{error}");
}

struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.tcp.accept().await.unwrap();
            // Whoever does not trust us ends the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

#[tokio::test]
async fn a_receiver_behind_tls_is_trusted_by_its_own_authority_and_by_no_other() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", tcp.local_addr().unwrap());
    let receiver = Receiver::default();
    let (app, listener) = (receiver.app(), Tls { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) });
    tokio::spawn(async move { axum::serve(listener, app).await });

    let dir = TempDir::new().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    deliver(&http(&url, &["--handler-ca-file", ca.to_str().unwrap()]), 1, "x\n").await.unwrap();
    assert_eq!(receiver.bodies(), ["x\n"]);
    let error = deliver(&http(&url, &[]), 1, "x\n").await.unwrap_err();
    assert!(matches!(error, HandlerError::Later { .. }), "{error}");
    assert!(crate::workers::with_causes(&error).contains("certificate"), "{error:?}");
}
