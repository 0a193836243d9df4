//! The one seam between the inbox's statements and the database that holds it.
//!
//! Statements are written once, in the SQL that SQLite and PostgreSQL share, with numbered
//! parameters (`?1`). Values are whole numbers and texts; that is all the inbox stores.

mod postgres;
mod sqlite;

use std::cell::Cell;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

pub(super) use postgres::Postgres;
pub use postgres::PostgresError;
pub(super) use sqlite::Sqlite;

/// A database with an open transaction: what a job of the inbox, or a handler's effect, works in.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
    /// A statement missed a table since that was last looked into.
    missed: Cell<bool>,
}

#[derive(Debug)]
enum Kind {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// Which SQL the database speaks, for the few statements that the two do not share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A value that goes into a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter<'a> {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(&'a str),
}

/// A value that comes out of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// No value.
    Null,
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// One row that a statement returned; columns count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record(Vec<Value>);

/// Why the database did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite refused.
    #[error("{0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// PostgreSQL refused, or does not answer.
    #[error("{}", .0.as_db_error().map_or_else(|| with_cause(.0), ToString::to_string))]
    Postgres(#[source] Arc<tokio_postgres::Error>),
    /// A column does not hold what the statement should return.
    #[error("column {column} holds {found} instead of {wanted}")]
    Column {
        /// The column's number, from 0.
        column: usize,
        /// What it holds.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// What was to be written could not be read.
    #[error("reading what was to be written: {0}")]
    Input(#[source] Arc<std::io::Error>),
    /// What was to be written makes no sense to whoever writes it.
    #[error("{0}")]
    Refused(String),
    /// The database ended the transaction by itself, so nothing of it is written.
    #[error("the database ended the transaction by itself")]
    RolledBack,
    /// The inbox's file, its tables or its database are not there any more.
    #[error("the inbox is gone: {0}")]
    Gone(String),
}

/// Every table of the inbox; nothing is read.
const TABLES: &str =
    "SELECT 1 FROM objects, places, outputs, counters, ranges, suspects, forks, listings LIMIT 0";

type Result<T> = std::result::Result<T, DatabaseError>;

impl Database {
    pub(super) fn sqlite(sqlite: Sqlite) -> Self {
        Self { kind: Kind::Sqlite(sqlite), missed: Cell::new(false) }
    }

    pub(super) fn postgres(postgres: Postgres) -> Self {
        Self { kind: Kind::Postgres(Box::new(postgres)), missed: Cell::new(false) }
    }

    /// Which SQL it speaks.
    pub fn dialect(&self) -> Dialect {
        match &self.kind {
            Kind::Sqlite(_) => Dialect::Sqlite,
            Kind::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement that returns no rows; the answer is how many rows it changed.
    pub fn execute(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        self.noting(match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.execute(statement, parameters),
            Kind::Postgres(postgres) => postgres.execute(statement, parameters),
        })
    }

    /// Runs a statement and returns its rows.
    pub fn query(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Record>> {
        self.noting(match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.query(statement, parameters),
            Kind::Postgres(postgres) => postgres.query(statement, parameters),
        })
    }

    /// Runs a statement that returns a row or none.
    pub fn query_one(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Option<Record>> {
        Ok(self.query(statement, parameters)?.into_iter().next())
    }

    /// Runs several statements without parameters.
    pub fn batch(&self, statements: &str) -> Result<()> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.batch(statements),
            Kind::Postgres(postgres) => postgres.batch(statements),
        }
    }

    /// Notes that a table was missed: an effect's own, or one of the inbox's.
    fn noting<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.missed.set(self.missed.get() || error.misses_something());
        }
        result
    }

    /// Whether the inbox's tables are gone. Looks only after a statement missed one.
    pub(super) fn is_gone(&self) -> Option<DatabaseError> {
        if !self.missed.replace(false) {
            return None;
        }
        let missed = self.query(TABLES, &[]).err().filter(DatabaseError::misses_something)?;
        Some(DatabaseError::Gone(missed.to_string()))
    }

    /// Raises the counter of this name, if the transaction has written anything, and returns it.
    pub(super) fn count_commit(&self, name: &str) -> Result<Option<u64>> {
        let condition = match &self.kind {
            Kind::Sqlite(sqlite) if !sqlite.has_changed() => return Ok(None),
            Kind::Sqlite(_) => "",
            Kind::Postgres(_) => "AND txid_current_if_assigned() IS NOT NULL",
        };
        let statement =
            format!("UPDATE counters SET value = value + 1 WHERE name = ?1 {condition} RETURNING value");
        let row = self.query_one(&statement, &[name.into()])?;
        if let Kind::Sqlite(sqlite) = &self.kind {
            sqlite.counted();
        }
        row.map(|row| row.count(0)).transpose()
    }

    /// Begins a transaction, and in it what [`keep`](Self::keep) and [`undo`](Self::undo) are about.
    pub(super) fn begin(&self) -> Result<()> {
        match &self.kind {
            Kind::Sqlite(sqlite) => {
                sqlite.look_for_files()?;
                sqlite.batch("BEGIN IMMEDIATE; SAVEPOINT job")
            }
            Kind::Postgres(postgres) => {
                postgres.batch("BEGIN; SAVEPOINT job")?;
                postgres.set_in_transaction(true);
                Ok(())
            }
        }
    }

    /// Keeps what was written since the transaction began or the last call of this.
    pub(super) fn keep(&self) -> Result<()> {
        self.batch("RELEASE SAVEPOINT job; SAVEPOINT job")
    }

    /// Takes back what was written since then.
    pub(super) fn undo(&self) -> Result<()> {
        self.batch("ROLLBACK TO SAVEPOINT job")
    }

    pub(super) fn commit(&self) -> Result<()> {
        let committed = self.batch("COMMIT");
        if let Kind::Postgres(postgres) = &self.kind {
            postgres.set_in_transaction(false);
        }
        committed
    }

    /// Ends the transaction with nothing written. A failure means that it had ended before.
    pub(super) fn roll_back(&self) {
        if self.in_transaction()
            && let Err(error) = self.batch("ROLLBACK")
        {
            tracing::debug!(%error, "rolling back");
        }
        if let Kind::Postgres(postgres) = &self.kind {
            postgres.set_in_transaction(false);
        }
    }

    /// Whether the transaction is still open. An I/O error or a full disk ends it; whatever came
    /// after would be written outside of any.
    pub(super) fn in_transaction(&self) -> bool {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.in_transaction(),
            Kind::Postgres(postgres) => postgres.in_transaction(),
        }
    }
}

