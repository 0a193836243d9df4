//! Whole-process tests of the pipeline and of the agent alone.

mod command;
mod credentials;
mod crowds;
mod ends;
mod examples;
#[cfg(feature = "foreign-s3")]
mod foreign;
mod front;
#[cfg(feature = "host")]
mod host;
mod kills;
mod log;
#[cfg(feature = "long")]
mod long;
mod memory;
mod oracle;
mod outage;
mod readme;
