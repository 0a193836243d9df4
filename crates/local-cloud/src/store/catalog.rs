//! The catalog's tables and statements. SQLite, because an object and its event must come to be in one step.
//!
//! Keys compare as bytes, which is S3's order of listing. `PRAGMA user_version` is the schema's version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Object, Part, StoreError, Upload};

/// The version of the schema below.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    created_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE objects (
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    blob TEXT NOT NULL UNIQUE,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    meta TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX objects_by_path ON objects (bucket, path);
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    key TEXT NOT NULL,
    initiated_ms INTEGER NOT NULL,
    meta TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads_by_key ON uploads (bucket, key, id);
CREATE TABLE parts (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    blob TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    crc32c INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE invocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    failed_ms INTEGER,
    error TEXT NOT NULL,
    payload TEXT NOT NULL
);
CREATE INDEX invocations_due ON invocations (due_ms, id) WHERE failed_ms IS NULL;
";

const OBJECT_COLUMNS: &str = "bucket, key, blob, path, size, etag, sequence, modified_ms, meta";

/// Opens the connection that writes, making the tables if there are none.
pub(super) fn open(path: &Path, sync: bool) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", if sync { "full" } else { "off" })?;
    connection.pragma_update(None, "foreign_keys", true)?;
    match connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        0 => connection.execute_batch(&format!("BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;"))?,
        VERSION => {}
        newer => {
            return Err(StoreError::Io {
                what: format!(
                    "opening {}: it has version {newer}, this program reads {VERSION}",
                    path.display()
                ),
                source: std::io::ErrorKind::Unsupported.into(),
            });
        }
    }
    Ok(connection)
}

/// Opens the connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

pub(crate) fn create_bucket(connection: &Connection, name: &str, now_ms: u64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("INSERT INTO buckets VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
        .execute(params![name, signed(now_ms)])?
        == 1)
}

pub(crate) fn require_bucket(connection: &Connection, name: &str) -> Result<(), StoreError> {
    let found = connection.prepare_cached("SELECT 1 FROM buckets WHERE name = ?1")?.exists([name])?;
    if found { Ok(()) } else { Err(StoreError::NoSuchBucket) }
}

/// Every bucket with the time it was made, by name.
pub(crate) fn buckets(connection: &Connection) -> Result<Vec<(String, u64)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT name, created_ms FROM buckets ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn delete_bucket(connection: &Connection, name: &str) -> Result<(), StoreError> {
    require_bucket(connection, name)?;
    for table in ["objects", "uploads"] {
        let query = format!("SELECT 1 FROM {table} WHERE bucket = ?1 LIMIT 1");
        if connection.prepare_cached(&query)?.exists([name])? {
            return Err(StoreError::BucketNotEmpty);
        }
    }
    connection.execute("DELETE FROM buckets WHERE name = ?1", [name])?;
    Ok(())
}

/// The object at a key; `NoSuchBucket` when even the bucket is missing.
pub(crate) fn object(connection: &Connection, bucket: &str, key: &str) -> Result<Option<Object>, StoreError> {
    let query = format!("SELECT {OBJECT_COLUMNS} FROM objects WHERE bucket = ?1 AND key = ?2");
    let found = connection
        .prepare_cached(&query)?
        .query_row([bucket, key], |row| Ok(object_of(row)))
        .optional()?
        .transpose()?;
    if found.is_none() {
        require_bucket(connection, bucket)?;
    }
    Ok(found)
}

/// The object whose bytes are this blob, for recovery.
pub(super) fn object_of_blob(connection: &Connection, blob: &str) -> Result<Option<Object>, StoreError> {
    let query = format!("SELECT {OBJECT_COLUMNS} FROM objects WHERE blob = ?1");
    connection.prepare_cached(&query)?.query_row([blob], |row| Ok(object_of(row))).optional()?.transpose()
}

pub(super) fn is_part(connection: &Connection, blob: &str) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM parts WHERE blob = ?1")?.exists([blob])?)
}

