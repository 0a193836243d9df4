//! The S3 sink: seal, then put.
//!
//! ```text
//! channel -> gather (partition, dead letters) -> roll -> seal (journal) -> upload (answers) -> done (journal) -> release
//!               `-> pack -> staging
//! ```
//!
//! - **Before the seal** nothing is promised and nothing is sent (I3): [`gather`] reads the channel once and collects, per
//!   partition, positions and either a running checksum (uncompressed output of one partition is streamed from the channel
//!   later) or bytes in the staging log ([`pack`], [`staging`]). A crash here costs one more pass.
//! - **The seal** writes a [`cut`] into the journal: key, positions, metadata and the first attempt's length and
//!   checksum, in one synced append. Key and content are a function of it from then on (I4).
//! - **After the seal** [`upload`] sends it until the store confirms it or holds an object that equals an attempt (I5), by
//!   the table in [`answers`]. Only then does the reader release its positions (I6).
//!
//! One thread runs all of it: the loop below reads a little, seals what is due, and lets the uploads have the thread.
//! Beside a memory channel there is no journal, and all of this holds until the process ends.

mod answers;
mod arrivals;
mod backoff;
mod claim;
mod config;
mod content;
mod cut;
pub mod dead;
mod error;
mod form;
mod gather;
mod known;
mod learn;
mod learned;
mod ledger;
mod leftovers;
mod makers;
mod pack;
pub mod partition;
mod points;
mod positions;
mod remake;
mod roll;
mod rows;
mod runs;
mod seal;
mod seams;
mod shared;
mod sink;
mod staging;
mod state;
pub mod template;
mod trial;
mod trouble;
mod upload;
mod wire;

use std::sync::Arc;

use blob_store::{BlobStore, S3Store};

pub use config::{RetryConfig, RollConfig, S3SinkConfig, Unresolved};
pub use error::S3SinkError;
pub use known::{Known, known};
pub use points::FailPoints;
pub use seams::{Buckets, Seams};

use super::SinkContext;

/// Runs until shutdown, or until it cannot go on.
pub async fn run(config: S3SinkConfig, context: SinkContext) -> Result<(), S3SinkError> {
    let store = S3Store::connect(config.store.clone()).await?;
    let buckets: Buckets = Arc::new(move |bucket| Arc::new(store.for_bucket(bucket)) as Arc<dyn BlobStore>);
    run_with(config, context, Seams::new(buckets)).await
}

/// As [`run`], with the caller's own [`Seams`].
pub async fn run_with(config: S3SinkConfig, context: SinkContext, seams: Seams) -> Result<(), S3SinkError> {
    match sink::Sink::open(config, context, seams).await? {
        Some(sink) => sink.run().await,
        None => Ok(()),
    }
}
