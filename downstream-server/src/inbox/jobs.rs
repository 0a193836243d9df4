//! The writes, each inside the transaction of its group.

use contract::Notice;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::changes::Changes;
use super::rows::{COLUMNS, Place, Row, State};
use super::writer::Job;
use super::{Claim, Claimed, Finished, Identity, InboxError, Next, Report, Settlement, Taken, ranges};
use crate::handler::{Effect, Outcome};

/// Other places remembered for one cut; a sender that names more has them ignored.
const MAX_PLACES: i64 = 8;

type Result<T> = std::result::Result<T, InboxError>;

/// Puts attempts that a crash cut short back among the owed. They stay counted.
pub(super) fn interrupted(at: &Connection) -> rusqlite::Result<usize> {
    at.execute(
        "UPDATE objects SET state = 'owed', last_error = 'the server stopped during this attempt'
         WHERE state = 'fetching'",
        [],
    )
}

pub(super) fn put(
    at: &Connection,
    changes: &mut Changes,
    notice: &Notice,
    notice_id: &str,
    now_ms: i64,
) -> Result<Taken> {
    let identity = Identity::of_notice(notice);
    let known = match identity.cut() {
        Some(cut) => ranges::contains(at, cut)?,
        None => false,
    };
    if !known && let Some(row) = insert(at, notice, &identity, notice_id, now_ms)? {
        changes.changed(None, row);
        return Ok(Taken::New);
    }
    let row = at
        .prepare_cached(&format!(
            "UPDATE objects SET repeats = repeats + 1 WHERE identity = ?1 RETURNING {COLUMNS}"
        ))?
        .query_row([identity.as_str()], Row::read)
        .optional()?;
    // A done cut may have no row any more; its range is enough to know it.
    let Some(row) = row else { return Ok(Taken::Repeated) };
    let state = row.state;
    if state == State::Done || !remember_place(at, &row, &Place::of_notice(notice))? {
        changes.changed(Some(state), row);
    } else if state == State::Dead {
        // Nobody found it where it was said to be, and now it is said to be elsewhere.
        let row = at
            .prepare_cached(&format!(
                "UPDATE objects SET state = 'owed', next_try_ms = ?2, attempts = 0, deferrals = 0,
                                    finished_ms = NULL
                 WHERE id = ?1 RETURNING {COLUMNS}"
            ))?
            .query_row(params![row.id, now_ms], Row::read)?;
        changes.changed(Some(State::Dead), row);
    } else {
        changes.changed(Some(state), row);
    }
    Ok(Taken::Repeated)
}

fn insert(
    at: &Connection,
    notice: &Notice,
    identity: &Identity,
    notice_id: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<Row>> {
    at.prepare_cached(&format!(
        "INSERT INTO objects (identity, bucket, key, version_id, etag, sequencer, size, notice_id,
                              event_ms, received_ms, state, next_try_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'owed', ?10)
         ON CONFLICT (identity) DO NOTHING RETURNING {COLUMNS}"
    ))?
    .query_row(
        params![
            identity.as_str(),
            notice.bucket,
            notice.key,
            Place::of_notice(notice).version_id,
            notice.etag,
            notice.sequencer,
            notice.size.map(|size| size.min(i64::MAX as u64)),
            notice_id,
            event_ms(notice),
            now_ms
        ],
        Row::read,
    )
    .optional()
}

/// Remembers that a cut was named at another place. A copy that a notice mistakes for the
/// object must not hide the object.
fn remember_place(at: &Connection, row: &Row, place: &Place) -> rusqlite::Result<bool> {
    if (&row.bucket, &row.key, &row.version_id) == (&place.bucket, &place.key, &place.version_id) {
        return Ok(false);
    }
    let version = place.version_id.as_deref().unwrap_or_default();
    let added = at
        .prepare_cached(
            "INSERT INTO places (object, bucket, key, version_id)
             SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM places WHERE object = ?1) < ?5
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![row.id, place.bucket, place.key, version, MAX_PLACES])?;
    Ok(added > 0)
}