pub(super) fn has_path(connection: &Connection, bucket: &str, path: &str) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT 1 FROM objects WHERE bucket = ?1 AND path = ?2")?
        .exists([bucket, path])?)
}

/// The highest sequence given so far.
pub(super) fn last_sequence(connection: &Connection) -> Result<u64, StoreError> {
    Ok(connection.query_row("SELECT coalesce(max(sequence), 0) FROM objects", [], |row| unsigned(row, 0))?)
}

pub(super) fn put_object(connection: &Connection, object: &Object) -> Result<(), StoreError> {
    let query =
        format!("INSERT OR REPLACE INTO objects ({OBJECT_COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)");
    connection.prepare_cached(&query)?.execute(params![
        object.bucket,
        object.key,
        object.blob,
        object.path,
        signed(object.size),
        object.etag,
        signed(object.sequence),
        signed(object.modified_ms),
        serde_json::to_string(&object.meta)?,
    ])?;
    Ok(())
}

pub(super) fn delete_object(connection: &Connection, bucket: &str, key: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2")?
        .execute([bucket, key])?;
    Ok(())
}

pub(crate) fn create_upload(connection: &Connection, upload: &Upload) -> Result<(), StoreError> {
    require_bucket(connection, &upload.bucket)?;
    connection.prepare_cached("INSERT INTO uploads VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        upload.id,
        upload.bucket,
        upload.key,
        signed(upload.initiated_ms),
        serde_json::to_string(&upload.meta)?,
    ])?;
    Ok(())
}

/// The upload with this id at this key.
pub(crate) fn upload(
    connection: &Connection,
    bucket: &str,
    key: &str,
    id: &str,
) -> Result<Upload, StoreError> {
    require_bucket(connection, bucket)?;
    connection
        .prepare_cached(
            "SELECT bucket, key, id, initiated_ms, meta FROM uploads
             WHERE bucket = ?1 AND key = ?2 AND id = ?3",
        )?
        .query_row([bucket, key, id], |row| Ok(upload_of(row)))
        .optional()?
        .transpose()?
        .ok_or(StoreError::NoSuchUpload)
}

/// Forgets an upload and its parts.
pub(super) fn delete_upload(connection: &Connection, id: &str) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM uploads WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub(super) fn put_part(connection: &Connection, upload: &str, part: &Part) -> Result<(), StoreError> {
    connection.prepare_cached("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(
        params![
            upload,
            part.number,
            part.blob,
            signed(part.size),
            part.etag,
            part.crc32c,
            signed(part.modified_ms),
        ],
    )?;
    Ok(())
}

/// The parts of an upload numbered above `after`, at most `max` of them, in order.
pub(crate) fn parts(
    connection: &Connection,
    upload: &str,
    after: i32,
    max: usize,
) -> Result<Vec<Part>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, blob, size, etag, crc32c, modified_ms FROM parts
         WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map(params![upload, after, limit(max)], |row| {
        Ok(Part {
            number: row.get(0)?,
            blob: row.get(1)?,
            size: unsigned(row, 2)?,
            etag: row.get(3)?,
            crc32c: row.get(4)?,
            modified_ms: unsigned(row, 5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn upload_of(row: &Row<'_>) -> Result<Upload, StoreError> {
    Ok(Upload {
        bucket: row.get(0)?,
        key: row.get(1)?,
        id: row.get(2)?,
        initiated_ms: unsigned(row, 3)?,
        meta: serde_json::from_str(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
    })
}

fn object_of(row: &Row<'_>) -> Result<Object, StoreError> {
    Ok(Object {
        bucket: row.get(0)?,
        key: row.get(1)?,
        blob: row.get(2)?,
        path: row.get(3)?,
        size: unsigned(row, 4)?,
        etag: row.get(5)?,
        sequence: unsigned(row, 6)?,
        modified_ms: unsigned(row, 7)?,
        meta: serde_json::from_str(row.get_ref(8)?.as_str().map_err(rusqlite::Error::from)?)?,
    })
}

/// SQLite's integers are signed; sizes and times here stay far below 2^63.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The other way round.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0))
}

/// A row limit.
pub(super) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
