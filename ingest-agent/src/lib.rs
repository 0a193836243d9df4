//! The ingest agent: takes events, makes them durable, and ships them as whole S3 objects.
//!
//! The modules stand in the order in which an event meets them. Read [`agent`] first: it is the
//! wiring and the shutdown order. The command line ends in [`cli`]; another program that wants an
//! agent inside it starts with [`Config`] and [`Agent`].

pub mod event;

pub mod decode;
pub mod source;

pub mod channel;

pub mod sink;

pub mod admin;
pub mod agent;
pub mod cli;
pub mod config;
pub mod error;
pub mod flush;
pub mod logging;
pub mod signals;
pub mod telemetry;

pub use agent::{Addresses, Agent, Outcome, run};
pub use config::Config;
pub use error::{AgentError, StartError};
