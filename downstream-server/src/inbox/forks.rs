//! Forks: the same cut with another content.
//!
//! A done cut is done whatever else carries its name, and a notice of another place of it changes
//! nothing but a counter. Yet that place may hold something else, which would mean that two
//! agents write as one. So it is remembered, and the reconciliation looks at it once: the
//! length and the checksum that the object itself tells are held against those of the done one.

use contract::{CutId, ObjectMetadata};

use super::database::{Database, DatabaseError};
use super::rows::{COLUMNS, Place, Row};

type Result<T> = std::result::Result<T, DatabaseError>;

/// Places that wait to be looked at; more are not remembered.
const MAX_SUSPECTS: i64 = 10_000;

/// Forks that are kept of one channel and sink.
pub(super) const MAX_FORKS: i64 = 1_000;

/// A place that names a done cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The cut.
    pub cut: CutId,
    /// Where something with its name is.
    pub place: Place,
}

/// Remembers a repeated notice's place if the done object was not found just there.
pub(super) fn suspect(
    at: &Database,
    cut: &CutId,
    row: &Row,
    place: &Place,
    etag: Option<&str>,
) -> Result<()> {
    let elsewhere = (&place.bucket, &place.key) != (&row.bucket, &row.key);
    let other = |told: Option<&str>, known: Option<&str>| matches!((told, known), (Some(told), Some(known)) if told != known);
    let etag = etag.map(|etag| etag.trim_matches('"'));
    if elsewhere
        || other(place.version_id.as_deref(), row.version_id.as_deref())
        || other(etag, row.etag.as_deref())
    {
        remember(at, cut, place)?;
    }
    Ok(())
}

/// Remembers a place to look at.
pub(super) fn remember(at: &Database, cut: &CutId, place: &Place) -> Result<()> {
    at.execute(
        "INSERT INTO suspects (cut, bucket, key, version_id)
         SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), CAST(?3 AS TEXT), CAST(?4 AS TEXT)
         WHERE (SELECT count(*) FROM suspects) < ?5
         ON CONFLICT DO NOTHING",
        &[
            (&cut.to_string()).into(),
            (&place.bucket).into(),
            (&place.key).into(),
            place.version_text().into(),
            MAX_SUSPECTS.into(),
        ],
    )?;
    Ok(())
}

/// Places to look at, some of them.
pub(super) fn suspects(at: &Database, limit: usize) -> Result<Vec<Suspect>> {
    let rows = at.query(
        "SELECT cut, bucket, key, nullif(version_id, '') FROM suspects
         ORDER BY cut, bucket, key, version_id LIMIT ?1",
        &[limit.into()],
    )?;
    let mut suspects = Vec::with_capacity(rows.len());
    for row in rows {
        let place = Place { bucket: row.text(1)?, key: row.text(2)?, version_id: row.maybe_text(3)? };
        // Only cuts are remembered.
        let Ok(cut) = row.text(0)?.parse() else { continue };
        suspects.push(Suspect { cut, place });
    }
    Ok(suspects)
}

/// Enters what was found at a suspect's place: what the object says about itself, if one is
/// there and it is ours. Says whether it is a fork.
pub(super) fn cleared(
    at: &Database,
    suspect: &Suspect,
    found: Option<&ObjectMetadata>,
    now_ms: i64,
) -> Result<bool> {
    let (cut, place) = (suspect.cut.to_string(), &suspect.place);
    at.execute(
        "DELETE FROM suspects WHERE cut = ?1 AND bucket = ?2 AND key = ?3 AND version_id = ?4",
        &[(&cut).into(), (&place.bucket).into(), (&place.key).into(), place.version_text().into()],
    )?;
    let Some(metadata) = found.filter(|metadata| metadata.cut == suspect.cut) else { return Ok(false) };
    let done = at.query_one(
        &format!("SELECT {COLUMNS} FROM objects WHERE identity = ?1 AND state = 'done'"),
        &[(&cut).into()],
    )?;
    match done.as_ref().map(Row::read).transpose()? {
        Some(done) => compare(at, &done, metadata, place, now_ms),
        None => Ok(false),
    }
}

/// Enters a fork if the object at `place` is not what the done one was.
pub(super) fn compare(
    at: &Database,
    done: &Row,
    metadata: &ObjectMetadata,
    place: &Place,
    now_ms: i64,
) -> Result<bool> {
    let Some(crc32c) = done.crc32c else { return Ok(false) };
    if (done.bytes, crc32c) == (metadata.length, metadata.crc32c.into()) {
        return Ok(false);
    }
    tracing::error!(
        cut = %metadata.cut,
        bucket = place.bucket,
        key = place.key,
        "two objects of one cut differ: two agents write under one identity"
    );
    let channel = metadata.cut.channel.to_string();
    at.execute(
        "INSERT INTO forks (channel, sink, number, bucket, key, version_id, bytes, crc32c, done_bytes,
                            done_crc32c, seen_ms)
         SELECT CAST(?1 AS TEXT), CAST(?2 AS TEXT), CAST(?3 AS BIGINT), CAST(?4 AS TEXT), CAST(?5 AS TEXT),
                CAST(?6 AS TEXT), CAST(?7 AS BIGINT), CAST(?8 AS BIGINT), CAST(?9 AS BIGINT),
                CAST(?10 AS BIGINT), CAST(?11 AS BIGINT)
         WHERE (SELECT count(*) FROM forks WHERE channel = ?1 AND sink = ?2) < ?12
         ON CONFLICT DO NOTHING",
        &[
            (&channel).into(),
            metadata.cut.sink.as_str().into(),
            metadata.cut.number.into(),
            (&place.bucket).into(),
            (&place.key).into(),
            place.version_text().into(),
            metadata.length.into(),
            metadata.crc32c.into(),
            done.bytes.into(),
            crc32c.into(),
            now_ms.into(),
            MAX_FORKS.into(),
        ],
    )?;
    Ok(true)
}
