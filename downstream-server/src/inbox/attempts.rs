//! Attempts: who makes one, until when, and how it failed.
//!
//! A server holds an attempt by a lease. The number of the attempt is its token: whoever comes
//! back after the lease has ended and another attempt has begun changes nothing any more.

use std::time::Duration;

use super::changes::Changes;
use super::database::{Database, Dialect};
use super::error::InboxError;
use super::rows::{COLUMNS, Place, Row, State, read_all};
use super::{Claim, Claimed, Next, Pauses};

type Result<T> = std::result::Result<T, InboxError>;

/// Who makes attempts, and until when without a sign of life.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// The server, and which start of it.
    pub(super) owner: String,
    pub(super) length_ms: i64,
}

/// Leases that are longer than this many times their length were written by a clock that was set back since. Servers that
/// share an inbox may differ by almost as much.
const CREDIBLE_LEASES: i64 = 10;

impl Lease {
    /// A lease that ends later than this has no end to wait for.
    pub(super) fn credible_until(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.length_ms.saturating_mul(CREDIBLE_LEASES))
    }
}

/// Makes objects due that would wait longer than any configured pause: their next try was set by a clock that has been set
/// back since.
fn wake(at: &Database, changes: &mut Changes, pauses: Pauses, now_ms: i64) -> Result<()> {
    let latest =
        |pause: Duration| now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    let (retry, later) = (latest(pauses.retry), latest(pauses.retry.max(pauses.later)));
    let rows = at.query(
        &format!(
            "UPDATE objects SET next_try_ms = ?1
             WHERE state = 'owed' AND next_try_ms > ?2 AND (deferrals = 0 OR next_try_ms > ?3)
             RETURNING {COLUMNS}"
        ),
        &[now_ms.into(), retry.into(), later.into()],
    )?;
    if !rows.is_empty() {
        tracing::warn!(
            objects = rows.len(),
            "the clock was set back: objects that waited for a later time are due now"
        );
    }
    for row in read_all(&rows)? {
        changes.changed(Some(State::Owed), row);
    }
    Ok(())
}

/// Puts attempts that a crash cut short back among the owed: those whose lease has ended, and
/// those whose owner begins with `ended`, of which it is known. They stay counted.
pub(super) fn interrupted(
    at: &Database,
    changes: &mut Changes,
    lease: &Lease,
    ended: Option<&str>,
    now_ms: i64,
) -> Result<()> {
    let rows = at.query(
        &format!(
            "UPDATE objects SET state = 'owed', lease_owner = NULL, lease_until_ms = NULL,
                                last_error = 'the server stopped during this attempt'
             WHERE state = 'fetching'
               AND (((lease_until_ms <= ?2 OR lease_until_ms > ?4) AND lease_owner <> ?1)
                    OR substr(coalesce(lease_owner, ''), 1, length(CAST(?3 AS TEXT))) = ?3)
             RETURNING {COLUMNS}"
        ),
        &[(&lease.owner).into(), now_ms.into(), ended.into(), lease.credible_until(now_ms).into()],
    )?;
    for row in read_all(&rows)? {
        tracing::warn!(key = row.key, attempt = row.attempts, "an attempt was cut short; it is made again");
        changes.changed(Some(State::Fetching), row);
    }
    if let Some(ended) = ended {
        at.execute(
            "UPDATE listings SET lease_owner = NULL, lease_until_ms = NULL
             WHERE substr(coalesce(lease_owner, ''), 1, length(?1)) = ?1",
            &[ended.into()],
        )?;
    }
    Ok(())
}

