use std::os::unix::fs::PermissionsExt as _;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use tempfile::TempDir;

use super::*;
use crate::testing::{Site, TOKEN, config, get, post_to, text};

const READ: [&str; 11] = [
    "/",
    "/page.js",
    "/metrics",
    "/v1/openapi.json",
    "/v1/events",
    "/v1/objects",
    "/v1/summary",
    "/v1/recent",
    "/v1/stream",
    "/v1/continuity",
    "/v1/reconcile",
];

/// Every request that changes something.
const CHANGE: [&str; 4] = ["/v1/reconcile", "/v1/continuity/write-off", "/v1/dead/1/replay", "/v1/replay"];

fn from(peer: &str, request: Request<Body>) -> Request<Body> {
    let mut request = request;
    request.extensions_mut().insert(ConnectInfo(Peer(peer.parse().unwrap())));
    request
}

fn with(name: &'static str, value: &str, request: Request<Body>) -> Request<Body> {
    let mut request = request;
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

fn bearer(token: &str, request: Request<Body>) -> Request<Body> {
    with("authorization", &format!("Bearer {token}"), request)
}

const AFAR: &str = "10.0.0.9:1";

#[tokio::test]
async fn without_a_token_what_arrived_is_shown_to_this_machine_only() {
    let site = Site::new(&config(&[]));
    for (peer, host, status) in [
        ("127.0.0.1:1", "127.0.0.1:8090", 200),
        ("[::1]:1", "[::1]:8090", 200),
        ("[::ffff:127.0.0.1]:1", "localhost", 200),
        (AFAR, "10.0.0.1:8090", 401),
        // A page elsewhere whose name was made to point here.
        ("127.0.0.1:1", "evil.example:8090", 401),
        ("127.0.0.1:1", "localhost.evil.example", 401),
        ("127.0.0.1:1", "", 401),
    ] {
        let request = from(peer, with("host", host, get("/v1/objects")));
        assert_eq!(site.send(request).await.status(), status, "{peer} {host}");
    }
    for path in READ {
        assert_eq!(site.send(from(AFAR, get(path))).await.status(), 401, "{path}");
    }
    for proxy in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
        assert_eq!(site.send(with(proxy, "10.0.0.9", get("/v1/objects"))).await.status(), 401, "{proxy}");
    }
    let nobody = Site::new(&config(&["--read-from", "nobody"]));
    for path in READ {
        assert_eq!(nobody.send(get(path)).await.status(), 401, "{path}");
        assert_eq!(nobody.send(bearer(TOKEN, get(path))).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn with_a_token_what_arrived_is_shown_everywhere_and_with_a_wrong_one_nowhere() {
    let site = Site::new(&config(&[]));
    let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{TOKEN}")));
    for path in READ {
        let afar = || with("host", "pipeline.example", from(AFAR, get(path)));
        assert_eq!(site.send(bearer(TOKEN, afar())).await.status(), 200, "{path}");
        assert_eq!(site.send(with("authorization", &basic, afar())).await.status(), 200, "{path}");
        for wrong in ["", "the-token-of-a-tes", "the-token-of-a-test2"] {
            assert_eq!(site.send(bearer(wrong, get(path))).await.status(), 401, "{path} {wrong}");
        }
    }
}

#[tokio::test]
async fn whatever_changes_something_needs_a_token_on_this_machine_too() {
    let site = Site::new(&config(&[]));
    for path in CHANGE {
        let request = || post_to(path, "{}");
        let mut bare = request();
        bare.headers_mut().remove("authorization");
        let answer = site.send(bare).await;
        assert_eq!(answer.status(), 401, "{path}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(site.send(bearer("some-other-long-token", request())).await.status(), 401, "{path}");
        let let_in = site.send(request()).await.status();
        assert!(let_in != 401 && let_in != 403, "{path}: {let_in}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_change_anything_with_a_browsers_own_token() {
    let site = Site::new(&config(&[]));
    for path in CHANGE {
        for (where_from, status) in [("cross-site", 403), ("same-site", 403)] {
            let request = with("sec-fetch-site", where_from, post_to(path, "{}"));
            assert_eq!(site.send(request).await.status(), status, "{path} {where_from}");
        }
        let own = site.send(with("sec-fetch-site", "same-origin", post_to(path, "{}"))).await.status();
        assert_ne!(own, 403, "{path}");
        // A form can send no JSON, and a script that wants to is asked about first and refused.
        let form = with("content-type", "text/plain", post_to(path, "{}"));
        assert_eq!(site.send(form).await.status(), 415, "{path}");
    }
}

#[tokio::test]
async fn a_browser_asks_a_person_for_the_token_at_the_page_alone() {
    let site = Site::new(&config(&[]));
    let page = site.send(from(AFAR, get("/"))).await;
    assert!(page.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    let answer = site.send(from(AFAR, get("/v1/objects"))).await;
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let said = text(answer).await;
    assert!(said.contains("send authorization: Bearer TOKEN"), "{said}");
}

#[test]
fn without_configured_tokens_the_server_makes_one_that_its_own_user_alone_can_read() {
    let dir = TempDir::new().unwrap();
    let access = || Access::new(&Tokens::default(), ReadFrom::Loopback, dir.path());
    let first = access().unwrap();
    let path = dir.path().join(TOKEN_FILE);
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(token.trim().len(), 64);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(first.tokens.holder(token.trim()), Some(TOKEN_NAME));
    assert!(!dir.path().join("token.partial").exists());
    // It stays over restarts, and an operator's own token takes its place.
    assert_eq!(access().unwrap().tokens.holder(token.trim()), Some(TOKEN_NAME));
    let mut own = Tokens::default();
    own.add(&format!("ops:{TOKEN}")).unwrap();
    let configured = Access::new(&own, ReadFrom::Loopback, dir.path()).unwrap();
    assert_eq!(configured.tokens.holder(token.trim()), None);
    // What a crash left of one that was made halfway is none.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(dir.path().join("token.partial"), "0123").unwrap();
    let next = access().unwrap();
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(next.tokens.holder(token.trim()), Some(TOKEN_NAME));
    assert!(!dir.path().join("token.partial").exists());
}

#[test]
fn a_token_file_that_holds_anything_else_than_the_server_wrote_is_refused_with_what_to_do() {
    let dir = TempDir::new().unwrap();
    let whole = "0123456789abcdef".repeat(4);
    let cut = &whole[..32];
    let long = format!("{whole}0");
    let contents: [&[u8]; 6] = [b"", b"\n", cut.as_bytes(), long.as_bytes(), &[b'x'; 64], &[0xff; 64]];
    for content in contents {
        std::fs::write(dir.path().join(TOKEN_FILE), content).unwrap();
        let error = Access::new(&Tokens::default(), ReadFrom::Loopback, dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), exit::DATA, "starting again does not help");
        let text = error.to_string();
        assert!(
            text.contains("token is damaged") && text.contains("delete the file for a new one"),
            "{text}"
        );
        assert!(!text.contains(cut), "{text}");
    }
    std::fs::write(dir.path().join(TOKEN_FILE), whole).unwrap();
    assert!(Access::new(&Tokens::default(), ReadFrom::Loopback, dir.path()).is_ok());
}
