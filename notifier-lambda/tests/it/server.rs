//! The receiving end: a real HTTP server on a free port that checks every signature and answers as it is told.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use contract::Notice;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Headers, Secret, verify};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::SECRET;

/// What one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This status, and a reason in the body.
    Status(u16),
    /// This status, and the wish to be left alone for so many seconds, or until that date.
    RetryAfter(u16, String),
    /// A redirect to this address.
    Redirect(String),
    /// Nothing, ever.
    Silence,
    /// 202, once so many requests wait for an answer at the same time.
    Together(usize),
}

/// A running server; it stops when dropped.
pub(crate) struct Server {
    addr: SocketAddr,
    requests: Arc<Requests>,
    serving: AbortHandle,
}

struct Requests {
    answers: Mutex<VecDeque<Answer>>,
    notices: Mutex<Vec<Notice>>,
    bodies: Mutex<Vec<String>>,
    secrets: Mutex<Vec<Secret>>,
    peers: Mutex<BTreeSet<SocketAddr>>,
    waiting: watch::Sender<usize>,
}

impl Server {
    /// A server that gives `answers` in turn, and 202 from then on.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let requests = Arc::new(Requests {
            answers: Mutex::new(answers.into_iter().collect()),
            notices: Mutex::default(),
            bodies: Mutex::default(),
            secrets: Mutex::new(vec![SECRET.parse().unwrap()]),
            peers: Mutex::default(),
            waiting: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&requests))
            .into_make_service_with_connect_info::<SocketAddr>();
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

    /// The keys of those notices.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.notices().into_iter().map(|notice| notice.key).collect()
    }

    /// Every body received with a right signature, as it was.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.requests.bodies.lock().unwrap().clone()
    }

    /// How many connections the requests came over.
    pub(crate) fn connections(&self) -> usize {
        self.requests.peers.lock().unwrap().len()
    }

    /// From now on just these secrets count.
    pub(crate) fn set_secrets(&self, secrets: &[&str]) {
        let secrets = secrets.iter().map(|secret| secret.parse().unwrap()).collect();
        *self.requests.secrets.lock().unwrap() = secrets;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State(requests): State<Arc<Requests>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    requests.peers.lock().unwrap().insert(peer);
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let signed = Headers {
        id: header(HEADER_ID),
        timestamp: header(HEADER_TIMESTAMP),
        signature: header(HEADER_SIGNATURE),
    };
    let secrets = requests.secrets.lock().unwrap().clone();
    if let Err(error) = verify(&secrets, signed, &body, now, Duration::from_secs(60)) {
        return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
    }
    let notice = Notice::from_json(&body).unwrap();
    if !notice.id.is_empty() {
        assert_eq!(header(HEADER_ID), Some(&*notice.id));
    }
    assert_eq!(header("content-type"), Some("application/json"));
    requests.notices.lock().unwrap().push(notice);
    requests.bodies.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());

    let answer = requests.answers.lock().unwrap().pop_front().unwrap_or(Answer::Status(202));
    match answer {
        Answer::Status(status) => (StatusCode::from_u16(status).unwrap(), "because").into_response(),
        Answer::RetryAfter(status, when) => {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", when)]).into_response()
        }
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response(),
        Answer::Silence => std::future::pending().await,
        Answer::Together(number) => {
            requests.waiting.send_modify(|waiting| *waiting += 1);
            requests.waiting.subscribe().wait_for(|waiting| *waiting >= number).await.unwrap();
            StatusCode::ACCEPTED.into_response()
        }
    }
}
