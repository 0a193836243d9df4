//! Whole-process tests of the pipeline and of the agent alone.

mod command;
mod examples;
#[cfg(feature = "foreign-s3")]
mod foreign;
mod front;
mod kills;
mod log;
mod memory;
mod readme;
#[cfg(feature = "host")]
mod sync;
