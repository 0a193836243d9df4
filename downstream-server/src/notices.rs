//! `POST /v1/notices`: from a request to an entry in the inbox.
//!
//! The checks run from the cheap to the dear, and nothing of a body is looked into before its
//! signature is right. The answer to a good notice is 202, and it is given only once the entry
//! is synced: the sender may forget it then (I8).

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Headers, verify};
use contract::{Notice, NoticeError};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use crate::app::App;
use crate::clock::now_ms;
use crate::config::NoticeConfig;
use crate::error::ApiError;
use crate::inbox::Taken;

/// Characters of a sender's id that are kept.
const MAX_ID_CHARS: usize = 128;

/// Takes one notice.
pub(crate) async fn post(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let answer = take(&app, &headers, body).await;
    let word = match &answer {
        Ok((Taken::New, _)) => "accepted",
        Ok((Taken::Repeated, _)) => "repeated",
        Err(error) if error.retry_after_s.is_some() => "deferred",
        Err(_) => "refused",
    };
    app.metrics.notices.get_or_create(&[("answer", word)]).inc();
    match answer {
        Ok((_, id)) => (StatusCode::ACCEPTED, Json(json!({ "status": word, "id": id }))).into_response(),
        Err(error) => {
            // The id is not proven to be the sender's own before the signature is; it still
            // helps to find the notice in the sender's log.
            let id = header(&headers, HEADER_ID).map(shorten);
            tracing::warn!(
                notice_id = id,
                status = error.status.as_u16(),
                reason = error.message,
                "notice {word}"
            );
            error.into_response()
        }
    }
}

async fn take(app: &App, headers: &HeaderMap, body: Body) -> Result<(Taken, String), ApiError> {
    let config = &app.notices;
    let body = json_body(config, headers, body).await?;
    check_signature(config, headers, &body, now_ms())?;
    let notice = Notice::from_json(&body).map_err(|error| not_a_notice(&error))?;
    admit(config, &notice)?;
    let id = notice_id(headers, &notice);
    let (bucket, key) = (notice.bucket.clone(), notice.key.clone());
    let taken = app.inbox.put(notice, id.clone(), now_ms()).await?;
    tracing::info!(notice_id = id, bucket, key, repeated = taken == Taken::Repeated, "notice taken");
    Ok((taken, id))
}

/// Whether this server takes notices of this bucket and region.
pub(crate) fn admit(config: &NoticeConfig, notice: &Notice) -> Result<(), ApiError> {
    if !config.buckets.contains(&notice.bucket) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "bucket_not_allowed",
            format!("notices of bucket {:?} are not taken here", shorten(&notice.bucket)),
        ));
    }
    if let Some(region) = &notice.region
        && !config.regions.is_empty()
        && !config.regions.contains(region)
    {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "region_not_allowed",
            format!("notices of region {:?} are not taken here", shorten(region)),
        ));
    }
    Ok(())
}

/// A body that says it is JSON, within the limits of a notice's.
pub(crate) async fn json_body(
    config: &NoticeConfig,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, ApiError> {
    expect_json(headers)?;
    read(body, headers, config.max_bytes, config.read_timeout).await
}

/// Asking for JSON also keeps web pages of other sites out: a browser does not send this type
/// across sites without asking first.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = header(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "send the body with the header content-type: application/json",
        ));
    }
    let charset = kind.split(';').skip(1).filter_map(|parameter| parameter.split_once('=')).find_map(
        |(name, value)| {
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        },
    );
    match charset.as_deref() {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(charset) => {
            let message = format!("charset {:?} is not supported: JSON is UTF-8", shorten(charset));
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "charset", message))
        }
    }
}

pub(crate) async fn read(
    body: Body,
    headers: &HeaderMap,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes (notices.max_bytes)");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let announced = header(headers, header::CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    if announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(too_large()),
        Ok(Err(_)) => {
            Err(ApiError::new(StatusCode::BAD_REQUEST, "incomplete", "the body ended before it was complete"))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", patience.as_secs_f32());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}

fn check_signature(
    config: &NoticeConfig,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> Result<(), ApiError> {
    if config.secrets.is_empty() {
        return Ok(());
    }
    let lines = headers.get_all(HEADER_SIGNATURE).iter().filter_map(|line| line.to_str().ok());
    let signatures = lines.collect::<Vec<_>>().join(" ");
    let signed = Headers {
        id: header(headers, HEADER_ID),
        timestamp: header(headers, HEADER_TIMESTAMP),
        signature: Some(&*signatures).filter(|signatures| !signatures.is_empty()),
    };
    let now_s = u64::try_from(now_ms / 1000).unwrap_or_default();
    verify(&config.secrets, signed, body, now_s, config.clock_tolerance)
        .map_err(|error| ApiError::new(StatusCode::UNAUTHORIZED, "signature", error.to_string()))
}

fn not_a_notice(error: &NoticeError) -> ApiError {
    let message = match error {
        NoticeError::Json(json) => format!("the body is not a notice: {json}"),
        other => other.to_string(),
    };
    ApiError::new(StatusCode::BAD_REQUEST, "not_a_notice", message)
}

/// The id in all logs about this notice: the sender's, or else one made of what it names.
fn notice_id(headers: &HeaderMap, notice: &Notice) -> String {
    let given = header(headers, HEADER_ID).unwrap_or(&notice.id);
    if given.is_empty() { notice.idempotency_id() } else { shorten(given).to_owned() }
}

fn shorten(text: &str) -> &str {
    text.char_indices().nth(MAX_ID_CHARS).map_or(text, |(end, _)| &text[..end])
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
