//! The program itself, as Lambda starts it.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::lambda::{Lambda, Outcome};
use crate::server::{Answer, Server};
use crate::{SECRET, fixture};

fn put() -> Value {
    fixture!("put")
}

/// The program in an environment of its own.
fn program(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notifier-lambda"));
    command.env_clear().envs(variables.iter().copied()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The function, waiting for events, with these settings besides.
pub(crate) fn function(lambda: &Lambda, url: &str, more: &[(&str, &str)]) -> Child {
    let lambda_url = lambda.cloud.lambda_url();
    let variables = [
        ("AWS_LAMBDA_RUNTIME_API", &*lambda_url),
        ("AWS_LAMBDA_FUNCTION_NAME", "notifier"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("SLUICEGATE_NOTIFY_URL", url),
        ("SLUICEGATE_NOTIFY_SECRET", SECRET),
        ("SLUICEGATE_NOTIFY_RETRY_BASE", "1ms"),
        ("SLUICEGATE_LOG_FORMAT", "json"),
    ];
    program(&[&variables, more].concat()).spawn().unwrap()
}

/// Everything that the function logged.
async fn logs(mut function: Child) -> String {
    function.start_kill().unwrap();
    String::from_utf8(function.wait_with_output().await.unwrap().stderr).unwrap()
}

#[tokio::test]
async fn i7_an_event_ends_in_a_notice_at_the_server_and_only_then_in_a_response() {
    let server = Server::start([Answer::Status(503)]).await;
    let lambda = Lambda::start(Duration::from_secs(30)).await;
    let function = function(&lambda, &server.url(), &[]);

    let outcome = lambda.invoke(&put()).await;
    let summary = json!({ "relayed": 1, "filtered": 0, "ignored": { "test_events": 0, "not_created": 0 } });
    assert_eq!(outcome, Outcome::Response(summary));
    let [refused, taken] = server.notices().try_into().unwrap();
    assert_eq!(refused, taken);
    assert_eq!(taken.id, "000102030405060708090a0b0c0d0e0f-s3-000000000042");

    let logs = logs(function).await;
    let relayed = logs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let relayed = relayed.filter(|line| line["message"] == "relayed").collect::<Vec<_>>();
    let [line] = &*relayed else { panic!("{logs}") };
    for (field, value) in
        [("notice_id", &*taken.id), ("cut", &taken.id), ("bucket", &taken.bucket), ("key", &taken.key)]
    {
        assert_eq!(line[field], *value, "{field}");
    }
    for line in logs.lines().filter(|line| line.contains("trying again") || line.contains("ended")) {
        assert!(line.contains("\"request_id\":\""), "{line}");
    }
    assert!(line["span"]["request_id"].as_str().is_some_and(|id| id.len() > 8), "{logs}");
    assert!(!logs.contains(SECRET) && !logs.contains("MfKQ9r8G"), "{logs}");
}

#[tokio::test]
async fn i7_without_a_server_the_invocation_fails_within_its_deadline_and_the_next_one_works() {
    let lambda = Lambda::start(Duration::from_millis(900)).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let _function = function(&lambda, &format!("http://{addr}/v1/notices"), &[]);

    let Outcome::Error(error) = lambda.invoke(&put()).await else { panic!("there is no server") };
    assert_eq!(error["errorType"], "NotRelayed");
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.starts_with("1 of 1 records were not relayed: 000102030405060708090a0b0c0d0e0f-s3-"),
        "{message}"
    );

    let test_event = fixture!("test_event");
    let summary = json!({ "relayed": 0, "filtered": 0, "ignored": { "test_events": 1, "not_created": 0 } });
    assert_eq!(lambda.invoke(&test_event).await, Outcome::Response(summary));
}

#[tokio::test]
async fn i7_an_event_that_s3_never_sent_fails_the_invocation() {
    let server = Server::start([]).await;
    let lambda = Lambda::start(Duration::from_secs(30)).await;
    let _function = function(&lambda, &server.url(), &[]);
    let Outcome::Error(error) = lambda.invoke(&json!({ "hello": "world" })).await else {
        panic!("nothing was relayed")
    };
    assert_eq!(error["errorType"], "UnknownEvent");
}

#[tokio::test]
async fn i7_an_event_that_the_server_keeps_refusing_lies_in_the_failure_queue_until_it_is_tried_again() {
    let server = Server::start([Answer::Status(400), Answer::Status(403), Answer::Status(404)]).await;
    let lambda = Lambda::start(Duration::from_secs(30)).await;
    let _function = function(&lambda, &server.url(), &[]);

    lambda.queue(&put()).await;
    lambda.cloud.settled().await.unwrap();
    let [failed] = lambda.cloud.failed_invocations().await.unwrap().try_into().unwrap();
    assert_eq!(failed.tries, 3);
    assert!(failed.error.contains("it answered 404 Not Found"), "{}", failed.error);

    assert_eq!(lambda.cloud.redrive().await.unwrap(), 1);
    lambda.cloud.settled().await.unwrap();
    assert!(lambda.cloud.failed_invocations().await.unwrap().is_empty());
    assert_eq!(server.notices().len(), 4);
}

#[tokio::test]
async fn every_mistake_in_the_environment_is_printed_and_the_exit_code_says_so() {
    let Output { status, stderr, .. } =
        program(&[("SLUICEGATE_NOTIFY_TIMEOUT", "soon")]).output().await.unwrap();
    assert_eq!(status.code(), Some(i32::from(contract::exit::CONFIG)));
    let text = String::from_utf8(stderr).unwrap();
    let names: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["SLUICEGATE_NOTIFY_URL", "SLUICEGATE_NOTIFY_SECRET", "SLUICEGATE_NOTIFY_TIMEOUT"]);
}

#[tokio::test]
async fn outside_lambda_the_program_says_who_starts_it() {
    let output =
        program(&[("SLUICEGATE_NOTIFY_URL", "http://127.0.0.1:1/"), ("SLUICEGATE_NOTIFY_SECRET", SECRET)])
            .output()
            .await
            .unwrap();
    assert_eq!(output.status.code(), Some(i32::from(contract::exit::CONFIG)));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("AWS_LAMBDA_RUNTIME_API") && text.contains("started by AWS Lambda"), "{text}");
}

#[tokio::test]
async fn a_person_gets_help_and_the_name_that_the_program_was_called_by() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("installed-notifier");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_notifier-lambda"), &name).unwrap();
    for (argument, code, said) in [
        ("--help", contract::exit::OK, "SLUICEGATE_NOTIFY_URL"),
        ("--version", contract::exit::OK, "installed-notifier "),
        ("--nonsense", contract::exit::CONFIG, "installed-notifier --help"),
    ] {
        let Output { status, stdout, stderr } =
            Command::new(&name).arg(argument).env_clear().output().await.unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert_eq!(status.code(), Some(i32::from(code)), "{argument}: {text}");
        assert!(text.contains(said) && !text.contains("notifier-lambda"), "{argument}: {text}");
    }
}
