//! An object's row: its states, its shape, and the questions asked of many rows.

use contract::Notice;
use serde::Serialize;

use super::changes::Totals;
use super::database::{Database, DatabaseError, Record};
use crate::reading::Reading;

type Result<T> = std::result::Result<T, DatabaseError>;

/// The columns of [`Row`], in the order in which [`Row::read`] takes them.
pub(super) const COLUMNS: &str = "id, identity, bucket, key, version_id, etag, notice_id, origin, event_ms, \
     received_ms, repeats, state, attempts, replaying, next_try_ms, last_error, finished_ms, done_order, events, \
     bytes, size, crc32c, lease_owner, deferrals, reader";

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
    /// The store holds it no more, so nobody tries it any more.
    Gone,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Owed, Self::Fetching, Self::Done, Self::Dead, Self::Gone];

    /// The word that the inbox stores and the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owed => "owed",
            Self::Fetching => "fetching",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Gone => "gone",
        }
    }

    /// The state of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How the inbox heard of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A notice was posted.
    Notice,
    /// A message of a queue named it.
    Queue,
    /// Its store posted an event.
    Store,
    /// The reconciliation found it in the bucket.
    Listing,
}

impl Origin {
    /// The word that the inbox stores and the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Queue => "queue",
            Self::Store => "store",
            Self::Listing => "listing",
        }
    }

    fn parse(word: &str) -> Self {
        [Self::Queue, Self::Store, Self::Listing]
            .into_iter()
            .find(|origin| origin.as_str() == word)
            .unwrap_or(Self::Notice)
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
    /// The version, where the notice or the store named one.
    pub version_id: Option<String>,
    /// The ETag, where the notice or the store named one.
    pub etag: Option<String>,
    /// Id of the first notice, as in the logs of all three programs.
    pub notice_id: String,
    /// How the inbox first heard of it.
    pub origin: Origin,
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
    /// Whether it was done before and is to be handled again.
    pub replaying: bool,
    /// When the next attempt is due, for an owed object.
    pub next_try_ms: i64,
    /// What the last failed attempt said.
    pub last_error: Option<String>,
    /// When it became done, dead or gone.
    pub finished_ms: Option<i64>,
    /// Its place in the order in which objects became done, for a done object.
    pub done_order: Option<u64>,
    /// Events in it, once it is done: as the agent counted them, or the lines of a foreign object.
    pub events: u64,
    /// By what it was taken apart, once it is done; `None` if the server that did it recorded
    /// nothing, which is [`Reading::BEFORE`].
    pub reader: Option<Reading>,
    /// Bytes as stored: as the notice told, or as fetched once it is done.
    pub bytes: u64,
    /// CRC32C of its bytes as stored, once one of our objects is done.
    #[serde(skip)]
    pub(super) crc32c: Option<u64>,
    /// The server that makes the attempt.
    #[serde(skip)]
    pub(super) lease_owner: Option<String>,
}

impl Row {
    pub(super) fn read(row: &Record) -> Result<Self> {
        // The table's CHECK admits no other word.
        let state = State::parse(&row.text(11)?).unwrap_or(State::Dead);
        let (bytes, told) = (row.count(19)?, row.maybe_count(20)?);
        Ok(Self {
            id: row.integer(0)?,
            identity: row.text(1)?,
            bucket: row.text(2)?,
            key: row.text(3)?,
            version_id: row.maybe_text(4)?,
            etag: row.maybe_text(5)?,
            notice_id: row.text(6)?,
            origin: Origin::parse(&row.text(7)?),
            event_ms: row.maybe_integer(8)?,
            received_ms: row.integer(9)?,
            repeats: row.count(10)?,
            state,
            attempts: u32::try_from(row.count(12)?).unwrap_or(u32::MAX),
            deferrals: u32::try_from(row.count(23)?).unwrap_or(u32::MAX),
            replaying: row.count(13)? > 0,
            next_try_ms: row.integer(14)?,
            last_error: row.maybe_text(15)?,
            finished_ms: row.maybe_integer(16)?,
            done_order: row.maybe_count(17)?,
            events: row.count(18)?,
            reader: row.maybe_text(24)?.map(|text| Reading::recorded(&text)),
            bytes: if state == State::Done { bytes } else { told.unwrap_or(bytes) },
            crc32c: row.maybe_count(21)?,
            lease_owner: row.maybe_text(22)?,
        })
    }

    /// Where it was said to be first, or where it was found.
    pub fn place(&self) -> Place {
        Place { bucket: self.bucket.clone(), key: self.key.clone(), version_id: self.version_id.clone() }
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
        let version_id = notice.version().map(str::to_owned);
        Self { bucket: notice.bucket.clone(), key: notice.key.clone(), version_id }
    }

    /// The version as the tables of places keep it: `''` for none.
    pub(super) fn version_text(&self) -> &str {
        self.version_id.as_deref().unwrap_or_default()
    }
}

/// Reads the rows that a statement returns.
pub(super) fn read_all(records: &[Record]) -> Result<Vec<Row>> {
    records.iter().map(Row::read).collect()
}

/// When the oldest object that is still owed or being fetched was told of.
pub(super) fn oldest_owed_ms(at: &Database) -> Result<Option<i64>> {
    // The lowest id of each state is its oldest row, and the index by state finds it at once.
    let row = at.query_one(
        "SELECT min(received_ms) FROM objects WHERE id IN (
             (SELECT min(id) FROM objects WHERE state = 'owed'),
             (SELECT min(id) FROM objects WHERE state = 'fetching'))",
        &[],
    )?;
    row.map_or(Ok(None), |row| row.maybe_integer(0))
}

pub(super) fn totals(at: &Database) -> Result<Totals> {
    let mut totals = Totals::default();
    let rows = at.query(
        "SELECT state, count(*), CAST(sum(CASE WHEN state = 'done' THEN events ELSE 0 END) AS BIGINT),
                CAST(sum(CASE WHEN state = 'done' THEN bytes ELSE 0 END) AS BIGINT)
         FROM objects GROUP BY state",
        &[],
    )?;
    for row in rows {
        if let Some(state) = State::parse(&row.text(0)?) {
            *totals.of_state(state) = row.count(1)?;
        }
        totals.events += row.count(2)?;
        totals.bytes += row.count(3)?;
    }
    // Done objects whose rows were dropped stay counted.
    for row in at.query("SELECT name, value FROM counters", &[])? {
        match row.text(0)?.as_str() {
            "dropped_objects" => totals.done += row.count(1)?,
            "dropped_events" => totals.events += row.count(1)?,
            "dropped_bytes" => totals.bytes += row.count(1)?,
            _ => {}
        }
    }
    Ok(totals)
}
