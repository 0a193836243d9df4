use std::pin::pin;

use contract::signature::{Secret, Signer};
use futures_util::FutureExt as _;
use http::Request;

use super::*;
use crate::handler::NoEffect;
use crate::inbox::{Claim, Identity, Keep, Query, Report};
use crate::reading::Reading;
use crate::testing::{Hold, Site, config, handled, metadata_of, post, text};

const NOTICE: &str = r#"{"bucket":"logs","key":"a/b.txt"}"#;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn signing_config(flags: &[&str]) -> crate::Config {
    let mut config = config(flags);
    config.notices.secrets = vec![SECRET.parse().unwrap()];
    config
}

fn signed(secret: &str, id: &str, at_s: i64, body: &str, sent: &str) -> Request<Body> {
    let secret: Secret = secret.parse().unwrap();
    let at_s = u64::try_from(at_s).unwrap();
    let mut request = post(sent.to_owned());
    let headers = request.headers_mut();
    headers.insert(HEADER_ID, id.parse().unwrap());
    headers.insert(HEADER_TIMESTAMP, at_s.to_string().parse().unwrap());
    headers.insert(HEADER_SIGNATURE, Signer::new(&secret).sign(id, at_s, body.as_bytes()).parse().unwrap());
    request
}

fn error(code: &str, message: &str) -> String {
    json!({ "error": code, "message": message }).to_string()
}

#[tokio::test]
async fn a_body_with_just_bucket_and_key_is_enough_and_a_repeat_changes_nothing_but_a_counter_i8() {
    let site = Site::new(&config(&[]));
    let id = Notice::new("logs", "a/b.txt").idempotency_id();
    let answer = |word: &str| json!({ "id": id, "status": word }).to_string();
    assert_eq!(site.ask(post(NOTICE)).await, (StatusCode::ACCEPTED, answer("accepted")));
    for _ in 0..3 {
        assert_eq!(site.ask(post(NOTICE)).await, (StatusCode::ACCEPTED, answer("repeated")));
    }
    let rows = site.app.inbox.list(Query { limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].repeats, rows[0].attempts), (3, 0));
    assert_eq!(site.app.inbox.totals().owed, 1);
}

