//! The local cloud, asked by the real S3 client and by a runtime.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conditions;
mod events;
mod integrity;
mod lambda;
mod listing;
mod multipart;
mod objects;
mod restart;
mod support;
