use contract::Notice;
use futures_util::StreamExt as _;
use http::StatusCode;

use super::*;
use crate::testing::{Site, config, get, post};

async fn with_objects(count: usize) -> Site {
    let site = Site::new(&config(&[]));
    for number in 0..count {
        let notice = Notice::new("logs", format!("k{number}"));
        site.app.inbox.put(notice, format!("n{number}"), now_ms()).await.unwrap();
    }
    site
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
