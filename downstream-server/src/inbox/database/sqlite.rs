//! SQLite: one file, the default.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::{Parameter, Record, Result, Value};

/// Statements that stay prepared; the inbox has about this many.
const PREPARED: usize = 96;

/// A connection to the file.
#[derive(Debug)]
pub(crate) struct Sqlite(Connection);

impl Sqlite {
    pub(crate) fn new(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(PREPARED);
        Self(connection)
    }

    pub(super) fn execute(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        Ok(self.0.prepare_cached(statement)?.execute(params_from_iter(parameters))? as u64)
    }

    pub(super) fn query(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Record>> {
        let mut statement = self.0.prepare_cached(statement)?;
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
        Ok(self.0.execute_batch(statements)?)
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.0.is_autocommit()
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
