//! A server with a handler of its own: it counts events by type, exactly once each, in a table
//! beside the inbox's. It takes the settings of `downstream-server`; the handler's are not used.
//!
//! `cargo run -p downstream-server --example totals -- --notices-buckets my-events`

use std::process::ExitCode;

use downstream_server::handler::{Batch, Delivery, InTransaction, Transactional};
use downstream_server::inbox::{Database, DatabaseError};

/// Counts events by their `type`.
pub(crate) struct Totals;

impl Transactional for Totals {
    fn name(&self) -> &'static str {
        "totals"
    }

    fn apply(&self, at: &Database, _: &Delivery, batch: &Batch) -> Result<(), DatabaseError> {
        at.batch("CREATE TABLE IF NOT EXISTS totals (type TEXT PRIMARY KEY, events BIGINT NOT NULL)")?;
        for event in batch.iter() {
            let event: serde_json::Value = serde_json::from_slice(event).unwrap_or_default();
            at.execute(
                "INSERT INTO totals VALUES (?1, 1) ON CONFLICT (type) DO UPDATE SET events = totals.events + 1",
                &[event["type"].as_str().unwrap_or("none").into()],
            )?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    downstream_server::main_with(std::env::args_os(), InTransaction::new(Totals)).into()
}
