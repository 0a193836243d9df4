//! `GET /v1/continuity`: whether anything is missing or double, for each channel and sink.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/continuity?after=&limit=` | a page of channels and sinks; `next` is the `after` of the next page |
//! | `POST /v1/continuity/write-off` | declares missing cuts as not to come: `{"channel", "sink", "first", "last"}` |

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::response::{IntoResponse, Response};
use contract::{ChannelId, CutId, SinkName};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::clock::now_ms;
use crate::error::ApiError;
use crate::inbox::Gaps;
use crate::notices::json_body;

/// Channels and sinks on a page when the caller does not say, and at most.
const PAGE: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn get(
    State(app): State<App>,
    paging: Result<UrlQuery<Paging>, QueryRejection>,
) -> Result<Response, ApiError> {
    let wrong = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "query", message);
    let UrlQuery(paging) = paging.map_err(|error| wrong(error.body_text()))?;
    let limit = paging.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(wrong(format!("limit is {limit}; it is a number from 1 to {PAGE}")));
    }
    let after = paging.after.unwrap_or_default();
    let (channel, sink) = after.split_once('-').unwrap_or((&after, ""));
    let after = (channel.to_owned(), sink.to_owned());
    let sinks = app.inbox.continuity(after, limit, app.reconcile.whole).await?;
    let next = (sinks.len() == limit)
        .then(|| sinks.last().map(|last| format!("{}-{}", last.channel, last.sink)))
        .flatten();
    let gaps = app.inbox.gaps(app.reconcile.whole).await?;
    Ok(Json(json!({
        "now_ms": now_ms(),
        "alarm": app.missing_too_long(&gaps),
        "alarm_after_ms": app.missing_alarm.as_millis() as u64,
        "missing_cuts": gaps.missing_cuts,
        "forked_cuts": gaps.forked_cuts,
        "differing_runs": gaps.differing_runs,
        "oldest_missing_ms": gaps.oldest_missing_ms,
        "inbox_lost": app.inbox.loss().await?,
        "sinks": sinks,
        "next": next,
    }))
    .into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteOff {
    channel: ChannelId,
    sink: SinkName,
    first: u64,
    last: u64,
}

pub(crate) async fn write_off(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json_body(&app.notices, &headers, body).await?;
    let wrong = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "write_off", message);
    let wanted: WriteOff = serde_json::from_slice(&body)
        .map_err(|error| wrong(format!("the body is not {{channel, sink, first, last}}: {error}")))?;
    let first = CutId { channel: wanted.channel, sink: wanted.sink, number: wanted.first };
    let cuts = app.inbox.write_off(first.clone(), wanted.last, now_ms()).await?;
    if cuts == 0 {
        let message = format!("none of cuts {} to {} of this sink is missing", wanted.first, wanted.last);
        return Err(wrong(message));
    }
    tracing::warn!(first = %first, last = wanted.last, cuts, "missing cuts are written off");
    Ok(Json(json!({ "written_off": cuts })).into_response())
}

impl crate::app::AppState {
    /// Whether a cut is missing for longer than one may be on its way.
    pub(crate) fn missing_too_long(&self, gaps: &Gaps) -> bool {
        self.ages.missing.of(gaps.oldest_missing_ms) > self.missing_alarm
    }
}

#[cfg(test)]
mod tests;
