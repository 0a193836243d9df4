//! The S3 sink: seal, then put.

pub mod partition;
pub mod template;

/// Why the S3 sink cannot go on without an operator.
#[derive(Debug, thiserror::Error)]
pub enum S3SinkError {}
