//! The routes, and what holds for all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access, TokenFileError};
use crate::clock::Ages;
use crate::config::{Config, FetchConfig, NoticeConfig, ReconcileConfig, StoreEventsConfig};
use crate::error::ApiError;
use crate::fetch::Stores;
use crate::inbox::Inbox;
use crate::live::Live;
use crate::telemetry::Metrics;
use crate::{continuity, events, notices, objects, openapi, read, reconcile, store_events, web};

/// What the routes share.
pub(crate) type App = Arc<AppState>;

/// The state of [`router`].
pub(crate) struct AppState {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stores: Stores,
    pub(crate) fetch: FetchConfig,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notices: NoticeConfig,
    pub(crate) store_events: StoreEventsConfig,
    pub(crate) access: Access,
    pub(crate) reconcile: ReconcileConfig,
    /// How long a cut may be missing before that is an alarm.
    pub(crate) missing_alarm: Duration,
    /// Wakes the reconciliation.
    pub(crate) asked: Arc<Notify>,
    /// The largest event that `GET /v1/events` sends.
    pub(crate) max_event_bytes: usize,
    /// The handler's name.
    pub(crate) handler: &'static str,
    pub(crate) started_ms: i64,
    pub(crate) ages: Ages,
    /// Live streams that may still be opened.
    pub(crate) streams: Arc<Semaphore>,
    /// Cancelled when the server begins to stop.
    pub(crate) stopping: CancellationToken,
}

/// The peer of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The place of one live stream, free again when it is dropped.
pub(crate) struct OpenStream {
    streams: Gauge,
    _place: OwnedSemaphorePermit,
}

impl OpenStream {
    pub(crate) fn new(app: &AppState) -> Result<Self, ApiError> {
        let place = app.streams.clone().try_acquire_owned().map_err(|_| {
            ApiError::unavailable("streams", "as many live streams are open as max_streams allows", 10)
        })?;
        app.metrics.streams.inc();
        Ok(Self { streams: app.metrics.streams.clone(), _place: place })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

impl AppState {
    pub(crate) fn new(
        config: &Config,
        inbox: Arc<Inbox>,
        stores: Stores,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        handler: &'static str,
        stopping: CancellationToken,
    ) -> Result<App, TokenFileError> {
        let access = Access::new(&config.tokens, config.read_from, inbox.dir())?;
        Ok(Arc::new(Self {
            inbox,
            stores,
            fetch: config.fetch.clone(),
            live,
            metrics,
            notices: config.notices.clone(),
            store_events: config.store_events.clone(),
            access,
            reconcile: config.reconcile.clone(),
            missing_alarm: config.missing_alarm,
            asked: Arc::new(Notify::new()),
            max_event_bytes: config.max_event_bytes,
            handler,
            started_ms: crate::clock::now_ms(),
            ages: Ages::default(),
            streams: Arc::new(Semaphore::new(config.max_streams)),
            stopping,
        }))
    }
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let readable = Router::new()
        .route("/v1/events", get(events::get))
        .route("/v1/objects", get(objects::list))
        .route("/v1/objects/{id}", get(objects::one))
        .route("/v1/objects/{id}/content", get(objects::content))
        .route("/v1/summary", get(read::summary))
        .route("/v1/recent", get(read::recent))
        .route("/v1/stream", get(read::stream))
        .route("/v1/continuity", get(continuity::get))
        .route("/v1/reconcile", get(reconcile::show))
        .route("/v1/openapi.json", get(openapi::get))
        .route("/metrics", get(read::metrics))
        .merge(web::routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), access::readers));
    let changing = Router::new()
        .route("/v1/dead/{id}/replay", post(objects::replay_one))
        .route("/v1/replay", post(objects::replay_matching))
        .route("/v1/continuity/write-off", post(continuity::write_off))
        .route("/v1/reconcile", post(reconcile::ask))
        .route_layer(middleware::from_fn_with_state(app.clone(), access::operators));
    Router::new()
        .route("/v1/notices", post(notices::post))
        .route("/v1/store-events", post(store_events::post))
        .route("/v1/store-events/{token}", post(store_events::post_to_path))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .merge(readable)
        .merge(changing)
        .fallback(|| async {
            ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
        })
        .method_not_allowed_fallback(|| async {
            let message = "this path does not take this method; the header allow names those it takes";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        })
        .layer(DefaultBodyLimit::max(app.notices.max_bytes))
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
    // Why is ours to know: it is in the log.
    let taken = app.inbox.ready().await;
    taken.map_err(|_| ApiError::unavailable("storage", "the inbox could not be written just now", 5))?;
    Ok("ready\n")
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
