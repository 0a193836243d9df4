//! Taking a notice in: a new object is owed, a known one is counted.

use contract::{CutId, Notice};

use super::changes::Changes;
use super::database::{Database, DatabaseError};
use super::error::InboxError;
use super::rows::{COLUMNS, Origin, Place, Row, State};
use super::{Identity, Taken, forks, ranges};

/// Other places remembered for one cut; a sender that names more has them ignored.
const MAX_PLACES: i64 = 8;

type Result<T> = std::result::Result<T, InboxError>;

/// A notice as it reached us.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) notice: Notice,
    pub(super) notice_id: String,
    pub(super) origin: Origin,
    pub(super) now_ms: i64,
}

pub(super) fn put(at: &Database, changes: &mut Changes, arrival: &Arrival) -> Result<Taken> {
    let identity = Identity::of_notice(&arrival.notice);
    let done = match identity.cut() {
        Some(cut) => ranges::contains(at, cut)?,
        None => false,
    };
    let met = if identity.cut().is_none() { meet(at, &arrival.notice, &identity)? } else { None };
    if !done
        && met.is_none()
        && let Some(row) = insert(at, arrival, &identity)?
    {
        changes.changed(None, row);
        return Ok(Taken::New);
    }
    let condition = if met.is_some() { "id = ?1" } else { "identity = ?1" };
    let row = at.query_one(
        &format!("UPDATE objects SET repeats = repeats + 1 WHERE {condition} RETURNING {COLUMNS}"),
        &[met.map_or_else(|| identity.as_str().into(), Into::into)],
    )?;
    // A done cut may have no row any more; its range is enough to know it.
    let Some(row) = row else { return Ok(Taken::Repeated) };
    let (from, row) = repeat(at, arrival, identity.cut(), Row::read(&row)?)?;
    changes.changed(Some(from), row);
    Ok(Taken::Repeated)
}

/// How the object of a notice stands.
pub(super) fn state_of(at: &Database, notice: &Notice) -> std::result::Result<Option<State>, DatabaseError> {
    let identity = Identity::of_notice(notice);
    let row = at.query_one("SELECT state FROM objects WHERE identity = ?1", &[identity.as_str().into()])?;
    let state = row.map(|row| row.text(0)).transpose()?;
    match (state, identity.cut()) {
        (Some(word), _) => Ok(State::parse(&word)),
        (None, Some(cut)) => Ok(ranges::contains(at, cut)?.then_some(State::Done)),
        // A row that took its full identity from the object itself is known by its place.
        (None, None) => {
            let row = at.query_one(
                "SELECT state FROM objects WHERE bucket = ?1 AND key = ?2 
                 ORDER BY id DESC LIMIT 1",
                &[(&notice.bucket).into(), (&notice.key).into()],
            )?;
            Ok(row.map(|row| row.text(0)).transpose()?.and_then(|word| State::parse(&word)))
        }
    }
}

/// What else a repeated notice means: the row as it was and as it is now.
fn repeat(at: &Database, arrival: &Arrival, cut: Option<&CutId>, row: Row) -> Result<(State, Row)> {
    let place = Place::of_notice(&arrival.notice);
    let revived = match row.state {
        State::Done => {
            if let Some(cut) = cut {
                forks::suspect(at, cut, &row, &place, arrival.notice.entity_tag())?;
            }
            false
        }
        State::Owed | State::Fetching => {
            remember_place(at, &row, &place)?;
            false
        }
        // Nobody found it where it was said to be, and now it is said to be elsewhere, or the
        // bucket's own listing shows it.
        State::Dead => remember_place(at, &row, &place)?,
        State::Gone => remember_place(at, &row, &place)? || arrival.origin == Origin::Listing,
    };
    if !revived {
        return Ok((row.state, row));
    }
    let owed = at.query_one(
        &format!(
            "UPDATE objects SET state = 'owed', next_try_ms = ?2, attempts = 0, deferrals = 0, finished_ms = NULL
             WHERE id = ?1 RETURNING {COLUMNS}"
        ),
        &[row.id.into(), arrival.now_ms.into()],
    )?;
    Ok((row.state, owed.as_ref().map(Row::read).transpose()?.unwrap_or(row)))
}

/// The row of the same foreign object under another identity. A listing tells no version, so
/// what it found and a notice that names the version meet by the `ETag`.
fn meet(at: &Database, notice: &Notice, identity: &Identity) -> Result<Option<i64>> {
    let (Some(etag), Some(version)) = (notice.entity_tag(), notice.version()) else { return Ok(None) };
    let known = at.query_one("SELECT id FROM objects WHERE identity = ?1", &[identity.as_str().into()])?;
    if known.is_some() {
        return Ok(None);
    }
    let row = at.query_one(
        "UPDATE objects SET identity = ?5, version_id = ?4 WHERE id =
             (SELECT min(id) FROM objects WHERE bucket = ?1 AND key = ?2 AND etag = ?3
              AND version_id IS NULL AND origin = 'listing')
         RETURNING id",
        &[
            (&notice.bucket).into(),
            (&notice.key).into(),
            etag.into(),
            version.into(),
            identity.as_str().into(),
        ],
    )?;
    Ok(row.map(|row| row.integer(0)).transpose()?)
}

fn insert(at: &Database, arrival: &Arrival, identity: &Identity) -> Result<Option<Row>> {
    let notice = &arrival.notice;
    let row = at.query_one(
        &format!(
            "INSERT INTO objects (identity, bucket, key, version_id, etag, sequence, size, notice_id, origin,
                                  event_ms, received_ms, state, next_try_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'owed', ?11)
             ON CONFLICT (identity) DO NOTHING RETURNING {COLUMNS}"
        ),
        &[
            identity.as_str().into(),
            (&notice.bucket).into(),
            (&notice.key).into(),
            notice.version().into(),
            notice.entity_tag().into(),
            (&sequence(notice)).into(),
            notice.size.into(),
            (&arrival.notice_id).into(),
            arrival.origin.as_str().into(),
            event_ms(notice).into(),
            arrival.now_ms.into(),
        ],
    )?;
    Ok(row.as_ref().map(Row::read).transpose()?)
}

/// Remembers that an object was named at another place. A copy that a notice mistakes for the
/// object must not hide the object.
fn remember_place(at: &Database, row: &Row, place: &Place) -> Result<bool> {
    if row.place() == *place {
        return Ok(false);
    }
    let added = at.execute(
        "INSERT INTO places (object, bucket, key, version_id)
         SELECT CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS TEXT), CAST(?4 AS TEXT)
         WHERE (SELECT count(*) FROM places WHERE object = ?1) < ?5
         ON CONFLICT DO NOTHING",
        &[
            row.id.into(),
            (&place.bucket).into(),
            (&place.key).into(),
            place.version_text().into(),
            MAX_PLACES.into(),
        ],
    )?;
    Ok(added > 0)
}

/// When the store says that the object was made; a time that cannot be read is no reason to
/// refuse the notice.
pub(super) fn event_ms(notice: &Notice) -> Option<i64> {
    let time: jiff::Timestamp = notice.event_time.as_deref()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// The sequencer so that texts sort as sequencers do: hexadecimal digits of which the shorter
/// counts as if it went on in zeros.
fn sequence(notice: &Notice) -> String {
    let sequencer = notice.sequencer.as_deref().unwrap_or_default();
    sequencer.trim_end_matches('0').to_ascii_uppercase()
}
