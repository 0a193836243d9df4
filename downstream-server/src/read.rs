//! How things stand and go on, all of it `GET`:
//!
//! | path | answer |
//! |---|---|
//! | `/v1/summary` | totals, the rates of the last two minutes, what handles the objects |
//! | `/v1/recent` | the last events that arrived, or lines of objects that do not keep events apart |
//! | `/v1/stream` | changes as they happen, as server-sent events |
//! | `/metrics` | Prometheus text, or OpenMetrics where `Accept` asks for it |

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use exposition::Scrape;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, header};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::app::{App, OpenStream};
use crate::clock::now_ms;
use crate::error::ApiError;
use crate::inbox::Row;
use crate::live::Message;
use crate::telemetry::Moment;

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

pub(crate) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    let gaps = app.inbox.gaps(app.reconcile.whole).await?;
    let text = app.metrics.scrape(&Moment {
        totals: app.inbox.totals(),
        oldest_owed_seconds: app.ages.owed.of(app.inbox.oldest_owed_ms().await?).as_secs_f64(),
        gaps,
        oldest_missing_seconds: app.ages.missing.of(gaps.oldest_missing_ms).as_secs_f64(),
        missing_alarm: app.missing_too_long(&gaps),
        loss: app.inbox.loss().await?,
    });
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let scrape = Scrape::new(text, accept);
    Ok(([(header::CONTENT_TYPE, scrape.content_type)], scrape.text).into_response())
}

/// Sends `object` for each changed row, `tick` each second, and `lines` when the last lines
/// change. A reader that falls behind gets `resync`, and reads the other paths again.
pub(crate) async fn stream(
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let open = OpenStream::new(&app)?;
    let watch = Watch {
        rows: app.inbox.changes(),
        messages: app.live.messages(),
        stopping: app.stopping.clone(),
        open,
    };
    let events = stream::unfold(watch, |mut watch| async { Some((Ok(watch.next().await?), watch)) });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

struct Watch {
    rows: Receiver<Arc<Row>>,
    messages: Receiver<Message>,
    stopping: CancellationToken,
    #[expect(dead_code, reason = "held for as long as the stream is open")]
    open: OpenStream,
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
