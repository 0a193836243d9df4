//! The downstream server: takes notices, fetches the objects they name, and hands them to a
//! handler. The modules, in the order in which a notice meets them:
//!
//! - [`config`]: what the server is told at start.
//! - `app`: the routes, and what holds for all of them.
//! - `notices`: `POST /v1/notices`, from a request to an entry in the inbox.
//! - [`inbox`]: what is owed and what is done, in one `SQLite` file.
//! - `workers`: claim what is due, try, enter the outcome, try again.
//! - [`fetch`]: an object as a stream of checked, decoded bytes.
//! - [`handler`]: whoever gets the objects; the place to plug in your own.
//! - `live`, `read`, `web`: what arrived, for programs and for people.
//! - [`telemetry`]: the table of metrics.
//!
//! [`run`] does what the configuration says. A program with a handler of its own in Rust calls
//! [`run_with`].

mod app;
mod cli;
mod clock;
pub mod config;
mod error;
pub mod fetch;
pub mod handler;
pub mod inbox;
mod live;
mod notices;
mod read;
mod run;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod web;
mod workers;

pub use cli::main;
pub use config::Config;
pub use run::{Parts, RunError, run, run_with};
