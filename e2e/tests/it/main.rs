//! Whole-process tests of the pipeline and of the agent alone.

#[cfg(feature = "host")]
mod cgroup;
#[cfg(feature = "host")]
mod clock;
mod command;
#[cfg(feature = "host")]
mod disk;
mod ends;
mod examples;
#[cfg(feature = "foreign-s3")]
mod foreign;
mod front;
mod kills;
mod log;
mod memory;
mod oracle;
mod outage;
mod readme;
#[cfg(feature = "host")]
mod sync;
