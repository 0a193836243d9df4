//! `POST /v1/store-events`: what stores other than AWS post about their own objects.
//!
//! MinIO, Ceph, versitygw and their like send S3's events to a webhook. A sender is known by a bearer token
//! with a name; one that can send no header has the token in the path, `POST /v1/store-events/TOKEN`, where
//! it stands in the logs of every proxy between, so that it is good for this and for nothing else.
//!
//! What is told of an object is entered as a notice is, under the same rules of buckets, regions and sizes, and
//! 202 comes once all of it is synced (I8). What the agent keeps below its control prefix, test events, and
//! records about anything but new objects are counted and left alone.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use contract::Notice;
use entrance::said;
use http::{HeaderMap, StatusCode, header};
use s3_event::{Keys, Message};
use serde_json::json;

use crate::app::App;
use crate::clock::now_ms;
use crate::error::ApiError;
use crate::inbox::{Origin, Taken};
use crate::notices::{admit, read};
use crate::workers::with_causes;

/// Whose token it is that a request has in its header.
pub(crate) async fn post(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let token = said(&headers);
    answer(&app, token.as_deref(), &headers, body).await
}

/// The same, with the token in the path.
pub(crate) async fn post_to_path(
    State(app): State<App>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&app, Some(&token), &headers, body).await
}

/// What became of a request's records.
#[derive(Debug, Default)]
struct Counts {
    taken: u64,
    repeated: u64,
    ignored: u64,
}

async fn answer(app: &App, token: Option<&str>, headers: &HeaderMap, body: Body) -> Response {
    match take(app, token, headers, body).await {
        Ok(Counts { taken, repeated, ignored }) => {
            let counts = json!({ "taken": taken, "repeated": repeated, "ignored": ignored });
            (StatusCode::ACCEPTED, Json(counts)).into_response()
        }
        Err(error) => {
            app.metrics.store_events.get_or_create(&[("outcome", "refused")]).inc();
            tracing::warn!(
                status = error.status.as_u16(),
                reason = error.message,
                "a store's event is refused"
            );
            let mut response = error.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

async fn take(app: &App, token: Option<&str>, headers: &HeaderMap, body: Body) -> Result<Counts, ApiError> {
    let sender = sender(app, token)?;
    // The token has let the sender in already, so its body may say of itself what it likes: Ceph's says it is
    // a form.
    let body = read(body, headers, app.notices.max_bytes, app.notices.read_timeout).await?;
    let wrong = |reason: String| ApiError::new(StatusCode::BAD_REQUEST, "not_an_event", reason);
    let text = std::str::from_utf8(&body).map_err(|_| wrong("the body is not UTF-8".to_owned()))?;
    let message =
        s3_event::read_posted(text, keys(app, sender)).map_err(|error| wrong(with_causes(&error)))?;
    let Message { records, ignored } = message;
    let mut counts =
        Counts { ignored: (ignored.test_events + ignored.not_created) as u64, ..Counts::default() };
    let mut refused = None;
    // One record that cannot be taken keeps no other out; the sender hears of it, and the rest are repeats then.
    for record in records {
        let taken = match record {
            Ok(notice) if notice.key.starts_with(&app.store_events.control_prefix) => {
                counts.ignored += 1;
                continue;
            }
            Ok(notice) => enter(app, sender, notice).await,
            Err(error) => Err(wrong(error.to_string())),
        };
        match taken {
            Ok(Taken::New) => counts.taken += 1,
            Ok(Taken::Repeated) => counts.repeated += 1,
            // What may be sent again counts before what may not.
            Err(error) if refused.is_none() || error.retry_after_s.is_some() => refused = Some(error),
            Err(_) => {}
        }
    }
    for (outcome, count) in
        [("taken", counts.taken), ("repeated", counts.repeated), ("ignored", counts.ignored)]
    {
        app.metrics.store_events.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }
    refused.map_or(Ok(counts), Err)
}

fn sender<'a>(app: &'a App, token: Option<&str>) -> Result<&'a str, ApiError> {
    let unknown = |message: &str| ApiError::new(StatusCode::UNAUTHORIZED, "token", message);
    if app.store_events.senders.is_empty() {
        return Err(unknown("no store may post events here; name one in store_events.tokens"));
    }
    let token = token.ok_or_else(|| unknown("a store says its token: authorization: Bearer TOKEN"))?;
    app.store_events.senders.holder(token).ok_or_else(|| unknown("the token is not known here"))
}

fn keys(app: &App, sender: &str) -> Option<Keys> {
    let names = |list: &[String]| list.iter().any(|name| name == sender);
    if names(&app.store_events.raw_keys) {
        return Some(Keys::Raw);
    }
    names(&app.store_events.encoded_keys).then_some(Keys::Encoded)
}

async fn enter(app: &App, sender: &str, notice: Notice) -> Result<Taken, ApiError> {
    admit(&app.notices, &notice)?;
    let id = notice.id.clone();
    let (bucket, key) = (notice.bucket.clone(), notice.key.clone());
    let taken = app.inbox.take(notice, id.clone(), Origin::Store, now_ms()).await?;
    tracing::info!(
        notice_id = id,
        sender,
        bucket,
        key,
        repeated = taken == Taken::Repeated,
        "a store's event is taken"
    );
    Ok(taken)
}

#[cfg(test)]
mod tests;
