//! Whole-process tests of the pipeline and of the agent alone.

mod command;
mod examples;
#[cfg(feature = "foreign-s3")]
mod foreign;
mod kills;
mod log;
mod memory;
mod readme;
