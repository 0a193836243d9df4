//! The conformance suite on every store, and what the S3 store makes of odd answers.

mod conformance;
mod wire;
