//! Entering a done object and its handler's effect as one.

use tokio::sync::oneshot;

use super::attempts::Lease;
use super::changes::Changes;
use super::database::{Database, Dialect};
use super::error::{InboxError, Settlement};
use super::rows::{COLUMNS, Row, State};
use super::writer::Job;
use super::{Claim, Finished, Report, forks, ranges};
use crate::handler::{Effect, Outcome};

type Result<T> = std::result::Result<T, InboxError>;

/// The end of an attempt that succeeded.
pub(super) struct Finish {
    pub(super) claim: Claim,
    pub(super) lease: Lease,
    pub(super) report: Report,
    pub(super) effect: Box<dyn Effect>,
    pub(super) result: Option<Result<Finished>>,
    pub(super) reply: oneshot::Sender<Result<Finished>>,
}

impl Job for Finish {
    fn run(&mut self, at: &Database, changes: &mut Changes) -> bool {
        self.result = None;
        let result = self.finish(at, changes);
        let kept = result.is_ok();
        self.result = Some(result);
        kept
    }

    fn settle(self: Box<Self>, settlement: &Settlement) {
        let (outcome, answer) = match (settlement, self.result) {
            (Settlement::Committed, Some(Ok(Finished::Done))) => (Outcome::Committed, Ok(Finished::Done)),
            (Settlement::Committed, Some(Ok(other))) => (Outcome::Undone, Ok(other)),
            (Settlement::Committed, None) => (Outcome::Undone, Err(InboxError::Panicked)),
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
    fn finish(&mut self, at: &Database, changes: &mut Changes) -> Result<Finished> {
        let report = &self.report;
        let lock = match at.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => {
                take_turn(at)?;
                "FOR UPDATE"
            }
        };
        let row = at.query_one(
            &format!("SELECT {COLUMNS} FROM objects WHERE id = ?1 {lock}"),
            &[self.claim.id.into()],
        )?;
        // The row is gone: the object was done meanwhile under another name.
        let Some(row) = row else { return Ok(Finished::Repeat) };
        let row = Row::read(&row)?;
        let ours = row.lease_owner.as_deref() == Some(&*self.lease.owner);
        if row.state != State::Fetching || row.attempts != self.claim.attempt || !ours {
            return Ok(Finished::Lost);
        }
        if !row.replaying && self.was_done(at, changes, &row)? {
            return Ok(Finished::Repeat);
        }
        let done_order = at.query_one(
            "UPDATE counters SET value = value + 1 WHERE name = 'done_order' RETURNING value",
            &[],
        )?;
        let done_order = done_order.map(|row| row.integer(0)).transpose()?;
        let place = self.claim.place();
        let row = at.query_one(
            &format!(
                "UPDATE objects SET state = 'done', identity = ?2, finished_ms = ?3, events = ?4, bytes = ?5,
                                    crc32c = ?6, bucket = ?7, key = ?8, version_id = ?9,
                                    etag = coalesce(?10, etag), done_order = ?11, reader = ?12, replaying = 0,
                                    lease_owner = NULL, lease_until_ms = NULL, last_error = NULL
                 WHERE id = ?1 RETURNING {COLUMNS}"
            ),
            &[
                self.claim.id.into(),
                report.identity.as_str().into(),
                report.now_ms.into(),
                report.events.into(),
                report.bytes.into(),
                report.identity.metadata().map(|metadata| metadata.crc32c).into(),
                (&place.bucket).into(),
                (&place.key).into(),
                report.identity.version_id().or(place.version_id.as_deref()).into(),
                report.identity.etag().into(),
                done_order.into(),
                (&report.reader.to_string()).into(),
            ],
        )?;
        let Some(row) = row else { return Ok(Finished::Lost) };
        if let Some(cut) = report.identity.cut() {
            ranges::insert(at, cut, report.identity.metadata(), report.now_ms)?;
            for other in self.claim.places.iter().filter(|other| *other != place) {
                forks::remember(at, cut, other)?;
            }
        }
        at.execute("DELETE FROM places WHERE object = ?1", &[self.claim.id.into()])?;
        self.effect.apply(at)?;
        changes.changed(Some(State::Fetching), Row::read(&row)?);
        Ok(Finished::Done)
    }

    /// Looks for another row that turns out to be the same object. If that one is done, ours
    /// was a repeat and goes; if not, ours has won and that one goes.
    fn was_done(&self, at: &Database, changes: &mut Changes, row: &Row) -> Result<bool> {
        let identity = &self.report.identity;
        let other = at.query_one(
            &format!("SELECT {COLUMNS} FROM objects WHERE identity = ?1 AND id <> ?2"),
            &[identity.as_str().into(), row.id.into()],
        )?;
        let other = other.as_ref().map(Row::read).transpose()?;
        let done_before = match (&other, identity.cut()) {
            (Some(other), _) if other.state == State::Done => true,
            (_, Some(cut)) => ranges::contains(at, cut)?,
            _ => false,
        };
        let gone = if done_before {
            Some((row.id, row.state))
        } else {
            other.as_ref().map(|other| (other.id, other.state))
        };
        if let Some((id, state)) = gone
            && at.execute("DELETE FROM objects WHERE id = ?1", &[id.into()])? > 0
        {
            changes.removed(state);
        }
        if let (true, Some(other)) = (done_before, other) {
            if let Some(metadata) = identity.metadata() {
                forks::compare(at, &other, metadata, self.claim.place(), self.report.now_ms)?;
            }
            let row = at.query_one(
                &format!("UPDATE objects SET repeats = repeats + 1 WHERE id = ?1 RETURNING {COLUMNS}"),
                &[other.id.into()],
            )?;
            if let Some(row) = row {
                let row = Row::read(&row)?;
                changes.changed(Some(row.state), row);
            }
        }
        Ok(done_before)
    }
}

/// Servers that share an inbox enter what is done one after the other, so that each sees what was
/// done before it, under whatever name: two rows may turn out to be one object.
fn take_turn(at: &Database) -> Result<()> {
    at.query("SELECT value FROM counters WHERE name = 'done_order' FOR UPDATE", &[])?;
    Ok(())
}
