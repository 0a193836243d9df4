//! The notifier: a Lambda function that tells a server over HTTP about each new object in S3.
//!
//! It keeps **I7**: each `ObjectCreated` record ends in a 2xx from the server or in a failed invocation,
//! so that Lambda's own retries and the failure queue do their work. Nothing is logged and forgotten.
//!
//! An event meets the modules in this order: [`config`] and [`logging`] at the cold start, then for each
//! invocation [`s3_event`] (which objects is it about?) and [`relay`] (tell the server).

pub mod config;
pub mod logging;
pub mod relay;
pub mod s3_event;

use std::env;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{error, info};

pub use config::Config;
use relay::Relay;
use s3_event::{Ignored, S3Event};

/// What an invocation did; the function's answer. Counts are in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The server has these.
    pub relayed: usize,
    /// These are not about a new object.
    pub ignored: Ignored,
}

/// Why an invocation failed. Lambda tries the whole event again; a notice that the server already has
/// changes nothing there.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event is not one that S3 sends.
    #[error(transparent)]
    Event(#[from] s3_event::EventError),
    /// Of `records` records that had to be relayed, these were not; each with its reason.
    #[error("{} of {records} records were not relayed: {}", failures.len(), failures.join("; "))]
    NotRelayed {
        /// Records about new objects.
        records: usize,
        /// One reason a record.
        failures: Vec<String>,
    },
}

/// Why the notifier cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not started by Lambda, nor by anything that behaves like it.
    #[error("{} not set: this program is started by AWS Lambda or by `sluicegate`", .0.join(", "))]
    NotLambda(Vec<&'static str>),
    /// The HTTP client cannot be made.
    #[error("making the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The Runtime API failed; whoever started the program starts it again.
    #[error("talking to the Lambda Runtime API")]
    Runtime(#[source] lambda_runtime::Error),
}

/// Without these lambda_runtime panics.
const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Serves the Lambda Runtime API named by the environment until it fails or this future is dropped.
///
/// Dropping it in the middle of an invocation loses nothing: the invocation has then not succeeded.
pub async fn run(config: Config) -> Result<(), RunError> {
    let missing: Vec<_> = LAMBDA_VARIABLES.into_iter().filter(|name| env::var_os(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(RunError::NotLambda(missing));
    }
    let relay = Relay::new(&config).map_err(RunError::Client)?;
    info!(server = relay.server(), "ready to relay notices");
    let handler = async |event: LambdaEvent<Value>| {
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let deadline = Instant::now() + left.saturating_sub(config.deadline_margin);
        handle(&relay, event.payload, deadline).await
    };
    lambda_runtime::run(service_fn(handler)).await.map_err(RunError::Runtime)
}

/// Relays every record of `event` that is about a new object, and answers or fails before `deadline`.
///
/// A record that cannot be relayed does not keep the others from it.
pub async fn handle(relay: &Relay, event: Value, deadline: Instant) -> Result<Summary, InvocationError> {
    let S3Event { notices, ignored, malformed } = s3_event::read(event).inspect_err(|error| {
        error!(%error, "the event cannot be relayed");
    })?;
    let records = notices.len() + malformed.len();
    let mut failures: Vec<String> = malformed.iter().map(ToString::to_string).collect();
    for reason in &failures {
        error!(reason, "a record cannot be relayed");
    }

    let mut sent = futures_util::stream::iter(&notices)
        .map(async |notice| (notice, relay.send(notice, deadline).await))
        .buffer_unordered(relay.concurrency());
    while let Some((notice, result)) = sent.next().await {
        if let Err(error) = result {
            let reason = relay::chain(&error);
            error!(notice = notice.id, bucket = notice.bucket, key = notice.key, reason, "not relayed");
            failures.push(format!("{}: {reason}", notice.id));
        }
    }

    if !failures.is_empty() {
        return Err(InvocationError::NotRelayed { records, failures });
    }
    let summary = Summary { relayed: notices.len(), ignored };
    info!(
        relayed = summary.relayed,
        test_events = ignored.test_events,
        not_created = ignored.not_created,
        "invocation done"
    );
    Ok(summary)
}

impl From<InvocationError> for Diagnostic {
    /// The type is what an operator filters the failure queue by.
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::Event(_) => "UnknownEvent",
            InvocationError::NotRelayed { .. } => "NotRelayed",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// Time in a form that a person chose: whole milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
