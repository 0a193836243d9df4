//! Whatever shape an event has and whatever comes of it: no log line and no answer shows a secret, at the
//! level that shows the most, of the program and of every library in it.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Router;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::task::JoinHandle;

use crate::lambda::{Lambda, Outcome};
use crate::program::function;
use crate::server::{Answer, Server};
use crate::{SECRET, fixture};

/// What signs a request to Secrets Manager.
const ACCESS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE12"),
    ("AWS_SECRET_ACCESS_KEY", "hidden/secret/access/key/of/this/test"),
    ("AWS_SESSION_TOKEN", "hidden-session-token-of-this-test"),
];

/// A running function whose log is read as it comes: a pipe that nobody reads would stop it.
struct Running {
    function: Child,
    log: JoinHandle<String>,
}

impl Running {
    fn start(lambda: &Lambda, url: &str, settings: &[(&str, &str)]) -> Self {
        let mut function = function(lambda, url, settings);
        let mut stderr = function.stderr.take().unwrap();
        let log = tokio::spawn(async move {
            let mut text = String::new();
            stderr.read_to_string(&mut text).await.unwrap();
            text
        });
        Self { function, log }
    }

    /// Everything that it logged.
    async fn end(mut self) -> String {
        self.function.kill().await.unwrap();
        self.log.await.unwrap()
    }
}

/// One message of a queue.
fn message(id: usize, body: &str) -> Value {
    let id = format!("message-{id}");
    json!({ "messageId": id, "receiptHandle": "r", "body": body, "attributes": {}, "eventSource": "aws:sqs" })
}

fn queue<'a>(bodies: impl IntoIterator<Item = &'a str>) -> Value {
    let messages = bodies.into_iter().enumerate().map(|(id, body)| message(id, body));
    json!({ "Records": messages.collect::<Vec<_>>() })
}

/// An S3 event about one object.
fn put(key: &str) -> String {
    let mut event = fixture!("put");
    event["Records"][0]["s3"]["object"]["key"] = json!(key);
    event.to_string()
}

fn by_sns(message: &str) -> String {
    json!({ "Type": "Notification", "MessageId": "m", "Message": message }).to_string()
}

/// Events of every shape: what S3, SQS, SNS and EventBridge send, empty, huge, mixed, and what nobody sends.
fn shapes() -> Vec<Value> {
    let bridge = fixture!("eventbridge").to_string();
    let many: Vec<String> = (0..500).map(|number| put(&format!("many/{number}"))).collect();
    let long = put(&"k".repeat(1024));
    let mixed = [&put("mixed"), "", "no JSON", "{}", &by_sns(&put("by-sns")), &by_sns("{"), &bridge, &long];
    vec![
        fixture!("put"),
        fixture!("several_records"),
        fixture!("removed"),
        fixture!("test_event"),
        fixture!("sns"),
        fixture!("eventbridge"),
        fixture!("sqs_batch"),
        fixture!("sqs_sns"),
        fixture!("sqs_fifo"),
        queue([]),
        queue(mixed),
        queue([by_sns(&bridge).as_str(), &by_sns(&by_sns(&put("twice")))]),
        queue(many.iter().map(String::as_str)),
        queue(["", "[]", "\u{feff}"]),
        json!({ "Records": [{ "eventSource": "aws:sqs", "body": "without an id" }] }),
        json!({ "Records": "s3" }),
        json!({}),
        json!([]),
        json!("text"),
        json!(null),
    ]
}

/// Everything that nobody may read, in every form in which it could stand somewhere.
fn secrets() -> Vec<String> {
    let encoded = SECRET.strip_prefix("whsec_").unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    let listed = format!("{bytes:?}");
    let hexadecimal = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    // A signature is good for as long as the server's clock allows.
    let signature = "v1,".to_owned();
    let access = ACCESS[1..].iter().map(|(_, value)| (*value).to_owned());
    [encoded.to_owned(), listed, hexadecimal, signature].into_iter().chain(access).collect()
}

