//! Whole-process tests of the pipeline and of the agent alone.

#[cfg(feature = "foreign-s3")]
mod foreign;
mod command;
mod kills;
mod log;
mod memory;
mod readme;
