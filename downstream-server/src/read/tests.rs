use axum::body::Body;
use axum::extract::ConnectInfo;
use contract::Notice;
use futures_util::StreamExt as _;
use http::{Request, Response};
use serde_json::Value;

use super::*;
use crate::app::Peer;
use crate::testing::{Site, config, get, post, text};

async fn json(answer: Response<Body>) -> Value {
    serde_json::from_str(&text(answer).await).unwrap()
}

async fn with_objects(count: usize) -> Site {
    let site = Site::new(&config(&[]));
    for number in 0..count {
        let notice = Notice::new("logs", format!("k{number}"));
        site.app.inbox.put(notice, format!("n{number}"), now_ms()).await.unwrap();
    }
    site
}

fn keys(page: &Value) -> Vec<&str> {
    page["objects"].as_array().unwrap().iter().map(|object| object["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_listing_is_newest_first_and_its_pages_meet_without_gap_or_overlap() {
    let site = with_objects(5).await;
    let first = json(site.send(get("/v1/objects?limit=3")).await).await;
    assert_eq!(keys(&first), ["k4", "k3", "k2"]);
    let next = &first["next"];
    // What arrives meanwhile does not shift the next page.
    site.ask(post(r#"{"bucket":"logs","key":"later"}"#)).await;
    let second = json(site.send(get(&format!("/v1/objects?limit=3&before={next}"))).await).await;
    assert_eq!(keys(&second), ["k1", "k0"]);
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn the_listing_filters_by_state() {
    let site = with_objects(3).await;
    site.app.inbox.claim(1, now_ms()).await.unwrap();
    let fetching = json(site.send(get("/v1/objects?state=fetching")).await).await;
    assert_eq!(keys(&fetching), ["k0"]);
    let owed = json(site.send(get("/v1/objects?state=owed")).await).await;
    assert_eq!(keys(&owed), ["k2", "k1"]);
}

#[tokio::test]
async fn a_wrong_query_is_400_and_says_what_is_right() {
    let site = Site::new(&config(&[]));
    for (query, message) in [
        ("state=lost", "state is \"lost\"; it is one of owed, fetching, done, dead, gone"),
        ("limit=0", "limit is 0; it is a number from 1 to 500"),
        ("limit=501", "limit is 501; it is a number from 1 to 500"),
    ] {
        let expected = json!({ "error": "query", "message": message }).to_string();
        let answer = site.ask(get(&format!("/v1/objects?{query}"))).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, expected));
    }
    for query in ["limit=many", "stat=done"] {
        let (status, body) = site.ask(get(&format!("/v1/objects?{query}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(body.contains(query.split('=').next().unwrap()), "{body}");
    }
}

#[tokio::test]
async fn what_arrived_is_shown_to_this_machine_only_unless_configured() {
    let site = Site::new(&config(&[]));
    let from = |peer: &str, host: &str| {
        let mut request = Request::get("/v1/objects").header("host", host).body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(Peer(peer.parse().unwrap())));
        request
    };
    for (peer, host, status) in [
        ("127.0.0.1:1", "127.0.0.1:8090", 200),
        ("[::1]:1", "[::1]:8090", 200),
        ("[::ffff:127.0.0.1]:1", "localhost", 200),
        ("10.0.0.9:1", "10.0.0.1:8090", 403),
        // A page elsewhere whose name was made to point here.
        ("127.0.0.1:1", "evil.example:8090", 403),
    ] {
        assert_eq!(site.send(from(peer, host)).await.status(), status, "{peer} {host}");
    }
    for path in ["/", "/metrics", "/v1/stream", "/v1/summary", "/v1/recent", "/page.js"] {
        let mut request = get(path);
        request.extensions_mut().insert(ConnectInfo(Peer("10.0.0.9:1".parse().unwrap())));
        assert_eq!(site.send(request).await.status(), 403, "{path}");
    }
    let open = Site::new(&config(&["--read-from", "anyone"]));
    assert_eq!(open.send(from("10.0.0.9:1", "pipeline.example")).await.status(), 200);
}

#[tokio::test]
async fn every_answer_forbids_a_browser_all_that_the_page_does_not_need() {
    let site = Site::new(&config(&[]));
    for path in ["/", "/v1/objects", "/health/live", "/nothing"] {
        let answer = site.send(get(path)).await;
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["x-frame-options"], "DENY");
        assert_eq!(answer.headers()["referrer-policy"], "no-referrer");
    }
}

#[tokio::test]
async fn the_page_names_only_files_that_the_server_has_and_holds_no_inline_code() {
    let site = Site::new(&config(&[]));
    let (_, page) = site.ask(get("/")).await;
    let quoted: Vec<&str> = page.split('"').collect();
    let named = quoted.windows(2).filter(|pair| pair[0].ends_with("href=") || pair[0].ends_with("src="));
    for path in named.map(|pair| pair[1]) {
        assert_eq!(site.send(get(path)).await.status(), 200, "{path}");
    }
    assert!(
        !page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick"),
        "inline code"
    );
}

#[tokio::test]
async fn readiness_ends_when_the_server_begins_to_stop() {
    let site = Site::new(&config(&[]));
    assert_eq!(site.ask(get("/health/live")).await, (StatusCode::OK, "live\n".to_owned()));
    assert_eq!(site.ask(get("/health/ready")).await, (StatusCode::OK, "ready\n".to_owned()));
    site.app.stopping.cancel();
    assert_eq!(site.send(get("/health/live")).await.status(), StatusCode::OK);
    assert_eq!(site.send(get("/health/ready")).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_stream_tells_each_change_and_ends_when_the_server_stops() {
    let site = Site::new(&config(&["--max-streams", "1"]));
    let answer = site.send(get("/v1/stream")).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut events = answer.into_body().into_data_stream();
    assert_eq!(site.send(get("/v1/stream")).await.status(), StatusCode::SERVICE_UNAVAILABLE);

    site.ask(post(r#"{"bucket":"logs","key":"k"}"#)).await;
    let event = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("event: object\ndata: {\"id\":1,"), "{event}");
    assert!(event.contains(r#""state":"owed""#), "{event}");
    site.app.live.tick(site.app.inbox.totals(), Some(7));
    let event = String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("event: tick\n") && event.contains(r#""oldest_owed_ms":7"#), "{event}");

    site.app.stopping.cancel();
    assert!(events.next().await.is_none());
    drop(events);
    assert_eq!(site.app.metrics.streams.get(), 0);
}

#[tokio::test]
async fn the_metrics_count_what_the_routes_did() {
    let site = with_objects(2).await;
    site.ask(post(r#"{"bucket":"logs","key":"k0"}"#)).await;
    site.ask(post("nonsense")).await;
    let (_, text) = site.ask(get("/metrics")).await;
    for line in [
        "sluicegate_server_notices_total{answer=\"repeated\"} 1",
        "sluicegate_server_notices_total{answer=\"refused\"} 1",
        "sluicegate_server_objects{state=\"owed\"} 2",
        "sluicegate_server_objects{state=\"done\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}
