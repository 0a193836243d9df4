//! The inbox's tables, and how an older inbox becomes the present one.

use rusqlite::Connection;

use super::OpenError;

/// One step a version; a step that has been released is never edited.
const STEPS: &[&str] = &[
    "
-- What notices told us of, one row an object. Times are milliseconds since 1970.
CREATE TABLE objects (
    id          INTEGER PRIMARY KEY,            -- in order of arrival
    identity    TEXT NOT NULL UNIQUE,
    bucket      TEXT NOT NULL,
    key         TEXT NOT NULL,
    version_id  TEXT,
    etag        TEXT,
    sequencer   TEXT,
    size        INTEGER,                        -- as the notice gave it
    notice_id   TEXT NOT NULL,
    event_ms    INTEGER,                        -- when the store says it was made
    received_ms INTEGER NOT NULL,
    repeats     INTEGER NOT NULL DEFAULT 0,
    state       TEXT NOT NULL CHECK (state IN ('owed', 'fetching', 'done', 'dead')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_try_ms INTEGER NOT NULL,
    last_error  TEXT,
    finished_ms INTEGER,
    events      INTEGER NOT NULL DEFAULT 0,
    bytes       INTEGER NOT NULL DEFAULT 0      -- as stored
) STRICT;
CREATE INDEX objects_due ON objects (next_try_ms, id) WHERE state = 'owed';
CREATE INDEX objects_by_state ON objects (state, id);

-- Other places that notices named for a cut that is not done yet.
CREATE TABLE places (
    object     INTEGER NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    bucket     TEXT NOT NULL,
    key        TEXT NOT NULL,
    version_id TEXT NOT NULL,                   -- '' for none
    PRIMARY KEY (object, bucket, key, version_id)
) STRICT, WITHOUT ROWID;

-- The cuts that are done, as ranges; never expired.
CREATE TABLE done_cuts (
    channel TEXT NOT NULL,
    sink    TEXT NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (channel, sink, first)
) STRICT, WITHOUT ROWID;

-- How much of a handler's file counts.
CREATE TABLE outputs (
    name   TEXT PRIMARY KEY,
    length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
",
    "
-- Attempts at which the handler said \"not now\"; they do not count towards the limit.
ALTER TABLE objects ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0;
",
];

/// Sets the connection up and brings the tables to the present version.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the log at each commit: what a 202 promises is then on the disk (I8).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > STEPS.len() {
        return Err(OpenError::Newer { found: version, known: STEPS.len() });
    }
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
