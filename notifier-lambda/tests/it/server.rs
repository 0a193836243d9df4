//! The receiving end: a real HTTP server on a free port that checks every signature and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use contract::Notice;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Headers, verify};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::SECRET;

/// What one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status, and a reason in the body.
    Status(u16),
    /// This status, and the wish to be left alone for so many seconds.
    RetryAfter(u16, u64),
    /// A redirect to this address.
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    addr: SocketAddr,
    requests: Arc<Requests>,
    serving: AbortHandle,
}

#[derive(Default)]
struct Requests {
    answers: Mutex<VecDeque<Answer>>,
    notices: Mutex<Vec<Notice>>,
}

impl Server {
    /// A server that gives `answers` in turn, and 202 from then on.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let requests =
            Arc::new(Requests { answers: Mutex::new(answers.into_iter().collect()), ..Requests::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new().fallback(receive).with_state(Arc::clone(&requests));
        let serving = tokio::spawn(async { axum::serve(listener, app).await }).abort_handle();
        Self { addr, requests, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1/notices", self.addr)
    }

    /// Every notice received, in order, whatever the answer was.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.requests.notices.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(requests): State<Arc<Requests>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signed = Headers {
        id: header(HEADER_ID),
        timestamp: header(HEADER_TIMESTAMP),
        signature: header(HEADER_SIGNATURE),
    };
    if let Err(error) = verify(&[SECRET.parse().unwrap()], signed, &body, now, Duration::from_secs(60)) {
        return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
    }
    let notice = Notice::from_json(&body).unwrap();
    assert_eq!(header(HEADER_ID), Some(&*notice.id));
    assert_eq!(header("content-type"), Some("application/json"));
    requests.notices.lock().unwrap().push(notice);

    let answer = requests.answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(202));
    match answer {
        Answer::Status(status) => (StatusCode::from_u16(status).unwrap(), "because").into_response(),
        Answer::RetryAfter(status, seconds) => {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", seconds.to_string())]).into_response()
        }
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Answer::Silence => std::future::pending().await,
    }
}
