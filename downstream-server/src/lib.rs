//! The downstream server: takes notices, fetches the objects they name, and hands them to a
//! handler. The modules, in the order in which a notice meets them:
//!
//! - [`config`]: what the server is told at start.
//! - `serve`: the listener, and how long a client may keep it waiting.
//! - `app`: the routes, and what holds for all of them.
//! - `access`: who may read, and who may change something.
//! - `notices`: `POST /v1/notices`, from a request to an entry in the inbox.
//! - `pull`: the same from an SQS queue.
//! - [`inbox`]: what is owed and what is done, in one `SQLite` file.
//! - `workers`: claim what is due, try, enter the outcome, try again.
//! - [`fetch`]: an object as a stream of checked, decoded bytes.
//! - [`reading`]: how these are taken apart, and whether the parts are events.
//! - [`handler`]: whoever gets the objects; the place to plug in your own.
//! - `reconcile`: lists the buckets for objects that no notice told of.
//! - `continuity`: whether anything is missing or double, for whoever asks.
//! - `upkeep`: what the inbox drops with time, and the alarm about what is missing.
//! - `events`, `objects`: what arrived, for consumers without our code, and replay.
//! - `openapi`: what the API takes and answers.
//! - `live`, `read`, `web`: how it goes on now, for programs and for people.
//! - [`telemetry`]: the table of metrics.
//!
//! [`run`] does what the configuration says. A program with a handler of its own in Rust calls
//! [`main_with`], as `examples/totals.rs` does, or [`run_with`].

mod access;
mod app;
mod cli;
mod clock;
pub mod config;
mod continuity;
mod error;
mod events;
pub mod fetch;
pub mod handler;
pub mod inbox;
mod live;
mod notices;
mod objects;
mod openapi;
mod pull;
mod read;
pub mod reading;
mod reconcile;
mod run;
mod serve;
mod store_events;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod upkeep;
mod web;
mod workers;

pub use cli::{formats, main, main_with};
pub use config::Config;
pub use run::{Parts, RunError, run, run_with};
