//! Dropping the rows of objects that are done for long, so that the inbox stays small.
//!
//! Nothing that was done is forgotten by it: the totals keep their counts, and our own cuts stay
//! known by their ranges. A foreign object is known by its row alone.

use super::database::{Database, DatabaseError};

/// Rows dropped in one transaction.
const BATCH: usize = 500;

/// What is kept of done objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Rows of objects that became done after this time, in milliseconds since 1970.
    pub after_ms: i64,
    /// Rows of so many objects, those done last.
    pub rows: u64,
}

/// Drops some rows. Says whether there may be more.
pub(super) fn drop_some(at: &Database, keep: Keep) -> Result<bool, DatabaseError> {
    let last = at.query_one("SELECT value FROM counters WHERE name = 'done_order'", &[])?;
    let last = last.map_or(Ok(0), |row| row.count(0))?;
    let rows = at.query(
        "DELETE FROM objects WHERE id IN
             (SELECT id FROM (SELECT id, done_order, finished_ms FROM objects
                              WHERE done_order IS NOT NULL ORDER BY done_order LIMIT ?3) AS oldest
              WHERE done_order <= ?1 OR finished_ms <= ?2)
         RETURNING events, bytes, received_ms, CASE WHEN identity LIKE 'object-%' THEN 1 ELSE 0 END, done_order",
        &[last.saturating_sub(keep.rows).into(), keep.after_ms.into(), BATCH.into()],
    )?;
    let (mut events, mut bytes, mut foreign_ms, mut order) = (0, 0, 0, 0);
    for row in &rows {
        events += row.count(0)?;
        bytes += row.count(1)?;
        order = order.max(row.count(4)?);
        if row.integer(3)? == 1 {
            foreign_ms = foreign_ms.max(row.integer(2)?);
        }
    }
    for (name, number) in
        [("dropped_objects", rows.len() as u64), ("dropped_events", events), ("dropped_bytes", bytes)]
    {
        at.execute("UPDATE counters SET value = value + ?2 WHERE name = ?1", &[name.into(), number.into()])?;
    }
    at.execute(
        "UPDATE counters SET value = ?1 WHERE name = 'foreign_dropped_ms' AND value < ?1",
        &[foreign_ms.into()],
    )?;
    // Who reads the events of done objects in their order is told what is no longer there.
    at.execute(
        "INSERT INTO counters (name, value) VALUES ('dropped_order', ?1)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE counters.value < excluded.value",
        &[order.into()],
    )?;
    Ok(rows.len() == BATCH)
}
