//! Replay: objects that are dead, gone or done are owed again because somebody asked.

use super::changes::Changes;
use super::database::Database;
use super::error::InboxError;
use super::find;
use super::rows::{COLUMNS, Row, State, read_all};

type Result<T> = std::result::Result<T, InboxError>;

/// Objects replayed by one call of [`matching`]; the answer says where to go on.
const BATCH: usize = 1000;

/// Which objects are to be handled again. Every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// States of the objects; of none, owed or fetching, nothing is replayed.
    pub states: Vec<State>,
    /// The bucket.
    pub bucket: Option<String>,
    /// What the key begins with.
    pub key_prefix: Option<String>,
    /// Not made (or, where the store does not say, told of) before this time, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Made (or told of) before this time.
    pub until_ms: Option<i64>,
    /// Only rows after this one: where the call before ended.
    pub after: i64,
}

/// What a call of replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Objects that are owed again.
    pub objects: u64,
    /// The row to go on after; `None` when all are through.
    pub next: Option<i64>,
}

/// Makes one object owed again. `None` if there is none with this number; otherwise its row, which
/// is unchanged if it is owed or being fetched already.
pub(super) fn one(at: &Database, changes: &mut Changes, id: i64, now_ms: i64) -> Result<Option<Row>> {
    let row = at.query_one(&format!("SELECT {COLUMNS} FROM objects WHERE id = ?1"), &[id.into()])?;
    let Some(row) = row.as_ref().map(Row::read).transpose()? else { return Ok(None) };
    if matches!(row.state, State::Owed | State::Fetching) {
        return Ok(Some(row));
    }
    Ok(again(at, changes, &row, now_ms)?.or(Some(row)))
}

/// Makes the selected objects owed again, some at a time.
pub(super) fn matching(
    at: &Database,
    changes: &mut Changes,
    selection: &Selection,
    now_ms: i64,
) -> Result<Replayed> {
    let mut replayed = Replayed::default();
    let prefix = selection.key_prefix.as_deref().unwrap_or_default();
    let begins = find::begins(at.dialect(), "?3");
    let rows = at.query(
        &format!(
            "SELECT {COLUMNS} FROM objects
             WHERE id > ?1 AND (CAST(?2 AS TEXT) IS NULL OR bucket = ?2) AND {begins}
               AND coalesce(event_ms, received_ms) >= ?4 AND coalesce(event_ms, received_ms) < ?5
             ORDER BY id LIMIT ?6"
        ),
        &[
            selection.after.into(),
            selection.bucket.as_deref().into(),
            prefix.into(),
            selection.from_ms.unwrap_or(i64::MIN).into(),
            selection.until_ms.unwrap_or(i64::MAX).into(),
            BATCH.into(),
        ],
    )?;
    let rows = read_all(&rows)?;
    replayed.next = (rows.len() == BATCH).then(|| rows.last().map(|row| row.id)).flatten();
    for row in rows {
        let idle = !matches!(row.state, State::Owed | State::Fetching);
        if idle && selection.states.contains(&row.state) && again(at, changes, &row, now_ms)?.is_some() {
            replayed.objects += 1;
        }
    }
    Ok(replayed)
}

fn again(at: &Database, changes: &mut Changes, row: &Row, now_ms: i64) -> Result<Option<Row>> {
    let owed = at.query_one(
        &format!(
            "UPDATE objects SET state = 'owed', next_try_ms = ?2, attempts = 0, deferrals = 0, finished_ms = NULL,
                                done_order = NULL, reader = NULL,
                                replaying = CASE WHEN state = 'done' THEN 1 ELSE replaying END
             WHERE id = ?1 AND state NOT IN ('owed', 'fetching') RETURNING {COLUMNS}"
        ),
        &[row.id.into(), now_ms.into()],
    )?;
    let Some(owed) = owed else { return Ok(None) };
    let owed = Row::read(&owed)?;
    changes.changed(Some(row.state), owed.clone());
    Ok(Some(owed))
}
