//! One invocation's relaying against a real server.

use std::time::{Duration, SystemTime};

use contract::Notice;
use notifier_lambda::relay::{Relay, RelayError, TryError};
use notifier_lambda::{Answer as Answered, InvocationError, Summary};
use s3_event::Ignored;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Answer, Server};
use crate::{config, fixture, notifier, plenty};

/// A relay to `url` that is quick to give up on one try.
async fn relay(url: &str) -> Relay {
    Relay::open(&config(url, &[])).await.unwrap()
}

/// Hardly any time.
fn little() -> Instant {
    Instant::now() + Duration::from_millis(200)
}

fn notice() -> Notice {
    let mut notice = Notice::new("logs", "a b/ü.txt");
    notice.id = notice.idempotency_id();
    notice
}

fn several_records() -> Value {
    fixture!("several_records")
}

/// A record about an object with this key, which needs no encoding.
fn record_of(key: &str) -> Value {
    let mut record = fixture!("put")["Records"][0].clone();
    record["s3"]["object"]["key"] = json!(key);
    record
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/v1/notices", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_2xx_means_that_the_server_has_the_notice() {
    for status in [200, 202, 204] {
        let server = Server::start([Answer::Status(status)]).await;
        relay(&server.url()).await.send(&notice(), plenty()).await.unwrap();
        assert_eq!(server.notices(), [notice()]);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_with_the_same_id_until_it_succeeds() {
    use Answer::{RetryAfter, Silence, Status};
    let server = Server::start([
        Status(500),
        Status(503),
        Status(429),
        RetryAfter(503, "0".to_owned()),
        Status(408),
        Silence,
        Status(202),
    ])
    .await;
    relay(&server.url()).await.send(&notice(), plenty()).await.unwrap();
    assert_eq!(server.notices(), vec![notice(); 7]);
}

#[tokio::test]
async fn what_can_never_succeed_is_told_at_once() {
    for status in [400, 401, 403, 404, 413, 415, 422, 501, 505] {
        let server = Server::start([Answer::Status(status)]).await;
        let error = relay(&server.url()).await.send(&notice(), plenty()).await.unwrap_err();
        let RelayError::Refused(TryError::Answer { status: told, reason, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((told.as_u16(), &*reason), (status, "because"));
        assert_eq!(server.notices().len(), 1, "no second try");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let elsewhere = Server::start([]).await;
    let server = Server::start([Answer::Redirect(elsewhere.url())]).await;
    let error = relay(&server.url()).await.send(&notice(), plenty()).await.unwrap_err();
    assert!(matches!(error, RelayError::Refused(_)), "{error:?}");
    assert!(elsewhere.notices().is_empty());
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_before_the_deadline() {
    let error = relay(&nobody().await).await.send(&notice(), little()).await.unwrap_err();
    let RelayError::OutOfTime { tries, last: Some(TryError::Transport(_)) } = error else {
        panic!("{error:?}")
    };
    assert!(tries > 1);
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_kept_or_the_invocation_ends() {
    let server = Server::start([Answer::RetryAfter(503, "3600".to_owned())]).await;
    let error = relay(&server.url()).await.send(&notice(), plenty()).await.unwrap_err();
    assert!(
        matches!(error, RelayError::OutOfTime { tries: 1, last: Some(TryError::Answer { .. }) }),
        "{error:?}"
    );
    assert_eq!(server.notices().len(), 1);
}

#[tokio::test]
async fn without_time_no_request_is_sent() {
    let server = Server::start([]).await;
    let error = relay(&server.url()).await.send(&notice(), Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::OutOfTime { tries: 0, last: None }), "{error:?}");
    assert!(server.notices().is_empty());
}

#[tokio::test]
async fn a_wait_until_a_date_is_kept_too() {
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let server = Server::start([Answer::RetryAfter(429, past), Answer::RetryAfter(429, far)]).await;
    let error = relay(&server.url()).await.send(&notice(), plenty()).await.unwrap_err();
    assert!(matches!(error, RelayError::OutOfTime { tries: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn every_record_of_an_event_is_relayed() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[]).await;
    let answer = notifier.handle(several_records(), plenty()).await.unwrap();
    let ignored = Ignored { test_events: 0, not_created: 1 };
    assert_eq!(answer, Answered::Whole(Summary { relayed: 3, filtered: 0, ignored }));
    let mut keys = server.keys();
    keys.sort();
    assert_eq!(keys, ["1.txt", "2.txt", "3.txt"]);
}

#[tokio::test]
async fn i7_one_record_that_is_not_relayed_fails_the_invocation_and_keeps_no_other_from_the_server() {
    let server = Server::start([Answer::Status(400)]).await;
    let notifier = notifier(&server.url(), &[]).await;
    let error = notifier.handle(several_records(), plenty()).await.unwrap_err();
    let InvocationError::NotRelayed { what: "records", parts: 3, reasons } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(reasons.len(), 1);
    assert_eq!(server.notices().len(), 3);
    assert!(error.to_string().contains("it answered 400 Bad Request: \"because\""), "{error}");
}

#[tokio::test]
async fn i7_a_malformed_record_fails_the_invocation_after_its_neighbours_are_relayed() {
    let server = Server::start([]).await;
    let mut event = several_records();
    event["Records"][2]["s3"]["object"]["key"] = json!("%FF");
    let error = notifier(&server.url(), &[]).await.handle(event, plenty()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 3 records were not relayed: record 2: its key is not UTF-8 once decoded"
    );
    assert_eq!(server.notices().len(), 2);
}

#[tokio::test]
async fn an_event_about_no_new_object_succeeds_without_a_request() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[]).await;
    for (event, test_events, not_created) in [
        (fixture!("test_event"), 1, 0),
        (fixture!("removed"), 0, 3),
        (fixture!("sns_test_event"), 1, 0),
        (fixture!("eventbridge_deleted"), 0, 1),
    ] {
        let ignored = Ignored { test_events, not_created };
        let answer = notifier.handle(event, plenty()).await.unwrap();
        assert_eq!(answer, Answered::Whole(Summary { ignored, ..Summary::default() }));
    }
    assert!(server.notices().is_empty());
}

#[tokio::test]
async fn an_event_by_way_of_sns_or_eventbridge_is_relayed_like_a_direct_one() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[]).await;
    notifier.handle(fixture!("sns"), plenty()).await.unwrap();
    notifier.handle(fixture!("eventbridge"), plenty()).await.unwrap();
    let [direct, bridged] = server.notices().try_into().unwrap();
    assert_eq!(direct.key, "red flower.jpg");
    assert_eq!((&*bridged.key, bridged.account.as_deref()), ("example-key", Some("111122223333")));
}

#[tokio::test]
async fn the_notices_of_different_objects_go_out_at_once_but_never_more_than_configured() {
    let server = Server::start([Answer::Together(3), Answer::Together(3), Answer::Together(3)]).await;
    let notifier = notifier(&server.url(), &[("SLUICEGATE_NOTIFY_CONCURRENCY", "3")]).await;
    let record = |number| record_of(&format!("{number}.txt"));
    let event = json!({ "Records": (0..9).map(record).collect::<Vec<_>>() });
    notifier.handle(event, plenty()).await.unwrap();
    assert_eq!(server.notices().len(), 9);
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_connection_is_kept_from_one_invocation_to_the_next() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[]).await;
    for _ in 0..5 {
        notifier.handle(fixture!("put"), plenty()).await.unwrap();
    }
    assert_eq!((server.notices().len(), server.connections()), (5, 1));
}

#[tokio::test]
async fn the_notices_of_one_object_arrive_in_the_order_of_the_event_and_none_overtakes_a_failed_one() {
    let record = |key: &str, sequencer: &str| {
        let mut record = record_of(key);
        record["s3"]["object"]["sequencer"] = json!(sequencer);
        record
    };
    let event =
        json!({ "Records": [record("a", "01"), record("b", "02"), record("a", "03"), record("a", "04")] });
    let server = Server::start([]).await;
    let all = notifier(&server.url(), &[]).await;
    all.handle(event.clone(), plenty()).await.unwrap();
    let of_a = |notices: Vec<Notice>| -> Vec<String> {
        let of_a = notices.into_iter().filter(|notice| notice.key == "a");
        of_a.map(|notice| notice.sequencer.unwrap()).collect()
    };
    assert_eq!(of_a(server.notices()), ["01", "03", "04"]);

    let server = Server::start([Answer::Status(202), Answer::Status(422)]).await;
    let one = notifier(&server.url(), &[("SLUICEGATE_NOTIFY_CONCURRENCY", "1")]).await;
    let error = one.handle(event, plenty()).await.unwrap_err();
    let InvocationError::NotRelayed { reasons, parts: 4, .. } = &error else { panic!("{error:?}") };
    assert_eq!(reasons.len(), 2, "{error}");
    assert!(reasons[0].contains("422") && reasons[1].contains("held back"), "{error}");
    assert_eq!(of_a(server.notices()), ["01", "03"]);
}

#[tokio::test]
async fn what_the_server_does_not_want_is_filtered_and_counted() {
    let server = Server::start([]).await;
    let filter = [
        ("SLUICEGATE_NOTIFY_PREFIX", "logs/"),
        ("SLUICEGATE_NOTIFY_SUFFIX", ".gz"),
        ("SLUICEGATE_NOTIFY_MIN_SIZE", "1B"),
        ("SLUICEGATE_NOTIFY_MAX_SIZE", "1MiB"),
    ];
    let notifier = notifier(&server.url(), &filter).await;
    let record = |key: &str, size: u64| {
        let mut record = record_of(key);
        record["s3"]["object"]["size"] = json!(size);
        record
    };
    let records = [
        record("logs/a.gz", 1),
        record("other/a.gz", 1),
        record("logs/a.txt", 1),
        record("logs/0.gz", 0),
        record("logs/large.gz", (1 << 20) + 1),
    ];
    let answer = crate::answer(&notifier, json!({ "Records": records })).await;
    let ignored = json!({ "test_events": 0, "not_created": 0 });
    assert_eq!(answer, json!({ "relayed": 1, "filtered": 4, "ignored": ignored }));
    assert_eq!(server.keys(), ["logs/a.gz"]);
}

#[tokio::test]
async fn a_minimal_body_is_bucket_and_key_alone_and_is_signed_all_the_same() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[("SLUICEGATE_NOTICE_BODY", "minimal")]).await;
    notifier.handle(fixture!("eventbridge_plain_key"), plenty()).await.unwrap();
    let body = r#"{"bucket":"amzn-s3-demo-bucket1","key":"red flower+one%2Ftwo 日本語.jpg"}"#;
    assert_eq!(server.bodies(), [body]);
}
