//! Who may send to the HTTP source, and over what.

use std::sync::Arc;
use std::time::Duration;

use entrance::{Tls, Tokens};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::http::{ask, kind, parse, post, request};
use super::{Running, soon};

const ONE: &str = "the-token-of-the-first";
const TWO: &str = "the-token-of-the-second";

fn with_tokens() -> Running {
    Running::start(kind(|config| {
        config.tokens = Tokens::default();
        config.tokens.add(&format!("one:{ONE}")).unwrap();
        config.tokens.add(&format!("two:{TWO}")).unwrap();
    }))
}

fn say(token: &str, path: &str, more: &[&str], body: &[u8]) -> Vec<u8> {
    let said = format!("Authorization: Bearer {token}");
    let headers = [&[&*said, "Content-Type: text/plain"], more].concat();
    request(&format!("POST {path}"), &headers, body)
}

#[tokio::test]
async fn with_tokens_a_request_that_says_none_of_them_is_401_and_stores_nothing() {
    let source = with_tokens();
    for (path, body) in [("/v1/events", &b"line"[..]), ("/", b"[{\"body\":\"line\"}]"), ("/v1/nothing", b"")]
    {
        for wrong in ["", "the-token-of-the-firs", "the-token-of-the-first1", "one:the-token-of-the-first"] {
            let answer = ask(&source, &say(wrong, path, &[], body)).await;
            assert_eq!(answer.status, 401, "{path} {wrong}");
            assert!(answer.head.contains("\r\nwww-authenticate: bearer"), "{}", answer.head);
        }
        assert_eq!(ask(&source, &post(path, "text/plain", body)).await.status, 401, "{path}");
    }
    assert!(source.stored().is_empty());
    for token in [ONE, TWO] {
        assert_eq!(ask(&source, &say(token, "/v1/events", &[], b"line")).await.status, 200);
    }
    assert_eq!(source.bodies(), ["line", "line"]);
    source.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_of_one_token_is_not_that_of_another() {
    let source = with_tokens();
    let key = ["Idempotency-Key: same"];
    for (token, repeat) in [(ONE, false), (TWO, false), (ONE, true), (TWO, true)] {
        let answer = ask(&source, &say(token, "/v1/events", &key, token.as_bytes())).await;
        assert_eq!(
            (answer.status, answer.head.contains("idempotent-replayed")),
            (200, repeat),
            "{}",
            answer.body
        );
    }
    assert_eq!(source.stored().len(), 2);
    source.stop().await;
}

#[tokio::test]
async fn over_tls_events_are_stored_and_what_speaks_none_is_hung_up_on() {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let source = Running::start(kind(|config| {
        config.tls = Some(Tls::load(&certificate, &key).unwrap());
        config.request_timeout = Duration::from_millis(300);
    }));
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, source.connect().await);
    let mut stream = soon(stream).await.unwrap();
    soon(stream.write_all(&post("/v1/events", "text/plain", b"over TLS"))).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(parse(&answer).status, 200);

    // Plain HTTP, and a client that says nothing and stays.
    for silent in [&post("/v1/events", "text/plain", b"in the clear")[..], b""] {
        let mut stream = source.connect().await;
        stream.write_all(silent).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(!String::from_utf8_lossy(&answer).contains("HTTP/1.1"));
    }
    assert_eq!(source.bodies(), ["over TLS"]);
    source.stop().await;
}
