//! S3 and the Lambda Runtime API on one machine, in one process: what the whole pipeline runs on without an AWS
//! account, and what the tests stand on.
//!
//! ```no_run
//! # async fn example() -> Result<(), local_cloud::CloudError> {
//! let cloud = local_cloud::LocalCloud::start(local_cloud::CloudOptions::new("data")).await?;
//! cloud.create_bucket("events").await?;
//! println!("S3 is at {}, AWS_LAMBDA_RUNTIME_API={}", cloud.s3_url(), cloud.lambda_url());
//! # Ok(())
//! # }
//! ```
//!
//! Promises, each as S3's and Lambda's:
//! - What was answered is durable. A put or completion is there whole or not at all.
//! - Of racing conditional puts or completions exactly one wins.
//! - Each new object has exactly one `ObjectCreated` event, durable together with the object, and delivered until the
//!   function succeeded on it or three tries failed; then it waits in the failure queue (I7).
//! - Checksums and signatures are verified before anything is stored.
//! - No object is held in memory; a page of a listing costs what it holds.
//!
//! It is for one machine: plain HTTP, one key, no access rules. Bind it to loopback.

// A put goes through `request_log` and `s3` into the `store`, which makes it an object and an `event` in one
// step; `lambda` gives the event to the function. `cloud` starts all of it.
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
