//! SQLite: one file, the default.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{DatabaseError, Parameter, Record, Result, Value};

/// Statements that stay prepared; the inbox has about this many.
const PREPARED: usize = 96;

/// A connection to the file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    connection: Connection,
    /// Changes of rows up to the last commit that was counted.
    counted: Cell<u64>,
    files: Option<Files>,
}

impl Sqlite {
    pub(crate) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Self { connection, counted: Cell::new(0), files: None }
    }

    /// A connection that writes, and that ends when the file under this name is another one.
    pub(crate) fn at(path: &Path) -> rusqlite::Result<Self> {
        let files = Files { path: path.to_owned(), known: Cell::new(None) };
        Ok(Self { files: Some(files), ..Self::new(Connection::open(path)?) })
    }

    /// Looks whether what is written next would be found again under the file's name.
    pub(super) fn look_for_files(&self) -> Result<()> {
        self.files.as_ref().map_or(Ok(()), Files::look)
    }

    /// Whether a row was changed since [`counted`](Self::counted).
    pub(super) fn has_changed(&self) -> bool {
        self.connection.total_changes() != self.counted.get()
    }

    pub(super) fn counted(&self) {
        self.counted.set(self.connection.total_changes());
    }

    pub(super) fn execute(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        Ok(self.connection.prepare_cached(statement)?.execute(params_from_iter(parameters))? as u64)
    }

    pub(super) fn query(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(statement)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| match row.get_ref(column)? {
                ValueRef::Null => Ok(Value::Null),
                ValueRef::Integer(number) => Ok(Value::Integer(number)),
                text => Ok(Value::Text(text.as_str().map_err(rusqlite::Error::from)?.to_owned())),
            });
            records.push(Record(values.collect::<Result<_>>()?));
        }
        Ok(records)
    }

    pub(super) fn batch(&self, statements: &str) -> Result<()> {
        Ok(self.connection.execute_batch(statements)?)
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }
}

/// The database's file and its log. An open file outlives its name: whoever deletes, moves or replaces one of them
/// takes along every later commit, and SQLite does not look.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    /// Device and inode of each, once both were there.
    known: Cell<Option<[(u64, u64); 2]>>,
}

impl Files {
    fn look(&self) -> Result<()> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let identity = |path: &Path| std::fs::metadata(path).map(|about| (about.dev(), about.ino()));
        let found = identity(&self.path).and_then(|file| Ok([file, identity(Path::new(&log))?]));
        match (found, self.known.get()) {
            (Ok(found), None) => self.known.set(Some(found)),
            (Ok(found), Some(known)) if found == known => {}
            // The log is made with the first transaction.
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {}
            (found, _) => {
                let reason = found.err().map(|error| format!(" ({error})")).unwrap_or_default();
                return Err(DatabaseError::Gone(format!(
                    "{} or its -wal was deleted, moved or replaced by somebody else{reason}",
                    self.path.display()
                )));
            }
        }
        Ok(())
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
