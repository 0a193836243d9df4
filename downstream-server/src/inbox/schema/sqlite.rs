//! The steps of an SQLite inbox.

use super::super::database::Database;
use super::super::error::OpenError;
use super::VERSION;

/// One step a version; a step that has been released is never edited.
pub(super) const STEPS: [&str; 4] = [
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
    "
-- Whole numbers that are about the inbox as a whole.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE objects_2 (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,  -- in order of arrival
    identity       TEXT NOT NULL UNIQUE,
    bucket         TEXT NOT NULL,
    key            TEXT NOT NULL,
    version_id     TEXT,
    etag           TEXT,
    sequence       TEXT NOT NULL DEFAULT '',    -- the sequencer, so that texts sort as it does
    size           INTEGER,                     -- as the notice gave it
    notice_id      TEXT NOT NULL,
    origin         TEXT NOT NULL DEFAULT 'notice',
    event_ms       INTEGER,                     -- when the store says it was made
    received_ms    INTEGER NOT NULL,
    repeats        INTEGER NOT NULL DEFAULT 0,
    state          TEXT NOT NULL CHECK (state IN ('owed', 'fetching', 'done', 'dead', 'gone')),
    attempts       INTEGER NOT NULL DEFAULT 0,
    deferrals      INTEGER NOT NULL DEFAULT 0,  -- of them, those at which the handler said \"not now\"
    replaying      INTEGER NOT NULL DEFAULT 0,  -- 1: it was done, and is to be handled again
    next_try_ms    INTEGER NOT NULL,
    lease_owner    TEXT,                        -- the server that makes the attempt
    lease_until_ms INTEGER,
    last_error     TEXT,
    finished_ms    INTEGER,
    done_order     INTEGER,                     -- dense, in the order in which objects became done
    events         INTEGER NOT NULL DEFAULT 0,
    bytes          INTEGER NOT NULL DEFAULT 0,  -- as stored
    crc32c         INTEGER                      -- of a done cut's object, as stored
) STRICT;
INSERT INTO objects_2 (id, identity, bucket, key, version_id, etag, sequence, size, notice_id, event_ms,
                       received_ms, repeats, state, attempts, deferrals, next_try_ms, last_error, finished_ms,
                       done_order, events, bytes)
    SELECT id, identity, bucket, key, version_id, etag, rtrim(upper(coalesce(sequencer, '')), '0'), size,
           notice_id, event_ms, received_ms, repeats, state, attempts, deferrals, next_try_ms, last_error, finished_ms,
           CASE WHEN state = 'done'
                THEN row_number() OVER (PARTITION BY state = 'done' ORDER BY finished_ms, id) END,
           events, bytes
    FROM objects;
DROP TABLE objects;
ALTER TABLE objects_2 RENAME TO objects;
CREATE INDEX objects_due ON objects (next_try_ms, id) WHERE state = 'owed';
CREATE INDEX objects_by_state ON objects (state, id);
CREATE INDEX objects_by_key ON objects (bucket, key);
CREATE UNIQUE INDEX objects_by_done_order ON objects (done_order) WHERE done_order IS NOT NULL;
INSERT INTO counters (name, value)
    SELECT 'done_order', coalesce(max(done_order), 0) FROM objects
    UNION ALL VALUES ('dropped_objects', 0), ('dropped_events', 0), ('dropped_bytes', 0),
                     ('foreign_dropped_ms', 0);

-- The cuts that are done, as ranges; never expired. Ranges never touch: between two of them
-- cuts are missing, and gap_since_ms of the upper one says since when.
CREATE TABLE ranges (
    channel             TEXT NOT NULL,
    sink                TEXT NOT NULL,
    first               INTEGER NOT NULL,
    last                INTEGER NOT NULL,
    gap_since_ms        INTEGER,                -- when the gap below was first known; none below cut 1
    -- What the cuts from counted_from to last hold, and what the running totals of their objects
    -- said: before the first of them and with the last.
    counted_from        INTEGER,
    events              INTEGER NOT NULL DEFAULT 0,
    dead_lettered       INTEGER NOT NULL DEFAULT 0,
    before_events       INTEGER NOT NULL DEFAULT 0,
    before_dead         INTEGER NOT NULL DEFAULT 0,
    told_events         INTEGER NOT NULL DEFAULT 0,
    told_dead           INTEGER NOT NULL DEFAULT 0,
    told_damaged        INTEGER NOT NULL DEFAULT 0,
    lowest_position     INTEGER NOT NULL DEFAULT 0,
    highest_position    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, sink, first)
) STRICT, WITHOUT ROWID;
INSERT INTO ranges (channel, sink, first, last, gap_since_ms)
    SELECT channel, sink, first, last, CASE WHEN first > 1 THEN unixepoch() * 1000 END FROM done_cuts;
