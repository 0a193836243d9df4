//! The function's invocations: who runs what until when, and what becomes of a try that failed.
//!
//! As AWS Lambda does it for asynchronous invocations: an event is queued (durably, in the store), given to the
//! next runtime that asks, tried three times in all with a delay before the second and the third, then put into
//! the failure queue. A try has failed when the runtime says so, when the function's timeout passes, or when the
//! runtime is gone. Unlike AWS, an event that no runtime asks for waits forever: on one machine the function may
//! be down for a night.
//!
//! A runtime is known by its connection. Its death shows as: its connection is closed *and* another one makes its
//! first poll (its successor starts), or it polls again without an answer, or at the latest the timeout. A closed
//! connection alone is no death, because a runtime may use one connection a request, as AWS's shell example does;
//! of such runtimes, run one at a time.

mod api;
mod failures;
mod runs;

use serde::{Deserialize, Serialize};

pub(crate) use api::{RuntimeConnection, router};
pub(crate) use failures::FailureFile;
pub(crate) use runs::{Lambda, LambdaOptions};

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
