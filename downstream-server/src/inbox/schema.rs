//! The inbox's tables, and how an older inbox becomes the present one.
//!
//! Both databases have the same tables and columns. An SQLite inbox grows up step by step from
//! whatever version it has; a PostgreSQL inbox began with version 3.

mod postgres;
mod sqlite;

use super::database::{Database, Dialect};
use super::error::OpenError;

/// The version that this server writes, and the highest that it reads.
pub const VERSION: usize = sqlite::STEPS.len();

/// Brings the tables to the present version.
pub(super) fn prepare(database: &Database, now_ms: i64) -> Result<(), OpenError> {
    match database.dialect() {
        Dialect::Sqlite => sqlite::prepare(database)?,
        Dialect::Postgres => postgres::prepare(database)?,
    }
    database.execute(
        "INSERT INTO counters (name, value) VALUES ('made_ms', ?1) ON CONFLICT DO NOTHING",
        &[now_ms.into()],
    )?;
    Ok(())
}
