//! What the unit tests share: a configuration, an inbox in a folder of its own, requests.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::{App, AppState, Peer, router};
use crate::config::{Config, Start};
use crate::inbox::Inbox;
use crate::live::Live;
use crate::telemetry::Metrics;

/// A configuration for bucket `logs`, with these flags in addition.
pub(crate) fn config(flags: &[&str]) -> Config {
    let args = ["downstream-server", "--notices-buckets", "logs", "--listen", "127.0.0.1:0"];
    match Start::from_args(args.iter().chain(flags), |_| None) {
        Ok(Start::Run(config)) => *config,
        other => panic!("not a configuration to run: {other:?}"),
    }
}

pub(crate) fn inbox(dir: &TempDir) -> Inbox {
    Inbox::open(dir.path(), Arc::new(Metrics::new())).expect("an inbox in an empty folder opens")
}

/// The routes over an inbox, without a listener.
pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) dir: TempDir,
}

impl Site {
    pub(crate) fn new(config: &Config) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let metrics = Arc::new(Metrics::new());
        let inbox = Arc::new(Inbox::open(dir.path(), metrics.clone()).expect("the inbox opens"));
        let live = Arc::new(Live::new(inbox.totals()));
        let app = AppState::new(config, inbox, live, metrics, "log", CancellationToken::new());
        Self { app, dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let mut request = request;
        let peer = Peer("127.0.0.1:5000".parse().expect("an address"));
        if request.extensions().get::<ConnectInfo<Peer>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        router(self.app.clone()).oneshot(request).await.expect("the routes never fail")
    }

    /// Sends a request and reads the whole answer as text.
    pub(crate) async fn ask(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.send(request).await;
        (answer.status(), text(answer).await)
    }
}

pub(crate) async fn text(answer: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A notice as JSON in a request.
pub(crate) fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/notices")
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a request")
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost:8090").body(Body::empty()).expect("a request")
}