pub(super) fn claim(at: &Connection, changes: &mut Changes, limit: usize, now_ms: i64) -> Result<Claimed> {
    let mut claimed = Claimed::default();
    let rows: Vec<Row> = at
        .prepare_cached(&format!(
            "UPDATE objects SET state = 'fetching', attempts = attempts + 1 WHERE id IN
                 (SELECT id FROM objects WHERE state = 'owed' AND next_try_ms <= ?1
                  ORDER BY next_try_ms, id LIMIT ?2)
             RETURNING {COLUMNS}"
        ))?
        .query_map(params![now_ms, limit], Row::read)?
        .collect::<rusqlite::Result<_>>()?;
    for row in rows {
        claimed.claims.push(Claim {
            id: row.id,
            identity: row.identity.clone(),
            attempt: row.attempts,
            deferrals: row.deferrals,
            notice_id: row.notice_id.clone(),
            since_ms: row.event_ms.unwrap_or(row.received_ms),
            places: places(at, &row)?,
        });
        changes.changed(Some(State::Owed), row);
    }
    // The statement returns rows in no promised order.
    claimed.claims.sort_by_key(|claim| claim.id);
    claimed.next_due_ms = at
        .prepare_cached("SELECT min(next_try_ms) FROM objects WHERE state = 'owed'")?
        .query_row([], |row| row.get(0))?;
    Ok(claimed)
}

fn places(at: &Connection, row: &Row) -> rusqlite::Result<Vec<Place>> {
    let first =
        Place { bucket: row.bucket.clone(), key: row.key.clone(), version_id: row.version_id.clone() };
    let mut statement =
        at.prepare_cached("SELECT bucket, key, nullif(version_id, '') FROM places WHERE object = ?1")?;
    let others = statement.query_map([row.id], |row| {
        Ok(Place { bucket: row.get(0)?, key: row.get(1)?, version_id: row.get(2)? })
    })?;
    std::iter::once(Ok(first)).chain(others).collect()
}

pub(super) fn fail(
    at: &Connection,
    changes: &mut Changes,
    id: i64,
    error: &str,
    next: Next,
    now_ms: i64,
) -> Result<()> {
    let (state, next_try_ms, finished_ms) = match next {
        Next::At(due_ms) | Next::Later(due_ms) => (State::Owed, due_ms, None),
        Next::Dead => (State::Dead, now_ms, Some(now_ms)),
    };
    let deferred = u32::from(matches!(next, Next::Later(_)));
    let row = at
        .prepare_cached(&format!(
            "UPDATE objects SET state = ?2, next_try_ms = ?3, finished_ms = ?4, last_error = ?5,
                                deferrals = deferrals + ?6
             WHERE id = ?1 AND state = 'fetching' RETURNING {COLUMNS}"
        ))?
        .query_row(params![id, state.as_str(), next_try_ms, finished_ms, error, deferred], Row::read)
        .optional()?;
    if let Some(row) = row {
        changes.changed(Some(State::Fetching), row);
    }
    Ok(())
}

pub(super) fn release(at: &Connection, changes: &mut Changes, id: i64) -> Result<()> {
    let row = at
        .prepare_cached(&format!(
            "UPDATE objects SET state = 'owed', attempts = attempts - 1
             WHERE id = ?1 AND state = 'fetching' RETURNING {COLUMNS}"
        ))?
        .query_row([id], Row::read)
        .optional()?;
    if let Some(row) = row {
        changes.changed(Some(State::Fetching), row);
    }
    Ok(())
}

pub(super) fn output_length(at: &Connection, name: &str) -> Result<Option<u64>> {
    let length = at.query_row("SELECT length FROM outputs WHERE name = ?1", [name], |row| row.get(0));
    Ok(length.optional()?)
}

pub(super) fn add_output(at: &Connection, name: &str) -> Result<()> {
    at.execute("INSERT INTO outputs (name, length) VALUES (?1, 0)", [name])?;
    Ok(())
}

