//! The server as a whole, from outside: in this process over an in-memory store, and as the
//! program that is shipped.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod commands;
mod deliveries;
mod installed;
mod lies;
mod notices;
mod program;
#[cfg(feature = "foreign-postgres")]
mod shared;
mod site;
mod versions;
