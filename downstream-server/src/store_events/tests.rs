use http::Request;
use serde_json::Value;

use super::*;
use crate::config::Config;
use crate::inbox::{Query, Row};
use crate::testing::{Site, TOKEN, config, text};

fn by_header(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/v1/store-events").header("authorization", format!("Bearer {TOKEN}"));
    request.body(body.into()).unwrap()
}

fn by_path(token: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("/v1/store-events/{token}")).body(body.into()).unwrap()
}

/// What a store posts of one object, made by `name`.
fn event(source: &str, name: &str, bucket: &str, key: &str, etag: &str) -> String {
    json!({ "Records": [{
        "eventVersion": "2.2", "eventSource": source, "eventName": name, "awsRegion": "",
        "s3": { "bucket": { "name": bucket }, "object": {
            "key": key, "size": 0, "eTag": etag, "versionId": "", "sequencer": "1",
        } },
    }] })
    .to_string()
}

fn put(key: &str) -> String {
    event("minio:s3", "s3:ObjectCreated:Put", "logs", key, "\"e1\"")
}

async fn rows(site: &Site) -> Vec<Row> {
    site.app.inbox.list(Query { limit: 100, ..Query::default() }).await.unwrap()
}

async fn counts(site: &Site, body: String) -> (u64, u64, u64) {
    let (status, answer) = site.ask(by_header(body)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let count = |name: &str| answer[name].as_u64().unwrap();
    (count("taken"), count("repeated"), count("ignored"))
}

#[tokio::test]
async fn what_a_store_posts_is_owed_like_what_a_notice_tells_and_told_again_is_a_repeat_i8() {
    let site = Site::new(&config(&[]));
    assert_eq!(counts(&site, put("in%2Fsp+ace%2B%2541")).await, (1, 0, 0));
    assert_eq!(counts(&site, put("in%2Fsp+ace%2B%2541")).await, (0, 1, 0));
    // A notice of the same object is the same.
    let notice = json!({ "bucket": "logs", "key": "in/sp ace+%41", "etag": "e1" }).to_string();
    assert!(site.ask(crate::testing::post(notice)).await.1.contains("repeated"));
    let [row] = rows(&site).await.try_into().unwrap();
    assert_eq!((row.key.as_str(), row.etag.as_deref(), row.repeats), ("in/sp ace+%41", Some("e1"), 2));
    assert_eq!((row.version_id, row.origin), (None, Origin::Store));
}

#[tokio::test]
async fn a_counter_that_began_again_with_its_store_hides_no_later_event() {
    let site = Site::new(&config(&[]));
    for etag in ["e1", "e2", "e3"] {
        let body = event("aws:s3", "s3:ObjectCreated:Put", "logs", "k", etag);
        assert_eq!(counts(&site, body).await, (1, 0, 0), "{etag}");
    }
    // Nor does one wait for another.
    assert_eq!(site.app.inbox.claim(9, now_ms()).await.unwrap().claims.len(), 3);
}

#[tokio::test]
async fn test_events_removals_and_what_the_agent_keeps_for_itself_are_answered_and_left_alone() {
    let site = Site::new(&config(&[]));
    let started = json!({ "Service": "S3", "Event": "s3:TestEvent", "Bucket": "any", "Time": "now" });
    assert_eq!(counts(&site, started.to_string()).await, (0, 0, 1));
    let removed = event("minio:s3", "s3:ObjectRemoved:Delete", "logs", "k", "");
    assert_eq!(counts(&site, removed).await, (0, 0, 1));
    for key in ["_sluicegate/claims/1", "_sluicegate%2Fcheck"] {
        assert_eq!(counts(&site, put(key)).await, (0, 0, 1), "{key}");
    }
    assert_eq!(counts(&site, json!({ "Records": [] }).to_string()).await, (0, 0, 0));
    assert_eq!(rows(&site).await, []);
}

#[tokio::test]
async fn a_store_is_known_by_its_token_in_the_header_or_in_the_path_and_by_no_other() {
    let site = Site::new(&config(&[]));
    assert_eq!(site.send(by_path(TOKEN, put("a"))).await.status(), StatusCode::ACCEPTED);
    // Ceph's client says that it sends a form.
    let mut form = by_header(put("b"));
    form.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    assert_eq!(site.send(form).await.status(), StatusCode::ACCEPTED);
    let bare = Request::post("/v1/store-events").body(Body::from(put("c"))).unwrap();
    let mut other = by_header(put("c"));
    other.headers_mut().insert("authorization", "Bearer another-token-of-a-test".parse().unwrap());
    for request in [bare, other, by_path("another-token-of-a-test", put("c"))] {
        let answer = site.send(request).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert!(!text(answer).await.contains("another-token"));
    }
    // Nor is it good for anything else.
    let config = Config { store_events: with_sender("minio", "a-token-for-events-alone"), ..config(&[]) };
    let site = Site::new(&config);
    let mut request = crate::testing::post_to("/v1/reconcile", "{}");
    request.headers_mut().insert("authorization", "Bearer a-token-for-events-alone".parse().unwrap());
    assert_eq!(site.send(request).await.status(), StatusCode::UNAUTHORIZED);
    // Where no store is named, none may.
    let nobody = crate::config::StoreEventsConfig {
        senders: entrance::Tokens::default(),
        ..config.store_events.clone()
    };
    let site = Site::new(&Config { store_events: nobody, ..config });
    let (status, body) = site.ask(by_header(put("c"))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("store_events.tokens"), "{body}");
}

fn with_sender(name: &str, token: &str) -> crate::config::StoreEventsConfig {
    let mut store_events = config(&[]).store_events;
    store_events.senders = entrance::Tokens::default();
    store_events.senders.add(&format!("{name}:{token}")).unwrap();
    store_events
}

#[tokio::test]
async fn the_rules_of_buckets_regions_and_sizes_are_those_of_notices_and_a_refused_record_keeps_no_other_out()
{
    let site = Site::new(&config(&["--notices-regions", "eu-central-1", "--notices-max-bytes", "2000"]));
    let (status, body) =
        site.ask(by_header(event("minio:s3", "s3:ObjectCreated:Put", "other", "k", "e"))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("bucket_not_allowed"), "{body}");
    let abroad = put("k").replace("\"awsRegion\":\"\"", "\"awsRegion\":\"us-east-1\"");
    assert_eq!(site.send(by_header(abroad)).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(site.send(by_header(put(&"k".repeat(3000)))).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for body in ["", "{}", "[]", "text", "{\"Records\":[{}]}"] {
        let (status, said) = site.ask(by_header(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {said}");
    }
    assert_eq!(rows(&site).await, []);

    let mut several: Value = serde_json::from_str(&put("first")).unwrap();
    let more = [put("%FF"), event("minio:s3", "s3:ObjectCreated:Put", "other", "k", "e"), put("last")];
    for one in more {
        let one: Value = serde_json::from_str(&one).unwrap();
        several["Records"].as_array_mut().unwrap().push(one["Records"][0].clone());
    }
    assert_eq!(site.send(by_header(several.to_string())).await.status(), StatusCode::BAD_REQUEST);
    let keys: Vec<_> = rows(&site).await.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, ["last", "first"]);
}

#[tokio::test]
async fn how_a_sender_writes_keys_is_what_the_configuration_says_of_it_by_name() {
    for (setting, expected) in
        [("--store-events-raw-keys", "a+b%41"), ("--store-events-encoded-keys", "a bA")]
    {
        let site = Site::new(&config(&[setting, "other,store"]));
        for source in ["minio:s3", "ceph:s3", "aws:s3"] {
            let body = event(source, "s3:ObjectCreated:Put", "logs", "a+b%41", source);
            assert_eq!(counts(&site, body).await, (1, 0, 0));
        }
        assert!(rows(&site).await.iter().all(|row| row.key == expected), "{setting}");
    }
}

#[tokio::test]
async fn no_answer_before_the_sync_and_a_full_or_stopping_inbox_is_503_i8() {
    let site = Site::new(&config(&[]));
    site.app.inbox.close();
    let answer = site.send(by_header(put("k"))).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
}
