//! One invocation's relaying against a real server.

use std::time::Duration;

use contract::Notice;
use notifier_lambda::relay::{Relay, RelayError, TryError};
use notifier_lambda::s3_event::Ignored;
use notifier_lambda::{Config, InvocationError, Summary, handle};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::SECRET;
use crate::server::{Answer, Server};

/// A relay to `url` that is quick to give up on one try.
fn relay(url: &str) -> Relay {
    let variables = [
        ("SLUICEGATE_NOTIFY_URL", url),
        ("SLUICEGATE_NOTIFY_SECRET", SECRET),
        ("SLUICEGATE_NOTIFY_TIMEOUT", "300ms"),
        ("SLUICEGATE_NOTIFY_RETRY_BASE", "1ms"),
        ("SLUICEGATE_NOTIFY_RETRY_MAX", "5ms"),
    ];
    let lookup =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Relay::new(&Config::from_lookup(lookup).unwrap()).unwrap()
}

/// More time than any test needs.
fn plenty() -> Instant {
    Instant::now() + Duration::from_secs(60)
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
    serde_json::from_str(include_str!("../fixtures/several_records.json")).unwrap()
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
        relay(&server.url()).send(&notice(), plenty()).await.unwrap();
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
        RetryAfter(503, 0),
        Status(408),
        Silence,
        Status(202),
    ])
    .await;
    relay(&server.url()).send(&notice(), plenty()).await.unwrap();
    assert_eq!(server.notices(), vec![notice(); 7]);
}

#[tokio::test]
async fn what_can_never_succeed_is_told_at_once() {
    for status in [400, 401, 403, 404, 413, 415, 422] {
        let server = Server::start([Answer::Status(status)]).await;
        let error = relay(&server.url()).send(&notice(), plenty()).await.unwrap_err();
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
    let error = relay(&server.url()).send(&notice(), plenty()).await.unwrap_err();
    assert!(matches!(error, RelayError::Refused(_)), "{error:?}");
    assert!(elsewhere.notices().is_empty());
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_before_the_deadline() {
    let error = relay(&nobody().await).send(&notice(), little()).await.unwrap_err();
    let RelayError::OutOfTime { tries, last: Some(TryError::Transport(_)) } = error else {
        panic!("{error:?}")
    };
    assert!(tries > 1);
}

#[tokio::test]
async fn a_wait_that_the_server_asks_for_is_kept_or_the_invocation_ends() {
    let server = Server::start([Answer::RetryAfter(503, 3600)]).await;
    let error = relay(&server.url()).send(&notice(), plenty()).await.unwrap_err();
    assert!(
        matches!(error, RelayError::OutOfTime { tries: 1, last: Some(TryError::Answer { .. }) }),
        "{error:?}"
    );
    assert_eq!(server.notices().len(), 1);
}

#[tokio::test]
async fn without_time_no_request_is_sent() {
    let server = Server::start([]).await;
    let error = relay(&server.url()).send(&notice(), Instant::now()).await.unwrap_err();
    assert!(matches!(error, RelayError::OutOfTime { tries: 0, last: None }), "{error:?}");
    assert!(server.notices().is_empty());
}

#[tokio::test]
async fn every_record_of_an_event_is_relayed() {
    let server = Server::start([]).await;
    let summary = handle(&relay(&server.url()), several_records(), plenty()).await.unwrap();
    assert_eq!(summary, Summary { relayed: 3, ignored: Ignored { test_events: 0, not_created: 1 } });
    let mut keys: Vec<_> = server.notices().into_iter().map(|notice| notice.key).collect();
    keys.sort();
    assert_eq!(keys, ["1.txt", "2.txt", "3.txt"]);
}

#[tokio::test]
async fn i7_one_record_that_is_not_relayed_fails_the_invocation_and_keeps_no_other_from_the_server() {
    let server = Server::start([Answer::Status(400)]).await;
    let error = handle(&relay(&server.url()), several_records(), plenty()).await.unwrap_err();
    let InvocationError::NotRelayed { records: 3, failures } = &error else { panic!("{error:?}") };
    assert_eq!(failures.len(), 1);
    assert_eq!(server.notices().len(), 3);
    assert!(error.to_string().contains("it answered 400 Bad Request: \"because\""), "{error}");
}

#[tokio::test]
async fn i7_a_malformed_record_fails_the_invocation_after_its_neighbours_are_relayed() {
    let server = Server::start([]).await;
    let mut event = several_records();
    event["Records"][2]["s3"]["object"]["key"] = json!("%FF");
    let error = handle(&relay(&server.url()), event, plenty()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 3 records were not relayed: record 2: its key is not UTF-8 once decoded"
    );
    assert_eq!(server.notices().len(), 2);
}

#[tokio::test]
async fn an_event_about_no_new_object_succeeds_without_a_request() {
    let server = Server::start([]).await;
    let relay = relay(&server.url());
    let test_event = serde_json::from_str(include_str!("../fixtures/test_event.json")).unwrap();
    let removed = serde_json::from_str(include_str!("../fixtures/removed.json")).unwrap();
    let ignored = |event| async { handle(&relay, event, plenty()).await.unwrap().ignored };
    assert_eq!(ignored(test_event).await, Ignored { test_events: 1, not_created: 0 });
    assert_eq!(ignored(removed).await, Ignored { test_events: 0, not_created: 3 });
    assert!(server.notices().is_empty());
}
