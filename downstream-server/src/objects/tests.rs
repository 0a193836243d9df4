use std::sync::Arc;

use blob_store::{Body as Stored, MemoryStore, PutOptions};
use contract::Notice;
use http::{Request, Response};
use serde_json::Value;

use super::*;
use crate::fetch::Stores;
use crate::inbox::Next;
use crate::testing::{Site, config, get, handled, metadata_of, post, post_to, text as body};

async fn json(answer: Response<Body>) -> Value {
    serde_json::from_str(&body(answer).await).unwrap()
}

async fn notify(site: &Site, notice: Notice) {
    let id = notice.idempotency_id();
    site.app.inbox.put(notice, id, now_ms()).await.unwrap();
}

async fn with_objects(count: usize) -> Site {
    let site = Site::new(&config(&[]));
    for number in 0..count {
        notify(&site, Notice::new("logs", format!("k{number}"))).await;
    }
    site
}

/// Makes the oldest owed object what `next` says.
async fn ends(site: &Site, next: Next) -> i64 {
    let claim = site.app.inbox.claim(1, now_ms()).await.unwrap().claims.remove(0);
    site.app.inbox.fail(&claim, "the handler does not want it".to_owned(), next, now_ms()).await.unwrap();
    claim.id
}

fn keys(page: &Value) -> Vec<&str> {
    page["objects"].as_array().unwrap().iter().map(|object| object["key"].as_str().unwrap()).collect()
}

async fn listed(site: &Site, query: &str) -> Vec<String> {
    let page = json(site.send(get(&format!("/v1/objects?{query}"))).await).await;
    keys(&page).into_iter().map(str::to_owned).collect()
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
    assert_eq!(listed(&site, "state=fetching").await, ["k0"]);
    assert_eq!(listed(&site, "state=owed").await, ["k2", "k1"]);
}