#[tokio::test]
async fn unknown_members_are_ignored() {
    let site = Site::new(&config(&[]));
    let body = r#"{"bucket":"logs","key":"k","from":{"the":["future"]},"version":1}"#;
    assert_eq!(site.ask(post(body)).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_wrong_body_is_400_and_names_the_mistake() {
    let site = Site::new(&config(&[]));
    for (body, message) in [
        ("", "the body is not a notice: EOF while parsing a value at line 1 column 0"),
        ("{\"bucket\":\n}", "the body is not a notice: expected value at line 2 column 1"),
        (r#"{"key":"k"}"#, "the body is not a notice: missing field `bucket` at line 1 column 11"),
        (r#"{"bucket":"logs"}"#, "the body is not a notice: missing field `key` at line 1 column 17"),
        (r#"{"bucket":"logs","key":""}"#, "the notice's \"key\" is empty"),
    ] {
        let expected = (StatusCode::BAD_REQUEST, error("not_a_notice", message));
        assert_eq!(site.ask(post(body)).await, expected, "{body}");
    }
    assert_eq!(site.app.inbox.totals().owed, 0);
}

#[tokio::test]
async fn a_notice_without_a_right_signature_is_401_and_says_why() {
    let site = Site::new(&signing_config(&[]));
    let now_s = now_ms() / 1000;
    let other = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXI=";
    for (request, message) in [
        (post(NOTICE), "the header webhook-id is missing"),
        (signed(other, "n1", now_s, NOTICE, NOTICE), "no signature in the header webhook-signature fits"),
        (
            signed(SECRET, "n1", now_s, NOTICE, r#"{"bucket":"logs","key":"forged"}"#),
            "no signature in the header webhook-signature fits",
        ),
    ] {
        let expected = (StatusCode::UNAUTHORIZED, error("signature", message));
        assert_eq!(site.ask(request).await, expected);
    }
    let (status, body) = site.ask(signed(SECRET, "n1", now_s - 301, NOTICE, NOTICE)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("s ago, which is too long; do the clocks agree?"), "{body}");
    let (status, body) = site.ask(signed(SECRET, "n1", now_s + 400, NOTICE, NOTICE)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body.contains("s in the future; do the clocks agree?"), "{body}");
    assert_eq!(site.app.inbox.totals().owed, 0);
}

#[tokio::test]
async fn a_genuine_request_that_is_sent_again_is_a_repeat_within_the_tolerance_and_401_after_it_i8() {
    let site = Site::new(&signing_config(&[]));
    let now_s = now_ms() / 1000;
    let recorded = |age_s: i64| signed(SECRET, "n1", now_s - age_s, NOTICE, NOTICE);
    for word in ["accepted", "repeated", "repeated"] {
        let expected = json!({ "id": "n1", "status": word }).to_string();
        assert_eq!(site.ask(recorded(200)).await, (StatusCode::ACCEPTED, expected));
    }
    assert_eq!(site.ask(recorded(301)).await.0, StatusCode::UNAUTHORIZED);
    // Its own time is signed as well: an old request cannot be given a new one.
    let mut renewed = recorded(301);
    renewed.headers_mut().insert(HEADER_TIMESTAMP, now_s.to_string().parse().unwrap());
    assert_eq!(site.ask(renewed).await.0, StatusCode::UNAUTHORIZED);
    let rows = site.app.inbox.list(Query { limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!((rows.len(), rows[0].repeats), (1, 2));
}

#[tokio::test]
async fn a_notice_that_comes_weeks_late_is_taken_and_of_a_cut_that_is_done_a_repeat_even_without_its_row() {
    let site = Site::new(&signing_config(&[]));
    let inbox = &site.app.inbox;
    handled(inbox, metadata_of(3), 1000).await;
    inbox.drop_done(Keep { after_ms: i64::MAX, rows: 0 }).await.unwrap();
    assert_eq!(inbox.list(Query { limit: 10, ..Query::default() }).await.unwrap(), []);
    let now_s = now_ms() / 1000;
    for (number, word) in [(3, "repeated"), (4, "accepted")] {
        let key = format!("events/{}.txt", metadata_of(number).cut);
        let late = json!({ "bucket": "logs", "key": key, "event_time": "2001-09-09T01:46:40Z" }).to_string();
        let expected = json!({ "id": "late", "status": word }).to_string();
        let answer = site.ask(signed(SECRET, "late", now_s, &late, &late)).await;
        assert_eq!(answer, (StatusCode::ACCEPTED, expected));
    }
    let rows = inbox.list(Query { limit: 10, ..Query::default() }).await.unwrap();
    assert_eq!((rows.len(), rows[0].event_ms), (1, Some(1_000_000_000_000)));
}

#[tokio::test]
async fn notices_of_one_key_that_come_in_the_wrong_order_are_handed_out_in_the_right_one() {
    let site = Site::new(&config(&[]));
    for (version, sequencer) in [("v3", "0A3"), ("v1", "0A1"), ("v2", "0A2")] {
        let notice = json!({ "bucket": "logs", "key": "k", "version_id": version, "sequencer": sequencer })
            .to_string();
        assert_eq!(site.ask(post(notice)).await.0, StatusCode::ACCEPTED);
    }
    for version in ["v1", "v2", "v3"] {
        let [claim] = site.app.inbox.claim(9, now_ms()).await.unwrap().claims.try_into().unwrap();
        assert_eq!(claim.place().version_id.as_deref(), Some(version));
        let identity = Identity::of_object("logs", "k", Some(version), None);
        let report = Report { identity, reader: Reading::BEFORE, events: 1, bytes: 1, now_ms: now_ms() };
        site.app.inbox.finish(&claim, report, Box::new(NoEffect)).await.unwrap();
    }
}

#[tokio::test]
async fn either_of_two_secrets_signs_so_that_a_secret_can_be_rotated() {
    let mut config = signing_config(&[]);
    let new = "the new one, as plain text";
    config.notices.secrets.push(new.parse().unwrap());
    let site = Site::new(&config);
    let now_s = now_ms() / 1000;
    for (secret, word) in [(SECRET, "accepted"), (new, "repeated")] {
        let expected = json!({ "id": "msg-7", "status": word }).to_string();
        let answer = site.ask(signed(secret, "msg-7", now_s, NOTICE, NOTICE)).await;
        assert_eq!(answer, (StatusCode::ACCEPTED, expected));
    }
}

#[tokio::test]
async fn of_several_signatures_one_that_fits_is_enough_in_whatever_line_it_stands() {
    let site = Site::new(&signing_config(&[]));
    let right = signed(SECRET, "m", now_ms() / 1000, NOTICE, NOTICE).headers()[HEADER_SIGNATURE].clone();
    let right = right.to_str().unwrap();
    let wrong = "v1,bm9wZQ==";
    for lines in [
        &[right][..],
        &[wrong, right],
        &[right, wrong],
        &["v1a,AAAA", wrong, right],
        &[&format!("{wrong} {right}")],
        &[&format!("{wrong}, {right}")],
    ] {
        let mut request = signed(SECRET, "m", now_ms() / 1000, NOTICE, NOTICE);
        request.headers_mut().remove(HEADER_SIGNATURE);
        for line in lines {
            request.headers_mut().append(HEADER_SIGNATURE, line.parse().unwrap());
        }
        assert_eq!(site.ask(request).await.0, StatusCode::ACCEPTED, "{lines:?}");
    }
    let mut request = signed(SECRET, "m", now_ms() / 1000, NOTICE, NOTICE);
    request.headers_mut().remove(HEADER_SIGNATURE);
    for line in [wrong, "v1a,AAAA"] {
        request.headers_mut().append(HEADER_SIGNATURE, line.parse().unwrap());
    }
    assert_eq!(site.ask(request).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_object_that_was_overwritten_is_another_where_its_store_keeps_no_versions() {
    let site = Site::new(&config(&[]));
    let told = |etag: &str, version: &str| {
        post(format!(r#"{{"bucket":"logs","key":"k","etag":"{etag}","version_id":{version},"size":null}}"#))
    };
    for (etag, version, word) in [
        ("e1", "\"\"", "accepted"),
        ("e2", "\"\"", "accepted"),
        ("e2", "null", "repeated"),
        ("\\\"e2\\\"", r#""null""#, "repeated"),
        ("e3", "[7]", "accepted"),
    ] {
        let (status, body) = site.ask(told(etag, version)).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        assert!(body.contains(word), "{etag} {version}: {body}");
    }
    for claim in site.app.inbox.claim(9, now_ms()).await.unwrap().claims {
        assert_eq!(claim.place().version_id, None, "no store is asked for an empty version");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_on_the_list_is_403() {
    let site = Site::new(&config(&[]));
    let expected = error("bucket_not_allowed", "notices of bucket \"other\" are not taken here");
    let answer = site.ask(post(r#"{"bucket":"other","key":"k"}"#)).await;
    assert_eq!(answer, (StatusCode::FORBIDDEN, expected));
}

#[tokio::test]
async fn a_region_that_is_not_on_the_list_is_403() {
    let site = Site::new(&config(&["--notices-regions", "eu-central-1,us-east-1"]));
    let named = |region: &str| post(format!(r#"{{"bucket":"logs","key":"k","region":"{region}"}}"#));
    let expected = error("region_not_allowed", "notices of region \"eu-west-1\" are not taken here");
    assert_eq!(site.ask(named("eu-west-1")).await, (StatusCode::FORBIDDEN, expected));
    assert_eq!(site.ask(named("us-east-1")).await.0, StatusCode::ACCEPTED);
    // A minimal notice names none, and none is used.
    assert_eq!(site.ask(post(NOTICE)).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_and_names_the_limit_whether_or_not_it_was_announced() {
    let site = Site::new(&config(&["--notices-max-bytes", "100"]));
    let expected = error("too_large", "the body is larger than 100 bytes (notices.max_bytes)");
    let long = format!(r#"{{"bucket":"logs","key":"{}"}}"#, "k".repeat(200));
    let mut announced = post(long.clone());
    announced.headers_mut().insert("content-length", "225".parse().unwrap());
    for request in [announced, post(long)] {
        assert_eq!(site.ask(request).await, (StatusCode::PAYLOAD_TOO_LARGE, expected.clone()));
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_by_its_type_is_415() {
    let site = Site::new(&config(&[]));
    let expected = error("not_json", "send the body with the header content-type: application/json");
    for kind in ["", "text/plain", "application/x-www-form-urlencoded"] {
        let mut request = post(NOTICE);
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(site.ask(request).await, (StatusCode::UNSUPPORTED_MEDIA_TYPE, expected.clone()));
    }
    let mut request = post(NOTICE);
    request.headers_mut().insert("content-type", "Application/JSON; charset=utf-8".parse().unwrap());
    assert_eq!(site.ask(request).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_that_never_ends_is_408() {
    let site = Site::new(&config(&["--notices-read-timeout", "50ms"]));
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let expected = error("too_slow", "the body did not come within 0.05 s");
    assert_eq!(site.ask(post(never)).await, (StatusCode::REQUEST_TIMEOUT, expected));
}

#[tokio::test]
async fn other_methods_and_paths_are_405_and_404() {
    let site = Site::new(&config(&[]));
    let (status, body) = site.ask(Request::get("/v1/notices").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    let message = "this path does not take this method; the header allow names those it takes";
    assert_eq!(body, error("method", message));
    let answer = site.ask(Request::post("/v2/notices").body(Body::empty()).unwrap()).await;
    assert_eq!(answer, (StatusCode::NOT_FOUND, error("not_found", "there is nothing at this path")));
}

#[tokio::test]
async fn a_stopping_server_and_a_failing_disk_are_503_with_retry_after() {
    let site = Site::new(&config(&[]));
    let other = rusqlite::Connection::open(site.dir.path().join(crate::inbox::FILE)).unwrap();
    other.execute_batch("DROP TABLE places; DROP TABLE objects").unwrap();
    let answer = site.send(post(NOTICE)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert_eq!(text(answer).await, error("storage", "the inbox could not be written; try again"));

    site.app.inbox.close();
    let answer = site.send(post(NOTICE)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "5");
    assert_eq!(text(answer).await, error("stopping", "the server is stopping; try again"));
}

#[tokio::test]
async fn a_notice_is_answered_only_after_its_commit_and_a_full_inbox_is_503_i8() {
    let site = Site::new(&config(&[]));
    site.ask(post(NOTICE)).await;
    let claim: Claim = site.app.inbox.claim(1, now_ms()).await.unwrap().claims.remove(0);
    let (hold, holding, let_go) = Hold::new();
    let identity = Identity::of_notice(&Notice::new("logs", "a/b.txt"));
    let report = Report { identity, reader: Reading::BEFORE, events: 1, bytes: 1, now_ms: now_ms() };
    let inbox = site.app.inbox.clone();
    let finishing = tokio::spawn(async move { inbox.finish(&claim, report, Box::new(hold)).await });
    holding.await.unwrap();

    // The writer is held: notices wait for their commit, and then the queue is full.
    let mut waiting = Vec::new();
    let refused = loop {
        let body = format!(r#"{{"bucket":"logs","key":"k{}"}}"#, waiting.len());
        let mut answer = Box::pin(site.send(post(body)));
        match answer.as_mut().now_or_never() {
            None => waiting.push(answer),
            Some(answer) => break answer,
        }
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(text(refused).await, error("busy", "more notices wait than the inbox takes; try again"));
    assert_eq!(site.app.inbox.totals().owed, 0);

    let_go.send(()).unwrap();
    let taken = waiting.len() as u64;
    for answer in waiting {
        assert_eq!(pin!(answer).await.status(), StatusCode::ACCEPTED);
    }
    finishing.await.unwrap().unwrap();
    assert_eq!((site.app.inbox.totals().owed, site.app.inbox.totals().done), (taken, 1));
}

#[tokio::test]
async fn a_notice_of_the_first_notifier_and_one_of_a_later_notifier_are_taken() {
    let site = Site::new(&config(&[]));
    let first = include_str!("../../tests/fixtures/notice-v1.json");
    assert_eq!(site.ask(post(first)).await.0, StatusCode::ACCEPTED);
    let later = r#"{"version":9,"bucket":"logs","key":"later","etag":{"of":"another form"}}"#;
    assert_eq!(site.ask(post(later)).await.0, StatusCode::ACCEPTED);
    let rows = site.app.inbox.list(Query { limit: 9, ..Query::default() }).await.unwrap();
    assert_eq!(rows[0].key, "later");
    assert_eq!(rows[1].key, "a/b c+d.txt");
    assert_eq!(rows[1].version_id.as_deref(), Some("3HL4kqtJlcpXroDTDmJ"));
    assert_eq!(rows[1].etag.as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
    assert_eq!((rows[1].bytes, rows[1].event_ms), (1024, Some(1_795_168_800_000)));
}
