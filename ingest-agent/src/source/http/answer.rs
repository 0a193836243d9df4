//! Every answer of the source: its status, its text, its headers.

use std::time::Duration;

use bytes::Bytes;
use durable_channel::{AppendError, Appended};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::decode::BadInput;
use crate::decode::charset::UnsupportedCharset;
use crate::source::intake::{KeyedError, Stored};
use crate::source::key::BadKey;

/// On the answer to a request whose events were stored before.
const REPEAT: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Why a request was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this source asks for a token: send Authorization: Bearer TOKEN")]
    NoToken,
    #[error("the token in the header Authorization is not known here")]
    WrongToken,
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
    #[error(
        "the body was compressed with a zstd window of {window} bytes, and the limit is {limit} bytes: compress it without --long"
    )]
    Window { window: u64, limit: u64 },
    #[error("the request did not arrive within {} seconds", .0.as_secs_f64())]
    TooSlow(Duration),
    #[error("the request broke off")]
    BrokeOff,
    #[error("too much is on its way to the channel, try again later")]
    NoRoom,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Key(#[from] BadKey),
    #[error(transparent)]
    Keyed(#[from] KeyedError),
}

/// What a request that is stored is answered.
pub(super) enum Answered {
    /// How many events were stored.
    Events(u32),
    /// What is stored under the request's key.
    Keyed(Stored),
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::Method(method) if matches!(*method, Method::TRACE | Method::OPTIONS) => {
                StatusCode::FORBIDDEN
            }
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::NoLength => StatusCode::LENGTH_REQUIRED,
            Self::BodyTooLarge { .. } | Self::Window { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding(_) | Self::Charset(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Input(_) | Self::Compression(_) | Self::BrokeOff | Self::Key(_) => StatusCode::BAD_REQUEST,
            Self::Keyed(KeyedError::OtherRequest) => StatusCode::CONFLICT,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Append(error) | Self::Keyed(KeyedError::Append(error)) => match error {
                AppendError::TooLarge { .. } | AppendError::TransactionCapacity { .. } => {
                    StatusCode::PAYLOAD_TOO_LARGE
                }
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
            Self::NoRoom | Self::Keyed(KeyedError::Unkept(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn response(&self, retry_after: Duration) -> Response<Full<Bytes>> {
        let status = self.status();
        let mut response = json(status, &serde_json::json!({ "error": self.to_string() }));
        let headers = response.headers_mut();
        match self {
            Self::NoToken | Self::WrongToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
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

/// The answer to what was refused before anybody looked at its path.
pub(super) fn refused(refusal: &entrance::http::Refusal) -> Response<Bytes> {
    let mut response = Response::new(serde_json::json!({ "error": refusal.to_string() }).to_string().into());
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `200` as Flume gives it.
pub(super) fn stored(answered: &Answered) -> Response<Full<Bytes>> {
    marked(Response::new(Full::default()), answered)
}

/// `200` with how many events are durable, and of a request with a key also where, and whether they were before.
pub(super) fn accepted(answered: &Answered) -> Response<Full<Bytes>> {
    let body = match answered {
        Answered::Events(events) => serde_json::json!({ "accepted": events }),
        Answered::Keyed(Stored { events, repeat, positions }) => {
            let position = |(channel, appended): &(String, Appended)| {
                let place = serde_json::json!({ "first": appended.first, "count": appended.count });
                (channel.clone(), place)
            };
            let positions: serde_json::Map<_, _> = positions.iter().map(position).collect();
            serde_json::json!({ "accepted": events, "repeat": repeat, "positions": positions })
        }
    };
    marked(json(StatusCode::OK, &body), answered)
}

/// Says in the head that nothing was stored but had been before.
fn marked(mut response: Response<Full<Bytes>>, answered: &Answered) -> Response<Full<Bytes>> {
    if matches!(answered, Answered::Keyed(Stored { repeat: true, .. })) {
        response.headers_mut().insert(REPEAT, HeaderValue::from_static("true"));
    }
    response
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
