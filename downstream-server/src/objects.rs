//! The objects in the inbox:
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/objects?state=&bucket=&prefix=&search=&channel=&from_ms=&until_ms=&before=&limit=` | a page of objects, newest first; `next` is the `before` of the next page |
//! | `GET /v1/objects/{id}` | one object |
//! | `GET /v1/objects/{id}/content` | its bytes as stored, as a download |
//! | `POST /v1/dead/{id}/replay` | a dead or gone object is owed again |
//! | `POST /v1/replay` | so are all of a state, a key prefix, a time |

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::response::{IntoResponse, Response};
use contract::ChannelId;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;

use crate::app::App;
use crate::clock::now_ms;
use crate::error::ApiError;
use crate::fetch::{FetchError, Verdict};
use crate::inbox::{self, Query, Row, Selection};
use crate::notices::json_body;

/// Objects on a page when the caller does not say.
const PAGE: usize = 50;

/// Objects on a page at most.
const MAX_PAGE: usize = 500;

/// Longest text that is searched for, in bytes: longer than any key.
const MAX_TEXT: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    state: Option<String>,
    bucket: Option<String>,
    prefix: Option<String>,
    search: Option<String>,
    channel: Option<String>,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
    before: Option<i64>,
    limit: Option<usize>,
}

fn wrong(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "query", message)
}

fn state(word: &str) -> Result<inbox::State, ApiError> {
    inbox::State::parse(word)
        .ok_or_else(|| wrong(format!("state is {word:?}; it is one of owed, fetching, done, dead, gone")))
}

/// Databases hold no zero byte in a text, and no key has one.
fn text(name: &str, text: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.len() > MAX_TEXT || text.contains('\0') {
        return Err(wrong(format!("{name} has more than {MAX_TEXT} bytes, or a zero byte")));
    }
    Ok(Some(text))
}

pub(crate) async fn list(
    State(app): State<App>,
    listing: Result<UrlQuery<Listing>, QueryRejection>,
) -> Result<Response, ApiError> {
    let UrlQuery(listing) = listing.map_err(|error| wrong(error.body_text()))?;
    let limit = listing.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(wrong(format!("limit is {limit}; it is a number from 1 to {MAX_PAGE}")));
    }
    let channel = listing.channel.filter(|channel| !channel.is_empty());
    let channel = channel.map(|channel| channel.parse::<ChannelId>()).transpose();
    let channel = channel.map_err(|_| wrong("channel is 32 hexadecimal digits".to_owned()))?;
    let query = Query {
        state: listing.state.as_deref().filter(|word| !word.is_empty()).map(state).transpose()?,
        bucket: text("bucket", listing.bucket)?,
        prefix: text("prefix", listing.prefix)?,
        search: text("search", listing.search)?,
        channel: channel.map(|channel| channel.to_string()),
        from_ms: listing.from_ms,
        until_ms: listing.until_ms,
        before: listing.before,
        limit,
    };
    let objects = app.inbox.list(query).await?;
    let next = (objects.len() == limit).then(|| objects.last().map(|row| row.id)).flatten();
    Ok(Json(json!({ "objects": objects, "next": next })).into_response())
}

pub(crate) async fn one(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Json<Row>, ApiError> {
    found(&app, id).await.map(Json)
}

async fn found(app: &App, id: Result<Path<i64>, PathRejection>) -> Result<Row, ApiError> {
    let row = match id {
        Ok(Path(id)) => app.inbox.row(id).await?,
        Err(_) => None,
    };
    row.ok_or_else(no_such_object)
}

fn no_such_object() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_such_object",
        "the inbox has no object of this number, or no longer",
    )
}

/// The object as it lies in the store, unchecked: whoever takes it sees what the handler would.
pub(crate) async fn content(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
) -> Result<Response, ApiError> {
    let row = found(&app, id).await?;
    let place = row.place();
    let store =
        app.stores.get(&place.bucket).ok_or_else(|| unread(&FetchError::Bucket(place.bucket.clone())))?;
    let patience = app.fetch.read_timeout;
    let got = tokio::time::timeout(patience, store.get(&place.key, place.version_id.as_deref(), None)).await;
    let object = got
        .map_err(|_| unread(&FetchError::Timeout(patience)))?
        .map_err(|error| unread(&FetchError::Store(error)))?;
    let pieces = futures_util::stream::unfold(object.body, move |mut body| async move {
        let piece = match tokio::time::timeout(patience, body.next()).await {
            Ok(piece) => piece?,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        Some((piece, body))
    });
    let name = place.key.rsplit('/').next().unwrap_or_default();
    let disposition = format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    // Never a type that a browser would show: it is whatever somebody sent.
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Some(length) = object.info.length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_str(&disposition).expect("percent-encoding leaves visible ASCII alone"),
    );
    Ok(response)
}

fn unread(error: &FetchError) -> ApiError {
    if error.verdict() == Verdict::Missing {
        return ApiError::new(StatusCode::NOT_FOUND, "no_such_content", "the store holds the object no more");
    }
    tracing::warn!(%error, "reading an object for its download");
    ApiError::new(StatusCode::BAD_GATEWAY, "store", "the store did not give the object; the log says why")
}

pub(crate) async fn replay_one(
    State(app): State<App>,
    id: Result<Path<i64>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    json_body(&app.notices, &headers, body).await?;
    let row = found(&app, id).await?;
    if !matches!(row.state, inbox::State::Dead | inbox::State::Gone) {
        let message = format!("the object is {}, neither dead nor gone", row.state.as_str());
        return Err(ApiError::new(StatusCode::CONFLICT, "not_dead", message));
    }
    let row = app.inbox.replay(row.id, now_ms()).await?.ok_or_else(no_such_object)?;
    Ok((StatusCode::ACCEPTED, Json(row)).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    states: Vec<String>,
    bucket: Option<String>,
    key_prefix: Option<String>,
    from_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// Goes through the whole inbox, some rows at a time; asking again after a break does no harm.
pub(crate) async fn replay_matching(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = json_body(&app.notices, &headers, body).await?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| {
        wrong(format!("the body is not {{states, bucket, key_prefix, from_ms, until_ms}}: {error}"))
    })?;
    let states = wanted.states.iter().map(|word| state(word)).collect::<Result<Vec<_>, _>>()?;
    if states.is_empty()
        || states.iter().any(|state| matches!(state, inbox::State::Owed | inbox::State::Fetching))
    {
        return Err(wrong("states are some of dead, gone and done".to_owned()));
    }
    let mut selection = Selection {
        states,
        bucket: text("bucket", wanted.bucket)?,
        key_prefix: text("key_prefix", wanted.key_prefix)?,
        from_ms: wanted.from_ms,
        until_ms: wanted.until_ms,
        after: 0,
    };
    let narrowed = (&selection.bucket, &selection.key_prefix) != (&None, &None)
        || (selection.from_ms, selection.until_ms) != (None, None);
    if selection.states.contains(&inbox::State::Done) && !narrowed {
        // Everything that ever arrived is nothing to ask for by leaving something out.
        return Err(wrong(
            "to replay done objects, say of which bucket, key_prefix, from_ms or until_ms".to_owned(),
        ));
    }
    let now_ms = now_ms();
    let mut objects = 0;
    loop {
        let replayed = app.inbox.replay_matching(selection.clone(), now_ms).await?;
        objects += replayed.objects;
        match replayed.next {
            Some(after) => selection.after = after,
            None => break,
        }
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "objects": objects }))).into_response())
}

#[cfg(test)]
mod tests;
