//! An object's row: its states, its shape, and the questions asked of many rows.

use contract::Notice;
use rusqlite::{Connection, Result, params};
use serde::Serialize;

use super::changes::Totals;

/// The columns of [`Row`], in the order in which [`Row::read`] takes them.
pub(super) const COLUMNS: &str = "id, identity, bucket, key, version_id, notice_id, event_ms, received_ms, repeats, \
                                  state, attempts, next_try_ms, last_error, finished_ms, events, bytes, size, deferrals";

/// Where an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for its first or next attempt.
    Owed,
    /// It is being fetched and handled.
    Fetching,
    /// The handler has it.
    Done,
    /// Nobody tries it any more; `last_error` says why.
    Dead,
}

impl State {
    /// The word that the inbox stores and the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Fetching => "fetching",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    /// The state of that name.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Owed, Self::Fetching, Self::Done, Self::Dead].into_iter().find(|state| state.as_str() == word)
    }
}

/// One object as `GET /v1/objects` and the live stream show it. Times are milliseconds
/// since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Number in order of arrival.
    pub id: i64,
    /// What the inbox knows the object by; for our objects the cut's id.
    pub identity: String,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version, where the notice named one.
    pub version_id: Option<String>,
    /// Id of the first notice, as in the logs of all three programs.
    pub notice_id: String,
    /// When the store says that the object was made.
    pub event_ms: Option<i64>,
    /// When the first notice arrived.
    pub received_ms: i64,
    /// Notices after the first.
    pub repeats: u64,
    /// Where it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts among them at which the handler said "not now"; they use none up.
    pub deferrals: u32,
    /// When the next attempt is due, for an owed object.
    pub next_try_ms: i64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// When it became done or dead.
    pub finished_ms: Option<i64>,
    /// Events in it, once it is done.
    pub events: u64,
    /// Bytes as stored: as the notice told, or as fetched once it is done.
    pub bytes: u64,
}

impl Row {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self> {
        let state: String = row.get(9)?;
        let bytes: u64 = row.get(15)?;
        let told: Option<u64> = row.get(16)?;
        Ok(Self {
            id: row.get(0)?,
            identity: row.get(1)?,
            bucket: row.get(2)?,
            key: row.get(3)?,
            version_id: row.get(4)?,
            notice_id: row.get(5)?,
            event_ms: row.get(6)?,
            received_ms: row.get(7)?,
            repeats: row.get(8)?,
            // The table's CHECK admits no other word.
            state: State::parse(&state).unwrap_or(State::Dead),
            attempts: row.get(10)?,
            deferrals: row.get(17)?,
            next_try_ms: row.get(11)?,
            last_error: row.get(12)?,
            finished_ms: row.get(13)?,
            events: row.get(14)?,
            bytes: if state == "done" { bytes } else { told.unwrap_or(bytes) },
        })
    }
}

/// Where an object may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version, where the notice named one.
    pub version_id: Option<String>,
}

impl Place {
    /// The place that a notice names.
    pub fn of_notice(notice: &Notice) -> Self {
        let version_id = notice.version_id.clone().filter(|version| version != "null");
        Self { bucket: notice.bucket.clone(), key: notice.key.clone(), version_id }
    }
}

/// Which rows a listing shows, newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only rows in this state.
    pub state: Option<State>,
    /// Only rows older than this id: the `next` of the page before.
    pub before: Option<i64>,
    /// Rows at most.
    pub limit: usize,
}

pub(super) fn list(at: &Connection, query: &Query) -> Result<Vec<Row>> {
    let before = query.before.unwrap_or(i64::MAX);
    match query.state {
        Some(state) => at
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM objects WHERE state = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"
            ))?
            .query_map(params![state.as_str(), before, query.limit], Row::read)?
            .collect(),
        None => at
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM objects WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
            ))?
            .query_map(params![before, query.limit], Row::read)?
            .collect(),
    }
}

/// When the oldest object that is not done or dead was told of.
pub(super) fn oldest_owed_ms(at: &Connection) -> Result<Option<i64>> {
    // The lowest id of each state is its oldest row, and the index by state finds it at once.
    at.prepare_cached(
        "SELECT min(received_ms) FROM objects WHERE id IN (
             (SELECT min(id) FROM objects WHERE state = 'owed'),
             (SELECT min(id) FROM objects WHERE state = 'fetching'))",
    )?
    .query_row([], |row| row.get(0))
}

pub(super) fn totals(at: &Connection) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut statement =
        at.prepare("SELECT state, count(*), sum(iif(state = 'done', events, 0)), sum(iif(state = 'done', bytes, 0)) FROM objects GROUP BY state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: String = row.get(0)?;
        if let Some(state) = State::parse(&state) {
            *totals.of_state(state) = row.get(1)?;
        }
        totals.events += row.get::<_, u64>(2)?;
        totals.bytes += row.get::<_, u64>(3)?;
    }
    Ok(totals)
}