/// An endpoint that gives the secret to whoever asks.
async fn secrets_manager() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = json!({ "Name": "n", "SecretString": SECRET }).to_string();
    let app = Router::new().fallback(async || answer);
    tokio::spawn(async { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn no_secret_stands_in_any_log_line_or_answer_whatever_shape_an_event_has() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SECRET).unwrap();
    let path = file.path().to_str().unwrap();
    let manager = secrets_manager().await;
    let in_file = [("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", path)];
    let in_manager = [
        ("SLUICEGATE_NOTIFY_SECRET", ""),
        ("SLUICEGATE_NOTIFY_SECRET_ID", "the-secret"),
        ("SLUICEGATE_NOTIFY_SECRET_TTL", "1ms"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", &manager),
    ];
    for (place, format) in [(&[][..], "json"), (&in_file, "text"), (&in_manager, "json")] {
        // The server refuses a few requests in every way that there is, and takes the rest.
        let refusals = [503, 401, 400, 429, 403, 404, 422, 500].map(Answer::Status);
        let server = Server::start(refusals).await;
        let lambda = Lambda::start(Duration::from_secs(30)).await;
        let settings = [("SLUICEGATE_LOG_LEVEL", "trace"), ("SLUICEGATE_LOG_FORMAT", format)];
        let function = Running::start(&lambda, &server.url(), &[place, &settings, &ACCESS].concat());
        let mut told = String::new();
        for event in shapes() {
            match lambda.invoke(&event).await {
                Outcome::Response(answer) | Outcome::Error(answer) => told.push_str(&answer.to_string()),
            }
        }
        told.push_str(&function.end().await);
        assert!(told.contains("TRACE") && told.contains("trying again"), "the log shows all there is");
        for secret in secrets() {
            let at = told.find(&secret).map(|at| &told[at.saturating_sub(300)..(at + 100).min(told.len())]);
            assert_eq!(at, None, "{secret} is told");
        }
    }
}

#[tokio::test]
async fn i7_of_a_mixed_batch_what_can_be_read_is_relayed_and_what_cannot_comes_back() {
    let server = Server::start([]).await;
    let lambda = Lambda::start(Duration::from_secs(30)).await;
    let function = Running::start(&lambda, &server.url(), &[]);
    let bridge = fixture!("eventbridge").to_string();
    let several = fixture!("several_records").to_string();
    let bodies = [
        put("a"),
        String::new(),
        by_sns(&put("b")),
        "no JSON".to_owned(),
        bridge.clone(),
        by_sns("{"),
        by_sns(&bridge),
        several,
        r#"{"Records":[{"eventSource":"aws:s3","s3":{"bucket":{"name":"b"}}}]}"#.to_owned(),
        r#"{"Records":[]}"#.to_owned(),
    ];
    let outcome = lambda.invoke(&queue(bodies.iter().map(String::as_str))).await;
    let back = [1, 3, 5, 8].map(|id| json!({ "itemIdentifier": format!("message-{id}") }));
    assert_eq!(outcome, Outcome::Response(json!({ "batchItemFailures": back })));
    let mut keys = server.keys();
    keys.sort();
    assert_eq!(keys, ["1.txt", "2.txt", "3.txt", "a", "b", "example-key", "example-key"]);

    // Nothing in it is nothing to do; a batch of which nothing can be read fails whole.
    assert_eq!(
        lambda.invoke(&json!({ "Records": [] })).await,
        Outcome::Response(json!({
            "relayed": 0, "filtered": 0, "ignored": { "test_events": 0, "not_created": 0 }
        }))
    );
    assert!(matches!(lambda.invoke(&queue(["", "x"])).await, Outcome::Error(_)));
    let many: Vec<String> = (0..500).map(|number| put(&format!("many/{number}"))).collect();
    let outcome = lambda.invoke(&queue(many.iter().map(String::as_str))).await;
    assert_eq!(outcome, Outcome::Response(json!({ "batchItemFailures": [] })));
    assert_eq!(server.keys().len(), 507);
    function.end().await;
}
