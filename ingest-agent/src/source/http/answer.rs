//! Every answer of the source: its status, its text, its headers.

use std::time::Duration;

use bytes::Bytes;
use durable_channel::AppendError;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::decode::BadInput;
use crate::decode::charset::UnsupportedCharset;

/// Why a request was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("method {0} is not allowed: POST events")]
    Method(Method),
    #[error("there is nothing at {0}: POST to /v1/events, or Flume's JSON to /")]
    Path(String),
    #[error("the request has neither Content-Length nor Transfer-Encoding: chunked")]
    NoLength,
    #[error("the body is larger than the limit of {limit} bytes{}", if *.expanded { " when decompressed" } else { "" })]
    BodyTooLarge { limit: usize, expanded: bool },
    #[error("content encoding {0:?} is not supported: send gzip, zstd or none")]
    Encoding(String),
    #[error(transparent)]
    Charset(#[from] UnsupportedCharset),
    #[error(transparent)]
    Input(#[from] BadInput),
    #[error("the body is not valid {0}")]
    Compression(&'static str),
    #[error("the request did not arrive within {} seconds", .0.as_secs_f64())]
    TooSlow(Duration),
    #[error("the request broke off")]
    BrokeOff,
    #[error("too much is on its way to the channel, try again later")]
    NoRoom,
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Method(method) if matches!(*method, Method::TRACE | Method::OPTIONS) => {
                StatusCode::FORBIDDEN
            }
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::NoLength => StatusCode::LENGTH_REQUIRED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding(_) | Self::Charset(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Input(_) | Self::Compression(_) | Self::BrokeOff => StatusCode::BAD_REQUEST,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Append(AppendError::TooLarge { .. } | AppendError::TransactionCapacity { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::NoRoom | Self::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn response(&self, retry_after: Duration) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut response = json(status, &serde_json::json!({ "error": self.to_string() }));
        let headers = response.headers_mut();
        match self {
            Self::Method(_) if status == StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Encoding(_) => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, retry_after.as_secs().max(1).into());
            }
            _ => {}
        }
        response
    }
}

/// `200` as Flume gives it.
pub(super) fn stored() -> Response<Full<Bytes>> {
    Response::new(Full::default())
}

/// `200` with how many events are durable.
pub(super) fn accepted(events: u32) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &serde_json::json!({ "accepted": events }))
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