DROP TABLE done_cuts;
CREATE INDEX ranges_by_gap ON ranges (gap_since_ms) WHERE gap_since_ms IS NOT NULL;

-- Objects that name a done cut and lie elsewhere: copies, or another content of the same cut.
CREATE TABLE suspects (
    cut        TEXT NOT NULL,
    bucket     TEXT NOT NULL,
    key        TEXT NOT NULL,
    version_id TEXT NOT NULL,                   -- '' for none
    PRIMARY KEY (cut, bucket, key, version_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE forks (
    channel      TEXT NOT NULL,
    sink         TEXT NOT NULL,
    number       INTEGER NOT NULL,
    bucket       TEXT NOT NULL,
    key          TEXT NOT NULL,
    version_id   TEXT NOT NULL,                 -- '' for none
    bytes        INTEGER NOT NULL,
    crc32c       INTEGER NOT NULL,
    done_bytes   INTEGER NOT NULL,              -- of the object that was handled
    done_crc32c  INTEGER NOT NULL,
    seen_ms      INTEGER NOT NULL,
    PRIMARY KEY (channel, sink, number, bucket, key, version_id)
) STRICT, WITHOUT ROWID;

-- How far the reconciliation has listed.
CREATE TABLE listings (
    bucket         TEXT NOT NULL,
    prefix         TEXT NOT NULL,
    position       TEXT NOT NULL DEFAULT '',    -- the last key that was looked at; '' before the first
    started_ms     INTEGER,                     -- of the pass that runs, or ran last
    finished_ms    INTEGER,                     -- of the last whole pass
    asked_ms       INTEGER,                     -- when a pass was asked for, until it begins
    listed         INTEGER NOT NULL DEFAULT 0,  -- objects seen in this pass
    taken          INTEGER NOT NULL DEFAULT 0,  -- of them, objects that no notice had told of
    last_error     TEXT,
    lease_owner    TEXT,
    lease_until_ms INTEGER,
    PRIMARY KEY (bucket, prefix)
) STRICT, WITHOUT ROWID;
",
    "
-- By what a done object was taken apart, so what its events' numbers count; null: at newlines, by
-- a server that recorded nothing.
ALTER TABLE objects ADD COLUMN reader TEXT;
-- How events stand in the file. 1: the lines as they are in objects; 2: one JSON value a line.
ALTER TABLE outputs ADD COLUMN form INTEGER NOT NULL DEFAULT 1;
",
];

pub(super) fn prepare(database: &Database) -> Result<(), OpenError> {
    database.batch("PRAGMA journal_mode = WAL")?;
    // FULL syncs the log at each commit: what a 202 promises is then on the disk (I8).
    database.batch("PRAGMA synchronous = FULL")?;
    let version = database.query_one("PRAGMA user_version", &[])?.map(|row| row.count(0)).transpose()?;
    let version = version.unwrap_or_default() as usize;
    if version > VERSION {
        return Err(OpenError::Newer { found: version, known: VERSION });
    }
    // A step may rebuild a table that others refer to.
    database.batch("PRAGMA foreign_keys = OFF")?;
    for (number, step) in STEPS.iter().enumerate().skip(version) {
        database.batch("BEGIN IMMEDIATE")?;
        let stepped = database
            .batch(step)
            .and_then(|()| database.batch(&format!("PRAGMA user_version = {}", number + 1)))
            .and_then(|()| database.commit());
        if let Err(error) = stepped {
            database.roll_back();
            return Err(error.into());
        }
    }
    database.batch("PRAGMA foreign_keys = ON")?;
    Ok(())
}
