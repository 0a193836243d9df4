use std::net::SocketAddr;
use std::time::Duration;

use axum::routing::get;
use entrance::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::config;

/// What a client is given in these tests.
const SHORT: Duration = Duration::from_millis(50);

struct Served {
    address: SocketAddr,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new(routes: Router, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let mut config = config(&[]).serve;
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stopping) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, routes, config, stopping.clone()));
        Self { address, stopping, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads until the connection ends.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }
}

fn routes() -> Router {
    Router::new().route("/", get(|| async { "here\n" }))
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

/// Asserts a refusal in the one shape of all errors.
fn is_refusal(answer: &str, status: u16, code: &str, message: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((body["error"].as_str(), body["message"].as_str()), (Some(code), Some(message)), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_told_408() {
    let served = Served::new(routes(), |config| config.client_timeout = SHORT).await;
    assert!(served.say(ASK).await.ends_with("here\n"));
    for head in [&b"GET / HT"[..], b"GET / HTTP/1.1\r\nhost: here\r\nx-slow: "] {
        // It ends although the client keeps its side open.
        let message = "the head of the request did not arrive within 0.05 seconds";
        is_refusal(&served.say(head).await, 408, "too_slow", message);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_a_time_of_its_own() {
    let served = Served::new(routes(), |config| config.idle_timeout = SHORT).await;
    assert_eq!(served.say(b"").await, "");
    let mut kept = served.connect().await;
    kept.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("here\n") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431_with_the_limit() {
    let change = |config: &mut ServeConfig| (config.max_head_bytes, config.max_headers) = (4096, 20);
    let served = Served::new(routes(), change).await;
    let head = format!("GET / HTTP/1.1\r\nhost: here\r\nx-large: {}\r\n\r\n", "x".repeat(5_000));
    let message = "the head of the request is larger than the limit of 4096 bytes";
    is_refusal(&served.say(head.as_bytes()).await, 431, "head_too_large", message);
    let many = format!("GET / HTTP/1.1\r\nhost: here\r\n{}\r\n", "a:\r\n".repeat(30));
    let message = "the request has more than 20 header lines";
    is_refusal(&served.say(many.as_bytes()).await, 431, "head_too_large", message);
}

#[tokio::test]
async fn a_head_that_says_two_things_is_refused_before_any_route_sees_it() {
    let served = Served::new(routes(), |_| {}).await;
    let two = b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n";
    is_refusal(&served.say(two).await, 400, "host", "the request has more than one Host header");
    let absolute = b"GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let message = "the target of the request names a host; this is no proxy, so send the path alone";
    is_refusal(&served.say(absolute).await, 400, "host", message);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_hung_up_on_and_its_place_is_free_again() {
    // Far more than the buffers of both sides hold.
    let large = Router::new().route("/large", get(|| async { vec![0; 64 << 20] })).merge(routes());
    let change = |config: &mut ServeConfig| (config.client_timeout, config.max_connections) = (SHORT, 1);
    let served = Served::new(large, change).await;
    let mut lazy = served.connect().await;
    lazy.write_all(b"GET /large HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    // The only place is taken until the server has lost its patience.
    assert!(served.say(ASK).await.ends_with("here\n"));
    drop(lazy);
}

#[tokio::test]
async fn a_running_answer_ends_before_the_server_does_and_an_idle_connection_does_not_hold_it() {
    let asked = Arc::new(tokio::sync::Notify::new());
    let go_on = Arc::new(tokio::sync::Notify::new());
    let slow = {
        let (asked, go_on) = (asked.clone(), go_on.clone());
        Router::new().route(
            "/",
            get(async move || {
                asked.notify_one();
                go_on.notified().await;
                "late\n"
            }),
        )
    };
    let served = Served::new(slow, |_| {}).await;
    let idle = served.connect().await;
    let mut asking = served.connect().await;
    asking.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    asked.notified().await;
    served.stopping.cancel();
    go_on.notify_one();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("late\n"), "{answer}");
    served.serving.await.unwrap();
    drop(idle);
}

#[tokio::test]
async fn over_tls_the_same_is_served_and_a_client_that_speaks_none_is_hung_up_on() {
    let dir = tempfile::TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::load(&path("cert.pem"), &path("key.pem")).unwrap();
    let change = |config: &mut ServeConfig| (config.tls, config.client_timeout) = (Some(tls), SHORT);
    let served = Served::new(routes(), change).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, served.connect().await).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("here\n"), "{answer}");

    assert!(!served.say(ASK).await.contains("here"), "plain HTTP is not served beside it");
    // One that says nothing is no different.
    assert!(!served.say(b"").await.contains("here"));
}
