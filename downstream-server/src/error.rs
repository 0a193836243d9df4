//! The one shape of an HTTP error: `{"error": "<code>", "message": "<what to do about it>"}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::inbox::InboxError;

/// An answer other than success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The status.
    pub(crate) status: StatusCode,
    /// A word that programs may decide by.
    pub(crate) code: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
    /// Seconds after which a retry makes sense.
    pub(crate) retry_after_s: Option<u32>,
}

impl ApiError {
    /// An error that a retry does not heal.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after_s: None }
    }

    /// 503: nothing is wrong with the request, and it may be sent again.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>, retry_after_s: u32) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self { status, code, message: message.into(), retry_after_s: Some(retry_after_s) }
    }
}

impl From<InboxError> for ApiError {
    /// What is wrong with our disk is ours to know: it is in the log, not in the answer.
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Busy => {
                Self::unavailable("busy", "more notices wait than the inbox takes; try again", 1)
            }
            InboxError::Refused(_) => Self::new(StatusCode::BAD_REQUEST, "not_storable", error.to_string()),
            InboxError::Closed => Self::unavailable("stopping", "the server is stopping; try again", 5),
            InboxError::Storage(_) | InboxError::Poisoned(_) | InboxError::Panicked => {
                tracing::error!(%error, "the inbox failed");
                Self::unavailable("storage", "the inbox could not be written; try again", 10)
            }
        }
    }
}

impl ApiError {
    /// The body of the answer.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": self.code, "message": self.message })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
