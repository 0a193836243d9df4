//! The notifier: a Lambda function that tells a server over HTTP about each new object in S3.
//!
//! It keeps **I7**: each `ObjectCreated` record ends in a 2xx from the server or in a failed invocation
//! (or, of a batch of SQS messages, in a failed message), so that Lambda's own retries and the failure
//! queue do their work. Nothing is logged and forgotten.
//!
//! [`config`], [`logging`] and the [`keyring`] are made at the cold start. Then an event meets the crate
//! `s3-event` (which objects is it about?), [`filter`] (which of them does the server want?),
//! [`invocation`] (in which order, and what is the answer?) and [`relay`] (tell the server).

pub mod config;
pub mod filter;
mod help;
pub mod invocation;
pub mod keyring;
pub mod logging;
pub mod relay;
pub mod secrets_manager;

use std::env;
use std::time::{Duration, SystemTime};

use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Instrument as _, info_span};

pub use config::Config;
pub use help::help;
pub use invocation::{Answer, InvocationError, Notifier, Summary};
use relay::OpenError;

/// Why the notifier cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not started by Lambda, nor by anything that behaves like it.
    #[error("{} not set: this program is started by AWS Lambda or by `sluicegate`", .0.join(", "))]
    NotLambda(Vec<&'static str>),
    /// There is nothing to send with or to sign with.
    #[error("starting the relay")]
    Open(#[from] OpenError),
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
    let notifier = Notifier::open(&config).await?;
    let started = SystemTime::now();
    let handler = async |event: LambdaEvent<Value>| {
        let left = time_left(event.context.deadline(), started).unwrap_or(config.timeout);
        let deadline = Instant::now() + left.saturating_sub(config.deadline_margin);
        let span = info_span!("invocation", request_id = event.context.request_id);
        notifier.handle(event.payload, deadline).instrument(span).await
    };
    // Not `lambda_runtime::run`: its own span would name the request another way than our other programs.
    Runtime::new(service_fn(handler)).run().await.map_err(RunError::Runtime)
}

/// Lambda's own limit: what leaves more was measured by a clock that has been set back.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// How long the invocation may still take. `None` for a deadline from before the program's start, which
/// means nothing: cargo-lambda's emulator gives one of 1970.
fn time_left(deadline: SystemTime, started: SystemTime) -> Option<Duration> {
    let left = || deadline.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST_INVOCATION);
    (deadline > started).then(left)
}

/// Time in a form that a person chose: whole milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_counts_unless_it_is_from_before_the_start() {
        let now = SystemTime::now();
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert!(time_left(now + hour / 6, now).is_some_and(|left| left > hour / 12));
        assert_eq!(time_left(now - second, now - hour), Some(Duration::ZERO), "it has passed");
        assert_eq!(time_left(SystemTime::UNIX_EPOCH + second * 600, now), None);
        assert_eq!(time_left(now + hour * 48, now), Some(LONGEST_INVOCATION), "the clock was set back");
    }
}