/// Enters a done object and the handler's effect as one.
pub(super) struct Finish {
    pub(super) id: i64,
    pub(super) report: Report,
    pub(super) effect: Box<dyn Effect>,
    pub(super) result: Option<Result<Finished>>,
    pub(super) reply: oneshot::Sender<Result<Finished>>,
}

impl Job for Finish {
    fn run(&mut self, at: &Connection, changes: &mut Changes) -> bool {
        let result = self.finish(at, changes);
        let kept = result.is_ok();
        self.result = Some(result);
        kept
    }

    fn settle(self: Box<Self>, settlement: &Settlement) {
        let (outcome, answer) = match (settlement, self.result) {
            (Settlement::Committed, Some(Ok(Finished::Done))) => (Outcome::Committed, Ok(Finished::Done)),
            (Settlement::Committed, Some(Ok(Finished::Repeat))) => (Outcome::Undone, Ok(Finished::Repeat)),
            (Settlement::Committed, None) => (Outcome::Undone, Err(InboxError::Closed)),
            (_, Some(Err(error))) => (Outcome::Undone, Err(error)),
            (Settlement::Undone(error) | Settlement::Unknown(error), _) => {
                (settlement.into(), Err(InboxError::Storage(error.clone())))
            }
        };
        self.effect.settle(outcome);
        // The worker may have gone; what was committed stays committed.
        let _ = self.reply.send(answer);
    }
}

impl Finish {
    fn finish(&mut self, at: &Connection, changes: &mut Changes) -> Result<Finished> {
        let report = &self.report;
        self.resolve(at, changes)?;
        let row = at
            .prepare_cached(&format!(
                "UPDATE objects SET state = 'done', identity = ?2, finished_ms = ?3, events = ?4, bytes = ?5,
                                    last_error = NULL
                 WHERE id = ?1 AND state = 'fetching' RETURNING {COLUMNS}"
            ))?
            .query_row(
                params![self.id, report.identity.as_str(), report.now_ms, report.events, report.bytes],
                Row::read,
            )
            .optional()?;
        // The row is gone: the object was done before, or meanwhile under another name.
        let Some(row) = row else { return Ok(Finished::Repeat) };
        at.prepare_cached("DELETE FROM places WHERE object = ?1")?.execute([self.id])?;
        if let Some(cut) = report.identity.cut() {
            ranges::insert(at, cut)?;
        }
        self.effect.apply(at)?;
        changes.changed(Some(State::Fetching), row);
        Ok(Finished::Done)
    }

    /// Looks for another row that turns out to be the same object. If that one is done, ours
    /// was a repeat and goes; if not, ours has won and that one goes.
    fn resolve(&self, at: &Connection, changes: &mut Changes) -> Result<()> {
        let identity = &self.report.identity;
        let other = at
            .prepare_cached(&format!("SELECT {COLUMNS} FROM objects WHERE identity = ?1 AND id <> ?2"))?
            .query_row(params![identity.as_str(), self.id], Row::read)
            .optional()?;
        let done_before = match (&other, identity.cut()) {
            (Some(other), _) if other.state == State::Done => true,
            (_, Some(cut)) => ranges::contains(at, cut)?,
            _ => false,
        };
        let gone = if done_before {
            Some((self.id, State::Fetching))
        } else {
            other.as_ref().map(|other| (other.id, other.state))
        };
        if let Some((id, state)) = gone
            && at.prepare_cached("DELETE FROM objects WHERE id = ?1")?.execute([id])? > 0
        {
            changes.removed(state);
        }
        if let (true, Some(other)) = (done_before, other) {
            let row = at
                .prepare_cached(&format!(
                    "UPDATE objects SET repeats = repeats + 1 WHERE id = ?1 RETURNING {COLUMNS}"
                ))?
                .query_row([other.id], Row::read)?;
            changes.changed(Some(row.state), row);
        }
        Ok(())
    }
}

/// When the store says that the object was made; a time that cannot be read is no reason to
/// refuse the notice.
fn event_ms(notice: &Notice) -> Option<i64> {
    let time: jiff::Timestamp = notice.event_time.as_deref()?.parse().ok()?;
    Some(time.as_millisecond())
}
