//! Done cuts as ranges: a channel that ships a million objects in order costs one row.

use contract::CutId;
use rusqlite::{Connection, OptionalExtension, Result, params};

/// Whether the cut is done.
pub(super) fn contains(at: &Connection, cut: &CutId) -> Result<bool> {
    let last = at
        .prepare_cached(
            "SELECT last FROM done_cuts WHERE channel = ?1 AND sink = ?2 AND first <= ?3
             ORDER BY first DESC LIMIT 1",
        )?
        .query_row(params![cut.channel.to_string(), cut.sink.as_str(), cut.number], |row| {
            row.get::<_, u64>(0)
        })
        .optional()?;
    Ok(last.is_some_and(|last| last >= cut.number))
}

/// Adds a cut that is not in any range, joining the ranges that it touches.
pub(super) fn insert(at: &Connection, cut: &CutId) -> Result<()> {
    let (channel, sink, number) = (cut.channel.to_string(), cut.sink.as_str(), cut.number);
    let last: Option<u64> = at
        .prepare_cached(
            "DELETE FROM done_cuts WHERE channel = ?1 AND sink = ?2 AND first = ?3 RETURNING last",
        )?
        .query_row(params![channel, sink, number + 1], |row| row.get(0))
        .optional()?;
    let last = last.unwrap_or(number);
    let grown = at
        .prepare_cached(
            "UPDATE done_cuts SET last = ?4 WHERE channel = ?1 AND sink = ?2 AND last = ?3 - 1
             AND first = (SELECT max(first) FROM done_cuts WHERE channel = ?1 AND sink = ?2 AND first < ?3)",
        )?
        .execute(params![channel, sink, number, last])?;
    if grown == 0 {
        at.prepare_cached("INSERT INTO done_cuts (channel, sink, first, last) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![channel, sink, number, last])?;
    }
    Ok(())
}
