//! The Lambda Runtime API, as far as one function needs it: one event at a time, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;

/// What the function made of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It answered this.
    Response(Value),
    /// It failed with this.
    Error(Value),
}

/// A running Runtime API; it stops when dropped.
pub(crate) struct RuntimeApi {
    addr: SocketAddr,
    events: mpsc::Sender<Value>,
    outcomes: mpsc::Receiver<Outcome>,
    serving: AbortHandle,
}

struct Shared {
    events: Mutex<mpsc::Receiver<Value>>,
    outcomes: mpsc::Sender<Outcome>,
    budget: Duration,
}

impl RuntimeApi {
    /// Starts the API; each invocation may take as long as `budget`.
    pub(crate) async fn start(budget: Duration) -> Self {
        let (events, next) = mpsc::channel(8);
        let (done, outcomes) = mpsc::channel(8);
        let shared = Arc::new(Shared { events: Mutex::new(next), outcomes: done, budget });
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(outcome))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = tokio::spawn(async { axum::serve(listener, app).await }).abort_handle();
        Self { addr, events, outcomes, serving }
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.addr.to_string()
    }

    /// Invokes the function and waits for what becomes of it.
    pub(crate) async fn invoke(&mut self, event: Value) -> Outcome {
        self.events.send(event).await.unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(30), self.outcomes.recv()).await;
        outcome.expect("the function answers").unwrap()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn next_event(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let event = shared.events.lock().await.recv().await.unwrap();
    let deadline = SystemTime::UNIX_EPOCH.elapsed().unwrap() + shared.budget;
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:notifier".to_owned(),
        ),
    ];
    (headers, Json(event))
}

async fn outcome(
    State(shared): State<Arc<Shared>>,
    Path((_, kind)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    // Runtimes send no content type.
    let body = serde_json::from_slice(&body).unwrap();
    let outcome = if kind == "response" { Outcome::Response(body) } else { Outcome::Error(body) };
    shared.outcomes.send(outcome).await.unwrap();
    StatusCode::ACCEPTED
}
