//! S3 and the Lambda Runtime API on one machine, in one process.

mod cloud;
mod event;
mod lambda;
mod options;
mod request_log;
mod s3;
mod store;

pub use cloud::{CloudError, LocalCloud};
pub use lambda::FailedInvocation;
pub use options::{AWS_RETRY_DELAYS, CloudOptions, EtagKind, Notify};
pub use request_log::RequestLine;
