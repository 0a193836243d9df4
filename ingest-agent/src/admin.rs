//! The admin address: metrics, health, flush, and the log level.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | every metric, one snapshot a scrape: Prometheus' text, or OpenMetrics where `Accept` asks for it |
//! | `GET /health/live` | 200 while the process runs at all |
//! | `GET /health/ready` | 200 while sources accept events, else 503 and why |
//! | `POST /v1/flush?timeout=30s` | 200 when every event accepted before is in the store or dead-lettered, with the keys; 504 if that takes longer |
//! | `GET /v1/log-level` | the level in force |
//! | `PUT /v1/log-level` | sets the level to the body, such as `debug` or `info,ingest_agent::sink=debug` |
//!
//! It has no authentication, and listens on loopback unless told otherwise. Heads, idle connections and their number are
//! bounded as those of sources are.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use entrance::http::{HeadLimits, Http, Refusal};
use exposition::Scrape;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config;
use crate::flush::Flusher;
use crate::logging::{LogControl, LogLevel};
use crate::telemetry::Telemetry;

/// Where the agent is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not everything accepts events yet.
    Starting,
    /// All sources accept events.
    Ready,
    /// Shutting down.
    Stopping,
}

/// What the admin address can see and reach.
#[derive(Clone)]
pub struct AdminState {
    /// The metrics.
    pub telemetry: Telemetry,
    /// The sinks.
    pub flusher: Flusher,
    /// Where the agent is.
    pub phase: watch::Receiver<Phase>,
    /// The log level, where this process has one of its own.
    pub log: Option<LogControl>,
    /// How long a flush may take that names no time-out.
    pub flush_timeout: Duration,
}

/// The routes.
pub fn app(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(async || "live\n"))
        .route("/health/ready", get(ready))
        .route("/v1/flush", post(flush))
        .route("/v1/log-level", get(log_level).put(set_log_level))
        .with_state(state)
}

/// What a client may ask of it: what the sources allow by default, and no setting, for whoever asks is an operator.
const LIMITS: HeadLimits = HeadLimits {
    bytes: 16 << 10,
    headers: 100,
    timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(75),
};

/// The most that is read of a connection at once.
const READ_BYTES: usize = 32 << 10;

/// Serves the routes to `max_connections` at a time, until `shutdown`; requests in flight are dropped then, it is the
/// last thing to stop.
pub async fn serve(
    listener: TcpListener,
    max_connections: usize,
    state: AdminState,
    shutdown: CancellationToken,
) {
    let http = Http::new(LIMITS, READ_BYTES, None, Arc::new(refused));
    let routes = app(state);
    let serve = |stream, _| {
        let (http, routes) = (http.clone(), routes.clone());
        async move {
            let answer = |request: Request<_>| {
                let answered = routes.clone().oneshot(request.map(Body::new));
                async { answered.await.unwrap_or_else(|never| match never {}) }
            };
            if let Err(error) = http.serve(stream, &CancellationToken::new(), answer).await {
                tracing::debug!(%error, "a connection to the admin address broke");
            }
        }
    };
    let serving = entrance::listen::serve_each(listener, max_connections, CancellationToken::new(), serve);
    shutdown.run_until_cancelled(serving).await;
}

/// A refusal in the plain text that all answers here have.
fn refused(refusal: &Refusal) -> http::Response<Bytes> {
    let mut response = http::Response::new(format!("{refusal}\n").into());
    *response.status_mut() = refusal.status();
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let scrape = Scrape::new(state.telemetry.scrape(), accept);
    ([(header::CONTENT_TYPE, scrape.content_type)], scrape.text)
}

async fn ready(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    match *state.phase.borrow() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Ready => (StatusCode::OK, "ready\n"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlushQuery {
    timeout: Option<String>,
}

async fn flush(State(state): State<AdminState>, Query(query): Query<FlushQuery>) -> Response {
    let timeout = match query.timeout.as_deref().map(config::parse_duration) {
        None => state.flush_timeout,
        Some(Some(timeout)) => timeout,
        Some(None) => {
            return (StatusCode::BAD_REQUEST, "timeout is not a duration, such as 30s\n").into_response();
        }
    };
    let flushed = state.flusher.flush(timeout).await;
    let status = match (flushed.complete, flushed.ended.is_empty()) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::GATEWAY_TIMEOUT,
        (false, false) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(flushed)).into_response()
}

async fn log_level(State(state): State<AdminState>) -> Response {
    match state.log {
        Some(log) => format!("{}\n", log.level()).into_response(),
        None => NO_LOG.into_response(),
    }
}

async fn set_log_level(State(state): State<AdminState>, body: String) -> Response {
    let Some(log) = state.log else { return NO_LOG.into_response() };
    match LogLevel::parse(body.trim()) {
        Ok(level) => {
            log.set(&level);
            tracing::info!(level = %log.level(), "log level set");
            format!("{}\n", log.level()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

const NO_LOG: (StatusCode, &str) = (StatusCode::NOT_FOUND, "this process has its log set up elsewhere\n");
