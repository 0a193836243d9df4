//! The queue of asynchronous invocations: an event waits here, durable, until the function succeeded on it or
//! failed for good.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::catalog::{signed, unsigned};
use super::{After, StoreError, now_ms, random_name};
use crate::lambda::FailedInvocation;

const FAILED_COLUMNS: &str = "request_id, created_ms, failed_ms, tries, error, payload";

/// An invocation that is due.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) id: i64,
    pub(crate) request_id: String,
    /// How many tries have failed.
    pub(crate) tries: u32,
    pub(crate) payload: String,
}

/// What becomes of an invocation whose try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// It is tried again from this time on.
    Again { due_ms: u64 },
    /// It goes to the failure queue.
    Failed,
}

/// Queues an invocation. It is there if and only if the transaction is.
pub(crate) fn enqueue(
    transaction: &Transaction<'_>,
    after: &mut After,
    payload: &str,
) -> Result<String, StoreError> {
    let (now, request_id) = (now_ms(), request_id());
    transaction
        .prepare_cached(
            "INSERT INTO invocations (request_id, created_ms, due_ms, tries, error, payload)
             VALUES (?1, ?2, ?2, 0, '', ?3)",
        )?
        .execute(params![request_id, signed(now), payload])?;
    after.wake_invokers();
    Ok(request_id)
}

/// The invocation that has been due for longest, but for those that are running.
pub(crate) fn due(
    connection: &Connection,
    now_ms: u64,
    running: &HashSet<i64>,
) -> Result<Option<Queued>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, request_id, tries, payload FROM invocations
         WHERE failed_ms IS NULL AND due_ms <= ?1 ORDER BY due_ms, id",
    )?;
    let mut rows = statement.query([signed(now_ms)])?;
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        // There are as many running as there are runtimes: few rows are passed over.
        if !running.contains(&id) {
            return Ok(Some(Queued {
                id,
                request_id: row.get(1)?,
                tries: row.get(2)?,
                payload: row.get(3)?,
            }));
        }
    }
    Ok(None)
}

/// When the next invocation that waits for another try is due.
pub(crate) fn next_due_ms(connection: &Connection, now_ms: u64) -> Result<Option<u64>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT due_ms FROM invocations WHERE failed_ms IS NULL AND due_ms > ?1 ORDER BY due_ms LIMIT 1",
        )?
        .query_row([signed(now_ms)], |row| unsigned(row, 0))
        .optional()?)
}

/// The function succeeded.
pub(crate) fn succeeded(transaction: &Transaction<'_>, id: i64) -> Result<(), StoreError> {
    transaction.prepare_cached("DELETE FROM invocations WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// A try failed.
pub(crate) fn try_failed(
    transaction: &Transaction<'_>,
    id: i64,
    error: &str,
    then: AfterFailure,
) -> Result<(), StoreError> {
    let (due, failed) = match then {
        AfterFailure::Again { due_ms } => (Some(signed(due_ms)), None),
        AfterFailure::Failed => (None, Some(signed(now_ms()))),
    };
    transaction
        .prepare_cached(
            "UPDATE invocations SET tries = tries + 1, error = ?2, due_ms = coalesce(?3, due_ms), failed_ms = ?4
             WHERE id = ?1",
        )?
        .execute(params![id, error, due, failed])?;
    Ok(())
}

/// How many invocations are neither done nor failed for good.
pub(crate) fn owed(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT count(*) FROM invocations WHERE failed_ms IS NULL")?
        .query_row([], |row| unsigned(row, 0))?)
}

/// Hands each failed invocation, oldest first, to `each`.
pub(crate) fn failed(
    connection: &Connection,
    mut each: impl FnMut(FailedInvocation) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let query = format!("SELECT {FAILED_COLUMNS} FROM invocations WHERE failed_ms IS NOT NULL ORDER BY id");
    let mut statement = connection.prepare_cached(&query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        each(failed_of(row)?)?;
    }
    Ok(())
}

/// One failed invocation.
pub(crate) fn failed_one(connection: &Connection, id: i64) -> Result<Option<FailedInvocation>, StoreError> {
    let query = format!("SELECT {FAILED_COLUMNS} FROM invocations WHERE failed_ms IS NOT NULL AND id = ?1");
    connection.prepare_cached(&query)?.query_row([id], |row| Ok(failed_of(row))).optional()?.transpose()
}

fn failed_of(row: &Row<'_>) -> Result<FailedInvocation, StoreError> {
    Ok(FailedInvocation {
        request_id: row.get(0)?,
        created_ms: unsigned(row, 1)?,
        failed_ms: unsigned(row, 2)?,
        tries: row.get(3)?,
        error: row.get(4)?,
        payload: serde_json::value::RawValue::from_string(row.get(5)?)?,
    })
}

/// Gives every failed invocation its tries again; answers how many there are.
pub(crate) fn redrive(transaction: &Transaction<'_>, after: &mut After) -> Result<u64, StoreError> {
    let moved = transaction.execute(
        "UPDATE invocations SET tries = 0, failed_ms = NULL, due_ms = ?1 WHERE failed_ms IS NOT NULL",
        [signed(now_ms())],
    )?;
    after.wake_invokers();
    Ok(moved as u64)
}

/// No try waits longer than until then, should the clock have been set back meanwhile.
pub(crate) fn clamp_due(connection: &Connection, latest_ms: u64) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE invocations SET due_ms = ?1 WHERE failed_ms IS NULL AND due_ms > ?1",
        [signed(latest_ms)],
    )?;
    Ok(())
}

/// A request id in the shape of AWS's: a random UUID.
pub(crate) fn request_id() -> String {
    let hex = random_name();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
