//! Finding rows: by what they are, by number, and in the order in which they became done.

use super::Inbox;
use super::database::{Database, DatabaseError, Dialect, Parameter};
use super::error::InboxError;
use super::rows::{COLUMNS, Row, State, read_all};

type Result<T> = std::result::Result<T, DatabaseError>;

/// Which rows a listing shows, newest first. Every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only rows in this state.
    pub state: Option<State>,
    /// Only objects of this bucket.
    pub bucket: Option<String>,
    /// What the key begins with.
    pub prefix: Option<String>,
    /// What the key contains, whatever the case of its letters from a to z.
    pub search: Option<String>,
    /// Only cuts of this channel, in its text form.
    pub channel: Option<String>,
    /// Not made (or, where the store does not say, told of) before this time, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Made (or told of) before this time.
    pub until_ms: Option<i64>,
    /// Only rows older than this id: the `next` of the page before.
    pub before: Option<i64>,
    /// Rows at most.
    pub limit: usize,
}

/// How far the order reaches in which objects became done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneBounds {
    /// Rows up to this place were dropped.
    pub dropped: u64,
    /// The last place that was given.
    pub last: u64,
}

impl Inbox {
    /// A page of the listing, newest first.
    pub async fn list(&self, query: Query) -> std::result::Result<Vec<Row>, InboxError> {
        self.read(move |at| list(at, &query)).await
    }

    /// The row of this number.
    pub async fn row(&self, id: i64) -> std::result::Result<Option<Row>, InboxError> {
        self.read(move |at| {
            let row = at.query_one(&format!("SELECT {COLUMNS} FROM objects WHERE id = ?1"), &[id.into()])?;
            row.as_ref().map(Row::read).transpose()
        })
        .await
    }

    /// Done objects from this place on, in the order in which they became done.
    pub async fn done_from(&self, order: u64, limit: usize) -> std::result::Result<Vec<Row>, InboxError> {
        self.read(move |at| {
            let rows = at.query(
                &format!("SELECT {COLUMNS} FROM objects WHERE done_order >= ?1 ORDER BY done_order LIMIT ?2"),
                &[order.into(), limit.into()],
            )?;
            read_all(&rows)
        })
        .await
    }

    /// Done objects up to this place, the last one first.
    pub async fn done_until(&self, order: u64, limit: usize) -> std::result::Result<Vec<Row>, InboxError> {
        self.read(move |at| {
            let rows = at.query(
                &format!(
                    "SELECT {COLUMNS} FROM objects WHERE done_order <= ?1 ORDER BY done_order DESC LIMIT ?2"
                ),
                &[order.into(), limit.into()],
            )?;
            read_all(&rows)
        })
        .await
    }

    /// How far that order reaches.
    pub async fn done_bounds(&self) -> std::result::Result<DoneBounds, InboxError> {
        self.read(|at| {
            let counter = |name: &str| {
                let row = at.query_one("SELECT value FROM counters WHERE name = ?1", &[name.into()])?;
                row.map_or(Ok(0), |row| row.count(0))
            };
            Ok(DoneBounds { dropped: counter("dropped_order")?, last: counter("done_order")? })
        })
        .await
    }
}

/// The condition that a key begins with this parameter. SQLite's functions on texts end at a NUL; those on bytes do not.
pub(super) fn begins(dialect: Dialect, parameter: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!(
            "substr(CAST(key AS BLOB), 1, length(CAST({parameter} AS BLOB))) = CAST({parameter} AS BLOB)"
        ),
        Dialect::Postgres => format!("starts_with(key, {parameter})"),
    }
}

fn list(at: &Database, query: &Query) -> Result<Vec<Row>> {
    let channel = query.channel.as_ref().map(|channel| format!("{channel}-"));
    let search = query.search.as_ref().map(|search| search.to_ascii_lowercase());
    let begins = begins(at.dialect(), "?");
    let contains = match at.dialect() {
        Dialect::Sqlite => "instr(lower(key), ?) > 0",
        Dialect::Postgres => "strpos(lower(key), ?) > 0",
    };
    // Each condition with its value, of those that are given; `?` is its parameter.
    let conditions: [(&str, Option<Parameter<'_>>); 8] = [
        ("id < ?", Some(query.before.unwrap_or(i64::MAX).into())),
        ("state = ?", query.state.map(|state| state.as_str().into())),
        ("bucket = ?", query.bucket.as_ref().map(Into::into)),
        (&begins, query.prefix.as_ref().map(Into::into)),
        (contains, search.as_ref().map(Into::into)),
        ("substr(identity, 1, length(?)) = ?", channel.as_ref().map(Into::into)),
        ("coalesce(event_ms, received_ms) >= ?", query.from_ms.map(Into::into)),
        ("coalesce(event_ms, received_ms) < ?", query.until_ms.map(Into::into)),
    ];
    let mut parameters = Vec::new();
    let mut given = Vec::new();
    for (condition, value) in conditions {
        if let Some(value) = value {
            parameters.push(value);
            given.push(condition.replace('?', &format!("?{}", parameters.len())));
        }
    }
    parameters.push(query.limit.into());
    let statement = format!(
        "SELECT {COLUMNS} FROM objects WHERE {} ORDER BY id DESC LIMIT ?{}",
        given.join(" AND "),
        parameters.len()
    );
    read_all(&at.query(&statement, &parameters)?)
}
