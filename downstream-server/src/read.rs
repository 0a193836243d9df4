//! The read API, all of it `GET`:
//!
//! | path | answer |
//! |---|---|
//! | `/v1/objects?state=&before=&limit=` | a page of objects, newest first; `next` is the `before` of the next page |
//! | `/v1/summary` | totals, the rates of the last two minutes, what handles the objects |
//! | `/v1/recent` | the last lines that arrived |
//! | `/v1/stream` | changes as they happen, as server-sent events |
//! | `/metrics` | Prometheus text |

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use http::{StatusCode, header};
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::now_ms;
use crate::error::ApiError;
use crate::inbox::{self, Query, Row};
use crate::live::Message;
use crate::telemetry::Moment;

/// Objects on a page when the caller does not say.
const PAGE: usize = 50;

/// Objects on a page at most.
const MAX_PAGE: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    state: Option<String>,
    before: Option<i64>,
    limit: Option<usize>,
}

pub(crate) async fn objects(
    State(app): State<App>,
    listing: Result<UrlQuery<Listing>, QueryRejection>,
) -> Result<Response, ApiError> {
    let wrong = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "query", message);
    let UrlQuery(listing) = listing.map_err(|error| wrong(error.body_text()))?;
    let state = match listing.state.as_deref() {
        None | Some("") => None,
        Some(word) => Some(inbox::State::parse(word).ok_or_else(|| {
            wrong(format!("state is {word:?}; it is one of owed, fetching, done, dead, gone"))
        })?),
    };
    let limit = listing.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(wrong(format!("limit is {limit}; it is a number from 1 to {MAX_PAGE}")));
    }
    let objects = app.inbox.list(Query { state, before: listing.before, limit }).await?;
    let next = (objects.len() == limit).then(|| objects.last().map(|row| row.id)).flatten();
    Ok(Json(json!({ "objects": objects, "next": next })).into_response())
}

pub(crate) async fn summary(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "handler": app.handler,
        "buckets": app.notices.buckets,
        "signed": !app.notices.secrets.is_empty(),
        "started_ms": app.started_ms,
        "now_ms": now_ms(),
        "totals": app.inbox.totals(),
        "oldest_owed_ms": app.inbox.oldest_owed_ms().await?,
        "rates": app.live.rates(),
    }))
    .into_response())
}

pub(crate) async fn recent(State(app): State<App>) -> Response {
    Json(json!({ "lines": app.live.lines() })).into_response()
}

pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, ApiError> {
    let age_s =
        |since_ms: Option<i64>| since_ms.map_or(0.0, |since| (now_ms() - since).max(0) as f64 / 1000.0);
    let gaps = app.inbox.gaps(app.reconcile.whole).await?;
    let text = app.metrics.scrape(&Moment {
        totals: app.inbox.totals(),
        oldest_owed_seconds: age_s(app.inbox.oldest_owed_ms().await?),
        gaps,
        oldest_missing_seconds: age_s(gaps.oldest_missing_ms),
        missing_alarm: app.missing_too_long(&gaps),
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Sends `object` for each changed row, `tick` each second, and `lines` when the last lines
/// change. A reader that falls behind gets `resync`, and reads the other paths again.
pub(crate) async fn stream(
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        ApiError::unavailable("streams", "as many live streams are open as max_streams allows", 10)
    })?;
    app.metrics.streams.inc();
    let watch = Watch {
        rows: app.inbox.changes(),
        messages: app.live.messages(),
        stopping: app.stopping.clone(),
        open: Open { streams: app.metrics.streams.clone(), _permit: permit },
    };
    let events = stream::unfold(watch, |mut watch| async { Some((Ok(watch.next().await?), watch)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watch {
    rows: Receiver<Arc<Row>>,
    messages: Receiver<Message>,
    stopping: CancellationToken,
    #[expect(dead_code, reason = "held for as long as the stream is open")]
    open: Open,
}

struct Open {
    streams: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.dec();
    }
}

impl Watch {
    /// The next event; `None` when the server is stopping.
    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            () = self.stopping.cancelled() => None,
            row = self.rows.recv() => match row {
                Ok(row) => Some(event("object", &*row)),
                Err(RecvError::Lagged(_)) => Some(event("resync", &())),
                Err(RecvError::Closed) => None,
            },
            message = self.messages.recv() => match message {
                Ok(Message::Tick { totals, rate, oldest_owed_ms }) => {
                    let tick = json!({ "totals": totals, "rate": rate, "oldest_owed_ms": oldest_owed_ms });
                    Some(event("tick", &tick))
                }
                Ok(Message::Lines(lines)) => Some(event("lines", &*lines)),
                Err(RecvError::Lagged(_)) => Some(event("resync", &())),
                Err(RecvError::Closed) => None,
            },
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("numbers and strings always serialize")
}

#[cfg(test)]
mod tests;
