//! The conformance suite on every store, and what the S3 store makes of odd answers.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on is a failed test")]

mod conformance;
#[cfg(feature = "foreign-s3")]
mod foreign;
mod wire;