/// Takes due objects. An object waits while an earlier one under its key is neither done nor
/// given up, as far as their sequencers tell which is earlier.
pub(super) fn claim(
    at: &Database,
    changes: &mut Changes,
    lease: &Lease,
    pauses: Option<Pauses>,
    limit: usize,
    now_ms: i64,
) -> Result<Claimed> {
    interrupted(at, changes, lease, None, now_ms)?;
    if let Some(pauses) = pauses {
        wake(at, changes, pauses, now_ms)?;
    }
    let skip_locked = match at.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => "FOR UPDATE OF o SKIP LOCKED",
    };
    let rows = at.query(
        &format!(
            "WITH due AS (
                 SELECT o.id FROM objects o
                 WHERE o.state = 'owed' AND o.next_try_ms <= ?1 AND NOT EXISTS (
                     SELECT 1 FROM objects e
                     WHERE e.bucket = o.bucket AND e.key = o.key AND e.state IN ('owed', 'fetching')
                       AND e.sequence <> '' AND o.sequence <> ''
                       AND (e.sequence < o.sequence OR (e.sequence = o.sequence AND e.id < o.id)))
                 ORDER BY o.next_try_ms, o.id LIMIT ?2 {skip_locked})
             UPDATE objects SET state = 'fetching', attempts = attempts + 1, lease_owner = ?3, lease_until_ms = ?4
             WHERE id IN (SELECT id FROM due)
             RETURNING {COLUMNS}"
        ),
        &[now_ms.into(), limit.into(), (&lease.owner).into(), (now_ms + lease.length_ms).into()],
    )?;
    let mut claimed = Claimed::default();
    for row in read_all(&rows)? {
        claimed.claims.push(Claim {
            id: row.id,
            identity: row.identity.clone(),
            attempt: row.attempts,
            deferrals: row.deferrals,
            notice_id: row.notice_id.clone(),
            since_ms: row.event_ms.unwrap_or(row.received_ms),
            etag: row.etag.clone(),
            places: places(at, &row)?,
        });
        changes.changed(Some(State::Owed), row);
    }
    // The statement returns rows in no promised order.
    claimed.claims.sort_by_key(|claim| claim.id);
    // What is due and was not taken waits for another object, whose end is heard of anyway.
    let next = at.query_one(
        "SELECT min(next_try_ms) FROM objects WHERE state = 'owed' AND next_try_ms > ?1",
        &[now_ms.into()],
    )?;
    claimed.next_due_ms = next.map_or(Ok(None), |row| row.maybe_integer(0))?;
    Ok(claimed)
}

fn places(at: &Database, row: &Row) -> Result<Vec<Place>> {
    let others = at.query(
        "SELECT bucket, key, nullif(version_id, '') FROM places WHERE object = ?1
         ORDER BY bucket, key, version_id",
        &[row.id.into()],
    )?;
    let mut places = vec![row.place()];
    for other in others {
        places.push(Place { bucket: other.text(0)?, key: other.text(1)?, version_id: other.maybe_text(2)? });
    }
    Ok(places)
}

/// Says that the attempts of this server go on.
pub(super) fn renew(at: &Database, lease: &Lease, now_ms: i64) -> Result<()> {
    at.execute(
        "UPDATE objects SET lease_until_ms = ?2 WHERE state = 'fetching' AND lease_owner = ?1",
        &[(&lease.owner).into(), (now_ms + lease.length_ms).into()],
    )?;
    Ok(())
}

pub(super) fn fail(
    at: &Database,
    changes: &mut Changes,
    lease: &Lease,
    claim: &Claim,
    error: &str,
    next: Next,
    now_ms: i64,
) -> Result<()> {
    let (state, next_try_ms, finished_ms) = match next {
        Next::At(due_ms) | Next::Later(due_ms) => (State::Owed, due_ms, None),
        Next::Dead => (State::Dead, now_ms, Some(now_ms)),
        Next::Gone => (State::Gone, now_ms, Some(now_ms)),
    };
    let deferred = u32::from(matches!(next, Next::Later(_)));
    let row = at.query_one(
        &format!(
            "UPDATE objects SET state = ?4, next_try_ms = ?5, finished_ms = ?6, last_error = ?7, deferrals = deferrals + ?8,
                                lease_owner = NULL, lease_until_ms = NULL
             WHERE id = ?1 AND state = 'fetching' AND lease_owner = ?2 AND attempts = ?3 RETURNING {COLUMNS}"
        ),
        &[
            claim.id.into(),
            (&lease.owner).into(),
            claim.attempt.into(),
            state.as_str().into(),
            next_try_ms.into(),
            finished_ms.into(),
            error.into(),
            deferred.into(),
        ],
    )?;
    if let Some(row) = row {
        changes.changed(Some(State::Fetching), Row::read(&row)?);
    }
    Ok(())
}

/// Gives an attempt back that was not made to its end; it does not count.
pub(super) fn release(at: &Database, changes: &mut Changes, lease: &Lease, claim: &Claim) -> Result<()> {
    let row = at.query_one(
        &format!(
            "UPDATE objects SET state = 'owed', attempts = attempts - 1, lease_owner = NULL, lease_until_ms = NULL
             WHERE id = ?1 AND state = 'fetching' AND lease_owner = ?2 AND attempts = ?3 RETURNING {COLUMNS}"
        ),
        &[claim.id.into(), (&lease.owner).into(), claim.attempt.into()],
    )?;
    if let Some(row) = row {
        changes.changed(Some(State::Fetching), Row::read(&row)?);
    }
    Ok(())
}
