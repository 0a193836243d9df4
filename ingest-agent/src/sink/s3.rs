//! The S3 sink: seal, then put.

mod config;
pub mod partition;
pub mod template;

pub use config::{RetryConfig, RollConfig, S3SinkConfig, Unresolved};

use super::SinkContext;

/// Why the S3 sink cannot go on without an operator.
#[derive(Debug, thiserror::Error)]
pub enum S3SinkError {}

/// Runs until shutdown, or until it cannot go on.
pub async fn run(config: S3SinkConfig, context: SinkContext) -> Result<(), S3SinkError> {
    let _ = (config, context);
    std::future::pending().await
}
