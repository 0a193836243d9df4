//! The asynchronous invocation queue and the Lambda APIs over it.

use serde::{Deserialize, Serialize};

/// An invocation whose three tries all failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailedInvocation {
    /// The request id that all tries carried.
    pub request_id: String,
    /// When it was first queued, milliseconds since 1970.
    pub created_ms: u64,
    /// When its last try failed, milliseconds since 1970.
    pub failed_ms: u64,
    /// How many tries were made.
    pub tries: u32,
    /// What the last try failed with.
    pub error: String,
    /// The event, as the function was given it.
    pub payload: Box<serde_json::value::RawValue>,
}