#[tokio::test]
async fn the_listing_filters_by_bucket_key_channel_and_time_and_all_conditions_hold_at_once() {
    let site = Site::new(&config(&[]));
    let at = |key: &str, time: &str| Notice { event_time: Some(time.to_owned()), ..Notice::new("logs", key) };
    let cut = metadata_of(1);
    let channel = cut.cut.channel.to_string();
    let cut_key = format!("events/{}.txt", cut.cut);
    handled(&site.app.inbox, cut, now_ms()).await;
    notify(&site, at("a/100%.txt", "2026-01-01T00:00:00Z")).await;
    notify(&site, at("a/1000.txt", "2026-01-02T00:00:00Z")).await;
    notify(&site, at("a_b/Größe.TXT", "2026-01-03T00:00:00Z")).await;
    notify(&site, Notice::new("other", "a/100%.txt")).await;
    for (query, expected) in [
        ("prefix=a/&bucket=logs", &["a/1000.txt", "a/100%.txt"][..]),
        // Wildcards of the database are letters like others.
        ("search=100%25", &["a/100%.txt", "a/100%.txt"]),
        ("search=A_B", &["a_b/Größe.TXT"]),
        ("search=%5C", &[]),
        ("search=.txt&prefix=a_", &["a_b/Größe.TXT"]),
        ("prefix=%25", &[]),
        ("bucket=other", &["a/100%.txt"]),
        (&format!("channel={channel}"), &[&*cut_key]),
        (&format!("channel={channel}&state=owed"), &[]),
        ("from_ms=1767312000000&until_ms=1767398400000", &["a/1000.txt"]),
        ("until_ms=1767312000000", &["a/100%.txt"]),
    ] {
        assert_eq!(listed(&site, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_query_is_400_and_says_what_is_right() {
    let site = Site::new(&config(&[]));
    for (query, message) in [
        ("state=lost", "state is \"lost\"; it is one of owed, fetching, done, dead, gone"),
        ("limit=0", "limit is 0; it is a number from 1 to 500"),
        ("limit=501", "limit is 501; it is a number from 1 to 500"),
        ("channel=7", "channel is 32 hexadecimal digits"),
        ("prefix=a%00", "prefix has more than 1024 bytes, or a zero byte"),
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
async fn one_object_is_shown_by_its_number_and_another_number_is_404() {
    let site = with_objects(2).await;
    assert_eq!(json(site.send(get("/v1/objects/1")).await).await["key"], "k0");
    for id in ["3", "0", "-1", "x", "99999999999999999999"] {
        for rest in ["", "/content"] {
            assert_eq!(site.send(get(&format!("/v1/objects/{id}{rest}"))).await.status(), 404, "{id}{rest}");
        }
        let replay = post_to(&format!("/v1/dead/{id}/replay"), "");
        assert_eq!(site.send(replay).await.status(), 404, "{id}");
    }
}

#[tokio::test]
async fn an_objects_content_is_a_download_that_no_browser_shows() {
    let store = Arc::new(MemoryStore::new("logs"));
    let page = "<script>alert(1)</script>";
    let key = "pages/a \"b\";\u{e9}.html";
    let put = PutOptions { crc32c: crc32c::crc32c(page.as_bytes()), ..PutOptions::default() };
    blob_store::BlobStore::put_if_absent(&*store, key, Stored::from(page.as_bytes().to_vec()), &put)
        .await
        .unwrap();
    let stores = Stores::from([("logs".to_owned(), store as Arc<dyn blob_store::BlobStore>)]);
    let site = Site::over(&config(&[]), stores);
    notify(&site, Notice::new("logs", key)).await;
    notify(&site, Notice::new("logs", "nothing")).await;
    notify(&site, Notice::new("unlisted", "k")).await;
    let answer = site.send(get("/v1/objects/1/content")).await;
    assert_eq!(answer.status(), 200);
    let headers = answer.headers();
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(headers["content-disposition"], "attachment; filename*=UTF-8''a%20%22b%22%3B%C3%A9%2Ehtml");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["content-length"], page.len().to_string());
    assert_eq!(body(answer).await, page);
    assert_eq!(site.send(get("/v1/objects/2/content")).await.status(), 404);
    let (status, said) = site.ask(get("/v1/objects/3/content")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{said}");
}

#[tokio::test]
async fn a_dead_letter_is_owed_again_when_it_is_replayed_and_others_are_409() {
    let site = with_objects(3).await;
    let dead = ends(&site, Next::Dead).await;
    let gone = ends(&site, Next::Gone).await;
    for id in [dead, gone] {
        let answer = site.send(post_to(&format!("/v1/dead/{id}/replay"), "")).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let row = json(answer).await;
        assert_eq!((row["state"].as_str(), row["attempts"].as_u64()), (Some("owed"), Some(0)));
    }
    for id in [dead, 3] {
        let (status, said) = site.ask(post_to(&format!("/v1/dead/{id}/replay"), "")).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(said.contains("the object is owed, neither dead nor gone"), "{said}");
    }
    assert_eq!(site.app.inbox.totals().owed, 3);
}

#[tokio::test]
async fn a_key_prefix_or_a_time_is_replayed_in_the_states_that_are_named() {
    let site = Site::new(&config(&[]));
    for key in ["a/1", "a/2", "b/1"] {
        notify(&site, Notice::new("logs", key)).await;
        ends(&site, Next::Dead).await;
    }
    let replay = |body: Value| post_to("/v1/replay", body.to_string());
    for (body, objects) in [
        (json!({ "states": ["gone"], "key_prefix": "a/" }), 0),
        (json!({ "states": ["dead"], "key_prefix": "a/", "until_ms": 1 }), 0),
        (json!({ "states": ["dead"], "key_prefix": "a/", "bucket": "logs" }), 2),
        (json!({ "states": ["dead"], "key_prefix": "a/" }), 0),
        (json!({ "states": ["gone", "dead"] }), 1),
    ] {
        let expected = (StatusCode::ACCEPTED, json!({ "objects": objects }).to_string());
        assert_eq!(site.ask(replay(body.clone())).await, expected, "{body}");
    }
    for body in [
        json!({}),
        json!({ "states": [] }),
        json!({ "states": ["owed"] }),
        json!({ "states": ["lost"] }),
        json!({ "states": ["done"] }),
        json!({ "states": ["dead"], "prefix": "a" }),
        json!([]),
    ] {
        assert_eq!(site.send(replay(body.clone())).await.status(), 400, "{body}");
    }
    let form: Request<Body> = Request::post("/v1/replay")
        .header("authorization", format!("Bearer {}", crate::testing::TOKEN))
        .body(Body::from("{}"))
        .unwrap();
    assert_eq!(site.send(form).await.status(), 415);
}
