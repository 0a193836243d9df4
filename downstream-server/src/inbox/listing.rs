//! What the reconciliation keeps in the inbox: how far it has listed, and what was known before.

use contract::{Notice, ObjectKey};
use serde::Serialize;

use super::attempts::Lease;
use super::changes::Changes;
use super::database::{Database, DatabaseError, Record};
use super::error::InboxError;
use super::identity::Identity;
use super::intake::{self, Arrival};
use super::rows::Origin;
use super::{Taken, ranges};

type Result<T> = std::result::Result<T, InboxError>;

/// How far a bucket's prefix has been listed. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// The bucket.
    pub bucket: String,
    /// The prefix.
    pub prefix: String,
    /// The last key that was looked at in this pass; empty before the first and after the last.
    pub position: String,
    /// When the pass that runs, or ran last, began.
    pub started_ms: Option<i64>,
    /// When the last whole pass ended.
    pub finished_ms: Option<i64>,
    /// When a pass was asked for, until it begins.
    pub asked_ms: Option<i64>,
    /// Objects seen in that pass.
    pub listed: u64,
    /// Of them, objects that no notice had told of.
    pub taken: u64,
    /// Why the listing could not go on, when it was last tried.
    pub last_error: Option<String>,
}

/// An object that the listing shows and the inbox does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What a notice of it would have said.
    pub notice: Notice,
    /// It is older than the inbox, and the inbox was told to leave such objects alone.
    pub leave: bool,
}

const COLUMNS: &str =
    "bucket, prefix, position, started_ms, finished_ms, asked_ms, listed, taken, last_error";

fn read(row: &Record) -> std::result::Result<Listing, DatabaseError> {
    Ok(Listing {
        bucket: row.text(0)?,
        prefix: row.text(1)?,
        position: row.text(2)?,
        started_ms: row.maybe_integer(3)?,
        finished_ms: row.maybe_integer(4)?,
        asked_ms: row.maybe_integer(5)?,
        listed: row.count(6)?,
        taken: row.count(7)?,
        last_error: row.maybe_text(8)?,
    })
}

/// Every listing that was ever begun.
pub(super) fn all(at: &Database) -> std::result::Result<Vec<Listing>, DatabaseError> {
    let rows = at.query(&format!("SELECT {COLUMNS} FROM listings ORDER BY bucket, prefix"), &[])?;
    rows.iter().map(read).collect()
}

/// Asks for a pass over the prefix; one that runs already goes on, and another follows it.
pub(super) fn ask(at: &Database, bucket: &str, prefix: &str, now_ms: i64) -> Result<()> {
    at.execute(
        "INSERT INTO listings (bucket, prefix, asked_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (bucket, prefix) DO UPDATE SET asked_ms = excluded.asked_ms",
        &[bucket.into(), prefix.into(), now_ms.into()],
    )?;
    Ok(())
}