impl DatabaseError {
    /// Whether a failed commit has certainly written nothing.
    pub(super) fn wrote_nothing(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::RolledBack => true,
            // A refusal is one; a server that stops, or a connection that ends, leaves it open.
            Self::Postgres(error) => error.as_db_error().is_some_and(|error| {
                !["57", "58", "08"].iter().any(|class| error.code().code().starts_with(class))
            }),
            Self::Column { .. } | Self::Input(_) | Self::Refused(_) | Self::Gone(_) => false,
        }
    }

    /// Whether the server has to end: nothing that is written from now on would be found again.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Gone(_))
            || self.code().is_some_and(|code| code == SqlState::INVALID_CATALOG_NAME)
    }

    /// Whether a table, a schema or the database itself is not there.
    fn misses_something(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.to_string().starts_with("no such table"),
            _ => self.code().is_some_and(|code| {
                [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::INVALID_CATALOG_NAME]
                    .contains(&code)
            }),
        }
    }

    /// Whether it is about the very values of the statement, so that the same statement never succeeds.
    pub(super) fn blames_the_data(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::TooBig),
            // Data exceptions, and what is beyond PostgreSQL's limits.
            _ => self
                .code()
                .is_some_and(|code| ["22", "54"].iter().any(|class| code.code().starts_with(class))),
        }
    }

    fn code(&self) -> Option<SqlState> {
        let Self::Postgres(error) = self else { return None };
        error.code().cloned()
    }

    pub(crate) fn input(error: std::io::Error) -> Self {
        Self::Input(Arc::new(error))
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(Arc::new(error))
    }
}

/// The library's text leaves its cause out.
fn with_cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(Arc::new(error))
    }
}

impl Record {
    /// A whole number.
    pub fn integer(&self, column: usize) -> Result<i64> {
        self.maybe_integer(column)?.ok_or_else(|| self.mismatch(column, "a number"))
    }

    /// A whole number that is not negative.
    pub fn count(&self, column: usize) -> Result<u64> {
        u64::try_from(self.integer(column)?).map_err(|_| self.mismatch(column, "a count"))
    }

    /// A text.
    pub fn text(&self, column: usize) -> Result<String> {
        self.maybe_text(column)?.ok_or_else(|| self.mismatch(column, "a text"))
    }

    /// A whole number or nothing.
    pub fn maybe_integer(&self, column: usize) -> Result<Option<i64>> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.mismatch(column, "a number")),
        }
    }

    /// A count or nothing.
    pub fn maybe_count(&self, column: usize) -> Result<Option<u64>> {
        let number = self.maybe_integer(column)?;
        number.map(|number| u64::try_from(number).map_err(|_| self.mismatch(column, "a count"))).transpose()
    }

    /// A text or nothing.
    pub fn maybe_text(&self, column: usize) -> Result<Option<String>> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            _ => Err(self.mismatch(column, "a text")),
        }
    }

    fn mismatch(&self, column: usize, wanted: &'static str) -> DatabaseError {
        let found = match self.0.get(column) {
            None => "nothing: there is no such column",
            Some(Value::Null) => "no value",
            Some(Value::Integer(_)) => "a number",
            Some(Value::Text(_)) => "a text",
        };
        DatabaseError::Column { column, found, wanted }
    }
}

impl From<i64> for Parameter<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Parameter<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for Parameter<'_> {
    /// Databases count in 63 bits; what is larger is the largest that they know.
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Parameter<'_> {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}

impl<'a> From<&'a str> for Parameter<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Parameter<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a, T> From<Option<T>> for Parameter<'a>
where
    Parameter<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}
