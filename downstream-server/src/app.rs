//! The routes, and what holds for all of them.

mod listener;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub(crate) use listener::LimitedListener;

use crate::config::{Config, NoticeConfig, ReadFrom, ReconcileConfig};
use crate::error::ApiError;
use crate::inbox::Inbox;
use crate::live::Live;
use crate::telemetry::Metrics;
use crate::{continuity, notices, read, reconcile, web};

/// What the routes share.
pub(crate) type App = Arc<AppState>;

/// The state of [`router`].
pub(crate) struct AppState {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notices: NoticeConfig,
    pub(crate) read_from: ReadFrom,
    pub(crate) reconcile: ReconcileConfig,
    /// How long a cut may be missing before that is an alarm.
    pub(crate) missing_alarm: Duration,
    /// Wakes the reconciliation.
    pub(crate) asked: Arc<Notify>,
    /// The handler's name.
    pub(crate) handler: &'static str,
    pub(crate) started_ms: i64,
    /// Live streams that may still be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// Cancelled when the server begins to stop.
    pub(crate) stopping: CancellationToken,
}

/// The peer of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl AppState {
    pub(crate) fn new(
        config: &Config,
        inbox: Arc<Inbox>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        handler: &'static str,
        stopping: CancellationToken,
    ) -> App {
        Arc::new(Self {
            inbox,
            live,
            metrics,
            notices: config.notices.clone(),
            read_from: config.read_from,
            reconcile: config.reconcile.clone(),
            missing_alarm: config.missing_alarm,
            asked: Arc::new(Notify::new()),
            handler,
            started_ms: crate::clock::now_ms(),
            streams: Arc::new(Semaphore::new(config.max_streams)),
            stopping,
        })
    }
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let readable = Router::new()
        .route("/v1/objects", get(read::objects))
        .route("/v1/summary", get(read::summary))
        .route("/v1/recent", get(read::recent))
        .route("/v1/stream", get(read::stream))
        .route("/v1/continuity", get(continuity::get))
        .route("/v1/continuity/write-off", post(continuity::write_off))
        .route("/v1/reconcile", get(reconcile::show).post(reconcile::ask))
        .route("/metrics", get(read::metrics))
        .merge(web::routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), only_readers));
    Router::new()
        .route("/v1/notices", post(notices::post))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .merge(readable)
        .fallback(|| async {
            ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            let message = "this path does not take this method; the header allow names those it takes";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        })
        .layer(middleware::map_response(harden))
        .with_state(app)
}

/// Ready means: a notice sent now would be taken.
async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.stopping.is_cancelled() {
        return Err(ApiError::unavailable("stopping", "the server is stopping", 5));
    }
    if app.inbox.failure().is_some() {
        return Err(ApiError::unavailable("storage", "the inbox failed, and the server must restart", 10));
    }
    Ok("ready\n")
}

/// What has arrived is shown to this machine only, unless the configuration says otherwise.
async fn only_readers(
    State(app): State<App>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let allowed = match app.read_from {
        ReadFrom::Anyone => true,
        // A page of another site can make its own name point at this machine; its requests
        // then come from here, but they carry that name.
        ReadFrom::Loopback => peer.ip().to_canonical().is_loopback() && names_an_address(host),
    };
    if allowed {
        return next.run(request).await;
    }
    let message = "this is shown to the server's own machine only; read_from = \"anyone\" shows it to all";
    ApiError::new(StatusCode::FORBIDDEN, "loopback_only", message).into_response()
}

fn names_an_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// Headers that every answer carries.
async fn harden(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, web::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