/// Begins a pass if one is due, or goes on with one that was cut short, unless another server
/// is at it. `None` means: nothing to do now.
pub(super) fn begin(
    at: &Database,
    lease: &Lease,
    bucket: &str,
    prefix: &str,
    due_before_ms: i64,
    now_ms: i64,
) -> Result<Option<Listing>> {
    at.execute(
        "INSERT INTO listings (bucket, prefix) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        &[bucket.into(), prefix.into()],
    )?;
    let row = at.query_one(
        &format!(
            "UPDATE listings SET
                 lease_owner = ?3, lease_until_ms = ?4, last_error = NULL,
                 started_ms = CASE WHEN position = '' THEN ?5 ELSE started_ms END,
                 asked_ms = CASE WHEN position = '' THEN NULL ELSE asked_ms END,
                 listed = CASE WHEN position = '' THEN 0 ELSE listed END,
                 taken = CASE WHEN position = '' THEN 0 ELSE taken END
             WHERE bucket = ?1 AND prefix = ?2
               AND (position <> '' OR asked_ms IS NOT NULL OR coalesce(finished_ms, 0) <= ?6
                    -- The clock was set back since.
                    OR (?6 >= 0 AND finished_ms > ?5))
               AND (lease_owner IS NULL OR lease_owner = ?3 OR lease_until_ms <= ?5 OR lease_until_ms > ?7)
             RETURNING {COLUMNS}"
        ),
        &[
            bucket.into(),
            prefix.into(),
            (&lease.owner).into(),
            (now_ms + lease.length_ms).into(),
            now_ms.into(),
            due_before_ms.into(),
            lease.credible_until(now_ms).into(),
        ],
    )?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Which of these the inbox does not know. It only reads.
pub(super) fn unknown(
    at: &Database,
    listed: Vec<Unknown>,
) -> std::result::Result<Vec<Unknown>, DatabaseError> {
    let dropped = at.query_one("SELECT value FROM counters WHERE name = 'foreign_dropped_ms'", &[])?;
    let dropped_ms = dropped.map_or(Ok(0), |row| row.integer(0))?;
    let mut unknown = Vec::new();
    for object in listed {
        if !is_known(at, &object.notice, dropped_ms)? {
            unknown.push(object);
        }
    }
    Ok(unknown)
}

fn is_known(at: &Database, notice: &Notice, dropped_ms: i64) -> std::result::Result<bool, DatabaseError> {
    let identity = Identity::of_notice(notice);
    if let Some(cut) = identity.cut()
        && ranges::contains(at, cut)?
    {
        return Ok(true);
    }
    // An object that is back after it was gone is worth another attempt.
    let row = at.query_one(
        "SELECT 1 FROM objects WHERE identity = ?1 AND state <> 'gone'",
        &[identity.as_str().into()],
    )?;
    if row.is_some() || ObjectKey::cut_of(&notice.key).is_some() {
        return Ok(row.is_some());
    }
    // A foreign object as old as those whose rows were dropped may be one of them.
    let made_ms = intake::event_ms(notice).unwrap_or(i64::MAX);
    if made_ms <= dropped_ms {
        return Ok(true);
    }
    // A notice that named the version is known by it, and a listing tells none.
    let row = at.query_one(
        "SELECT 1 FROM objects WHERE bucket = ?1 AND key = ?2 AND etag = ?3 AND state <> 'gone'",
        &[(&notice.bucket).into(), (&notice.key).into(), notice.entity_tag().into()],
    )?;
    Ok(row.is_some())
}

/// Enters a page: takes in what is unknown, and the position after it, as one.
pub(super) fn page(
    at: &Database,
    changes: &mut Changes,
    lease: &Lease,
    listing: &Listing,
    unknown: &[Unknown],
    now_ms: i64,
) -> Result<u64> {
    let mut taken = 0;
    for Unknown { notice, leave } in unknown {
        if *leave {
            if let Some(cut) = Identity::of_notice(notice).cut() {
                ranges::insert(at, cut, None, now_ms)?;
            }
            continue;
        }
        let notice_id = notice.idempotency_id();
        let arrival = Arrival { notice: notice.clone(), notice_id, origin: Origin::Listing, now_ms };
        taken += u64::from(intake::put(at, changes, &arrival)? == Taken::New);
    }
    at.execute(
        "UPDATE listings SET position = ?4, listed = ?5, taken = taken + ?6, lease_until_ms = ?7
         WHERE bucket = ?1 AND prefix = ?2 AND lease_owner = ?3",
        &[
            (&listing.bucket).into(),
            (&listing.prefix).into(),
            (&lease.owner).into(),
            (&listing.position).into(),
            listing.listed.into(),
            taken.into(),
            (now_ms + lease.length_ms).into(),
        ],
    )?;
    Ok(taken)
}

/// Ends a pass: whole, or for now, because of an error.
pub(super) fn end(
    at: &Database,
    lease: &Lease,
    listing: &Listing,
    error: Option<&str>,
    now_ms: i64,
) -> Result<()> {
    at.execute(
        "UPDATE listings SET lease_owner = NULL, lease_until_ms = NULL, last_error = ?4,
             position = CASE WHEN CAST(?4 AS TEXT) IS NULL THEN '' ELSE position END,
             finished_ms = CASE WHEN CAST(?4 AS TEXT) IS NULL THEN ?5 ELSE finished_ms END
         WHERE bucket = ?1 AND prefix = ?2 AND lease_owner = ?3",
        &[
            (&listing.bucket).into(),
            (&listing.prefix).into(),
            (&lease.owner).into(),
            error.into(),
            now_ms.into(),
        ],
    )?;
    Ok(())
}
