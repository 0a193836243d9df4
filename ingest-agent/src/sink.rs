//! The Sink contract, the kinds of sinks, and the one match that runs one.
//!
//! A sink owns one registered reader of one channel and runs on its own thread. Its contract:
//! - it releases positions only when it is done with them for good (I6): shipped, dead-lettered or damaged;
//! - it settles its [`Totals`](crate::telemetry::Totals) in one step, so that I9 holds in every snapshot;
//! - it answers every [`FlushRequest`] once all positions below `upto` are settled, and an answer that it drops
//!   tells the waiter that the sink ended;
//! - after `shutdown` it finishes what it can within its time and returns; what it leaves stays in the channel.
//!
//! An error that it returns ends the agent: a sink retries for itself whatever a retry can help.

mod drain;
pub mod logger;
pub mod null;
pub mod s3;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use contract::SinkName;
use durable_channel::Reader;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::channel::ChannelHandle;
use crate::telemetry::SinkMetrics;

/// The settings of one sink, validated.
#[derive(Debug, Clone)]
pub enum SinkKind {
    /// Objects in S3.
    S3(Box<s3::S3SinkConfig>),
    /// Lines on standard output.
    Logger(logger::LoggerConfig),
    /// Nothing.
    Null,
}

/// A sink's name and how it ended.
pub type SinkEnd = (String, Result<(), SinkError>);

/// Everything that a sink is given besides its own settings.
pub struct SinkContext {
    /// The name that the configuration gives this sink; also its reader's name.
    pub name: SinkName,
    /// This sink's registered reader of `channel`.
    pub reader: Reader,
    /// The channel that it reads, to wait for progress and to see how full it is.
    pub channel: ChannelHandle,
    /// What this sink counts.
    pub metrics: Arc<SinkMetrics>,
    /// Cancelled when the sink should finish and return; nothing is appended to the channel any more by then.
    pub shutdown: CancellationToken,
    /// How long after `shutdown` the sink may go on shipping.
    pub shutdown_timeout: Duration,
    /// Requests to settle everything up to a position soon.
    pub flush: mpsc::Receiver<FlushRequest>,
}

/// A request to settle every position below `upto`, whatever the rolling rules say.
#[derive(Debug)]
pub struct FlushRequest {
    /// One past the last position that the answer must cover.
    pub upto: u64,
    /// Where the answer goes, once.
    pub reply: oneshot::Sender<FlushReport>,
}

/// What a flush waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Keys of the objects that became complete between the request and the answer, in the order of their cuts.
    pub keys: Vec<String>,
}

/// Why a sink ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The channel gave a frame that could not be read for a reason other than damage.
    #[error("reading the channel")]
    Read(#[from] durable_channel::ReadError),
    /// Recording which positions are done failed.
    #[error("recording progress in the channel")]
    Release(#[source] io::Error),
    /// The S3 sink cannot go on without an operator.
    #[error(transparent)]
    S3(#[from] s3::S3SinkError),
    /// A bug, told on stderr; the channel is as it was.
    #[error("the sink's thread panicked")]
    Panicked,
}

/// Runs a sink until shutdown, or until it cannot go on.
pub async fn run(kind: SinkKind, context: SinkContext) -> Result<(), SinkError> {
    match kind {
        SinkKind::S3(config) => Ok(Box::pin(s3::run(*config, context)).await?),
        SinkKind::Logger(config) => logger::run(config, context).await,
        SinkKind::Null => null::run(context).await,
    }
}

/// Runs a sink on a thread and runtime of its own: its disk reads and compression hold up no source.
pub(crate) fn spawn(sinks: &mut JoinSet<SinkEnd>, kind: SinkKind, context: SinkContext) -> io::Result<()> {
    let name = context.name.to_string();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.clone()).spawn(move || {
        // Nobody listens any more only when the whole agent was dropped.
        let _ = end.send(runtime.block_on(run(kind, context)));
    })?;
    sinks.spawn(async move { (name, ended.await.unwrap_or(Err(SinkError::Panicked))) });
    Ok(())
}
