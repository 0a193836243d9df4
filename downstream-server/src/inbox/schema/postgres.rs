//! The tables of a PostgreSQL inbox. They are those of SQLite, column by column; texts compare by
//! their bytes, as they do there.

use super::super::database::Database;
use super::super::error::OpenError;
use super::VERSION;

/// The version that the first PostgreSQL inbox had.
const FIRST: usize = 3;

/// The tables as they were then, and one step for each version since; never edited once released.
const STEPS: [&str; VERSION + 1 - FIRST] = [
    "
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value)
    VALUES ('done_order', 0), ('dropped_objects', 0), ('dropped_events', 0), ('dropped_bytes', 0),
           ('foreign_dropped_ms', 0);

CREATE TABLE objects (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity       TEXT COLLATE \"C\" NOT NULL UNIQUE,
    bucket         TEXT COLLATE \"C\" NOT NULL,
    key            TEXT COLLATE \"C\" NOT NULL,
    version_id     TEXT,
    etag           TEXT,
    sequence       TEXT COLLATE \"C\" NOT NULL DEFAULT '',
    size           BIGINT,
    notice_id      TEXT NOT NULL,
    origin         TEXT NOT NULL DEFAULT 'notice',
    event_ms       BIGINT,
    received_ms    BIGINT NOT NULL,
    repeats        BIGINT NOT NULL DEFAULT 0,
    state          TEXT NOT NULL CHECK (state IN ('owed', 'fetching', 'done', 'dead', 'gone')),
    attempts       BIGINT NOT NULL DEFAULT 0,
    deferrals      BIGINT NOT NULL DEFAULT 0,
    replaying      BIGINT NOT NULL DEFAULT 0,
    next_try_ms    BIGINT NOT NULL,
    lease_owner    TEXT COLLATE \"C\",
    lease_until_ms BIGINT,
    last_error     TEXT,
    finished_ms    BIGINT,
    done_order     BIGINT,
    events         BIGINT NOT NULL DEFAULT 0,
    bytes          BIGINT NOT NULL DEFAULT 0,
    crc32c         BIGINT
);
CREATE INDEX objects_due ON objects (next_try_ms, id) WHERE state = 'owed';
CREATE INDEX objects_by_state ON objects (state, id);
CREATE INDEX objects_by_key ON objects (bucket, key);
CREATE UNIQUE INDEX objects_by_done_order ON objects (done_order) WHERE done_order IS NOT NULL;

CREATE TABLE places (
    object     BIGINT NOT NULL REFERENCES objects (id) ON DELETE CASCADE,
    bucket     TEXT COLLATE \"C\" NOT NULL,
    key        TEXT COLLATE \"C\" NOT NULL,
    version_id TEXT COLLATE \"C\" NOT NULL,
    PRIMARY KEY (object, bucket, key, version_id)
);

CREATE TABLE outputs (
    name   TEXT PRIMARY KEY,
    length BIGINT NOT NULL
);

CREATE TABLE ranges (
    channel          TEXT COLLATE \"C\" NOT NULL,
    sink             TEXT COLLATE \"C\" NOT NULL,
    first            BIGINT NOT NULL,
    last             BIGINT NOT NULL,
    gap_since_ms     BIGINT,
    counted_from     BIGINT,
    events           BIGINT NOT NULL DEFAULT 0,
    dead_lettered    BIGINT NOT NULL DEFAULT 0,
    before_events    BIGINT NOT NULL DEFAULT 0,
    before_dead      BIGINT NOT NULL DEFAULT 0,
    told_events      BIGINT NOT NULL DEFAULT 0,
    told_dead        BIGINT NOT NULL DEFAULT 0,
    told_damaged     BIGINT NOT NULL DEFAULT 0,
    lowest_position  BIGINT NOT NULL DEFAULT 0,
    highest_position BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (channel, sink, first)
);
CREATE INDEX ranges_by_gap ON ranges (gap_since_ms) WHERE gap_since_ms IS NOT NULL;

CREATE TABLE suspects (
    cut        TEXT COLLATE \"C\" NOT NULL,
    bucket     TEXT COLLATE \"C\" NOT NULL,
    key        TEXT COLLATE \"C\" NOT NULL,
    version_id TEXT COLLATE \"C\" NOT NULL,
    PRIMARY KEY (cut, bucket, key, version_id)
);
CREATE TABLE forks (
    channel     TEXT COLLATE \"C\" NOT NULL,
    sink        TEXT COLLATE \"C\" NOT NULL,
    number      BIGINT NOT NULL,
    bucket      TEXT COLLATE \"C\" NOT NULL,
    key         TEXT COLLATE \"C\" NOT NULL,
    version_id  TEXT COLLATE \"C\" NOT NULL,
    bytes       BIGINT NOT NULL,
    crc32c      BIGINT NOT NULL,
    done_bytes  BIGINT NOT NULL,
    done_crc32c BIGINT NOT NULL,
    seen_ms     BIGINT NOT NULL,
    PRIMARY KEY (channel, sink, number, bucket, key, version_id)
);

CREATE TABLE listings (
    bucket         TEXT COLLATE \"C\" NOT NULL,
    prefix         TEXT COLLATE \"C\" NOT NULL,
    position       TEXT COLLATE \"C\" NOT NULL DEFAULT '',
    started_ms     BIGINT,
    finished_ms    BIGINT,
    asked_ms       BIGINT,
    listed         BIGINT NOT NULL DEFAULT 0,
    taken          BIGINT NOT NULL DEFAULT 0,
    last_error     TEXT,
    lease_owner    TEXT COLLATE \"C\",
    lease_until_ms BIGINT,
    PRIMARY KEY (bucket, prefix)
);
",
    "
ALTER TABLE objects ADD COLUMN reader TEXT;
ALTER TABLE outputs ADD COLUMN form BIGINT NOT NULL DEFAULT 1;
",
];

/// Servers that start together prepare one after the other; the number is any.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7264581302)";

pub(super) fn prepare(database: &Database) -> Result<(), OpenError> {
    let encoding = database.query_one("SELECT current_setting('server_encoding')", &[])?;
    let encoding = encoding.map_or(Ok(String::new()), |row| row.text(0))?;
    if encoding != "UTF8" {
        return Err(OpenError::Encoding(encoding));
    }
    database.begin()?;
    let prepared = step(database);
    if prepared.is_err() {
        database.roll_back();
        return prepared;
    }
    Ok(database.commit()?)
}

fn step(database: &Database) -> Result<(), OpenError> {
    database.batch(LOCK)?;
    database.batch("CREATE TABLE IF NOT EXISTS inbox_version (version BIGINT NOT NULL)")?;
    let version = database.query_one("SELECT max(version) FROM inbox_version", &[])?;
    let version = version.map_or(Ok(None), |row| row.maybe_count(0))?.unwrap_or_default() as usize;
    if version > VERSION {
        return Err(OpenError::Newer { found: version, known: VERSION });
    }
    for step in STEPS.iter().skip((version + 1).saturating_sub(FIRST)) {
        database.batch(step)?;
    }
    database.batch("DELETE FROM inbox_version")?;
    database.execute("INSERT INTO inbox_version (version) VALUES (?1)", &[VERSION.into()])?;
    Ok(())
}
