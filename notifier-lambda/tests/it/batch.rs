//! Batches of SQS messages: which come back, and which do not.

use notifier_lambda::InvocationError;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::{Answer, Server};
use crate::{answer, fixture, notifier, plenty};

/// The last digit of each message that comes back.
fn came_back(answer: &Value) -> Vec<char> {
    assert_eq!(answer.as_object().unwrap().len(), 1, "nothing else that Lambda could stumble over");
    let failures = answer["batchItemFailures"].as_array().unwrap();
    let ids = failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap());
    ids.map(|id| id.chars().last().unwrap()).collect()
}

#[tokio::test]
async fn i7_of_a_batch_only_what_failed_comes_back() {
    let server = Server::start([]).await;
    let answer = answer(&notifier(&server.url(), &[]).await, fixture!("sqs_batch")).await;
    assert_eq!(came_back(&answer), ['1', '7'], "what is no JSON, and what has no key");
    let mut keys = server.keys();
    keys.sort();
    assert_eq!(keys, ["1.txt", "1.txt", "2.txt", "3.txt", "example-key", "sub/6 x.txt"]);
}

#[tokio::test]
async fn i7_a_message_of_which_one_record_was_refused_comes_back_and_its_neighbours_do_not() {
    let statuses = [202, 202, 422].map(Answer::Status);
    let server = Server::start(statuses).await;
    let notifier = notifier(&server.url(), &[("SLUICEGATE_NOTIFY_CONCURRENCY", "1")]).await;
    // The third notice is of message 2, with three records; the line of 1.txt is that of message 0 too.
    let answer = answer(&notifier, fixture!("sqs_batch")).await;
    assert_eq!(came_back(&answer), ['1', '2', '7']);
}

#[tokio::test]
async fn messages_about_no_new_object_are_done() {
    let mut event = fixture!("sqs_batch");
    let records = event["Records"].as_array_mut().unwrap();
    *records = vec![records[3].take(), records[4].take()];
    let server = Server::start([]).await;
    assert_eq!(came_back(&answer(&notifier(&server.url(), &[]).await, event).await), [] as [char; 0]);
    assert!(server.notices().is_empty());
}

#[tokio::test]
async fn i7_a_batch_of_which_every_message_failed_fails_the_invocation() {
    let server = Server::start([Answer::Status(403), Answer::Status(403)]).await;
    let notifier = notifier(&server.url(), &[]).await;
    let error = notifier.handle(fixture!("sqs_sns"), plenty()).await.unwrap_err();
    let InvocationError::NotRelayed { what: "messages", parts: 2, reasons } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(reasons.len(), 2);
    assert!(error.to_string().starts_with("2 of 2 messages were not relayed: object-"), "{error}");
}

#[tokio::test]
async fn i7_without_time_nothing_is_sent_and_every_message_comes_back() {
    let server = Server::start([]).await;
    let notifier = notifier(&server.url(), &[]).await;
    let error = notifier.handle(fixture!("sqs"), Instant::now()).await.unwrap_err();
    assert!(matches!(error, InvocationError::NotRelayed { parts: 1, .. }), "{error:?}");
    assert!(server.notices().is_empty());
}

#[tokio::test]
async fn in_a_fifo_queue_nothing_of_a_group_overtakes_what_failed_in_it() {
    let server = Server::start([]).await;
    let answer = answer(&notifier(&server.url(), &[]).await, fixture!("sqs_fifo")).await;
    assert_eq!(came_back(&answer), ['1', '2'], "both of group b");
    assert_eq!(server.keys(), ["1.txt", "3.txt"], "group a, in its order");
}

#[tokio::test]
async fn a_batch_that_cannot_be_answered_by_message_fails_as_a_whole() {
    let server = Server::start([]).await;
    let mut event = fixture!("sqs_batch");
    event["Records"][5]["messageId"] = json!("");
    let error = notifier(&server.url(), &[]).await.handle(event, plenty()).await.unwrap_err();
    assert!(matches!(error, InvocationError::Event(_)), "{error:?}");
}

#[tokio::test]
async fn an_error_tells_some_reasons_and_how_many_more_there_are() {
    let mut event = fixture!("sqs");
    let mut message = event["Records"][0].take();
    message["body"] = json!("not JSON");
    event["Records"] = vec![message; 5000].into();
    let server = Server::start([]).await;
    let error = notifier(&server.url(), &[]).await.handle(event, plenty()).await.unwrap_err().to_string();
    assert!(error.len() < 10_000 && error.ends_with("and 4990 more, in the log"), "{error}");
}
