//! PostgreSQL: one inbox for many servers.
//!
//! The inbox works in threads of its own, so a connection brings the little runtime that it
//! needs and every call waits for its answer. A connection that broke is made anew before the
//! next transaction.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{DatabaseError, Parameter, Record, Result, Value};

/// What each connection relies on, whatever the database or the role is set to: a commit that was
/// answered is synced (I8), unless more than that is asked for already, and a statement sees what
/// was committed before it.
const SETTINGS: &str = "SELECT set_config('synchronous_commit', 'on', false)
                        WHERE current_setting('synchronous_commit') = 'off';
                        SET default_transaction_isolation = 'read committed'";

/// Longest wait for a connection, unless the URL says another (`connect_timeout`).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what was sent may go without the other host's word that it came, unless the URL says another time
/// (`tcp_user_timeout`).
const UNANSWERED_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to the server.
pub(crate) struct Postgres {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    config: Config,
    tls: MakeRustlsConnect,
    connected: RefCell<Option<Connected>>,
    in_transaction: Cell<bool>,
}

struct Connected {
    client: Client,
    prepared: HashMap<String, Statement>,
}

/// Why the configuration of the connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// The URL is none.
    #[error("reading the inbox's URL: {0}")]
    Url(#[source] tokio_postgres::Error),
    /// The certificate authorities cannot be used.
    #[error("reading certificate authorities: {0}")]
    Authorities(String),
    /// No runtime could be made.
    #[error("starting the inbox's runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

impl Postgres {
    /// Reads the URL and sets TLS up; connects with the first transaction. Of a server that offers
    /// TLS the certificate is verified; `sslmode=require` in the URL refuses any other server.
    pub(crate) fn new(url: &str, ca_file: Option<&Path>) -> std::result::Result<Self, PostgresError> {
        let mut config: Config = url.parse().map_err(PostgresError::Url)?;
        if config.get_application_name().is_none() {
            config.application_name("sluicegate-server");
        }
        // A host that is gone without a word is given up after a while, not after hours.
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNANSWERED_TIMEOUT);
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(PostgresError::Runtime)?;
        Ok(Self {
            runtime: Some(runtime),
            config,
            tls: MakeRustlsConnect::new(tls(ca_file)?),
            connected: RefCell::new(None),
            in_transaction: Cell::new(false),
        })
    }

    pub(super) fn execute(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<u64> {
        self.with(|runtime, connected| {
            let prepared = connected.prepare(runtime, statement)?;
            Ok(runtime.block_on(connected.client.execute(&prepared, &refs(parameters)))?)
        })
    }

    pub(super) fn query(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Record>> {
        self.with(|runtime, connected| {
            let prepared = connected.prepare(runtime, statement)?;
            let rows = runtime.block_on(connected.client.query(&prepared, &refs(parameters)))?;
            rows.iter().map(record).collect()
        })
    }

    pub(super) fn batch(&self, statements: &str) -> Result<()> {
        self.with(|runtime, connected| Ok(runtime.block_on(connected.client.batch_execute(statements))?))
    }

    pub(super) fn in_transaction(&self) -> bool {
        let open = self.connected.borrow().as_ref().is_some_and(|connected| !connected.client.is_closed());
        open && self.in_transaction.get()
    }

    pub(super) fn set_in_transaction(&self, open: bool) {
        self.in_transaction.set(open);
    }

    fn with<T>(&self, work: impl FnOnce(&Runtime, &mut Connected) -> Result<T>) -> Result<T> {
        let runtime = self.runtime.as_ref().ok_or(DatabaseError::RolledBack)?;
        let mut slot = self.connected.borrow_mut();
        let usable = slot.take().filter(|connected| !connected.client.is_closed());
        if usable.is_none() && self.in_transaction.replace(false) {
            return Err(DatabaseError::RolledBack);
        }
        let connected = match usable {
            Some(connected) => connected,
            None => self.connect(runtime)?,
        };
        work(runtime, slot.insert(connected))
    }

    fn connect(&self, runtime: &Runtime) -> Result<Connected> {
        let (client, connection) = runtime.block_on(self.config.connect(self.tls.clone()))?;
        runtime.spawn(async {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to the inbox ended");
            }
        });
        runtime.block_on(client.batch_execute(SETTINGS))?;
        Ok(Connected { client, prepared: HashMap::new() })
    }
}

impl Connected {
    fn prepare(&mut self, runtime: &Runtime, statement: &str) -> Result<Statement> {
        if let Some(prepared) = self.prepared.get(statement) {
            return Ok(prepared.clone());
        }
        // The two databases write their parameters differently, and nothing else here has a `?`.
        let prepared = runtime.block_on(self.client.prepare(&statement.replace('?', "$")))?;
        self.prepared.insert(statement.to_owned(), prepared.clone());
        Ok(prepared)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A runtime must not wait for its end where others run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

fn tls(ca_file: Option<&Path>) -> std::result::Result<ClientConfig, PostgresError> {
    let mut roots = RootCertStore::empty();
    let wrong = |error: &dyn Error| PostgresError::Authorities(error.to_string());
    match ca_file {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
        }
        // A machine without any trusts nobody, which matters only if the server offers TLS.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// PostgreSQL's texts hold every character but NUL, and SQLite's hold it too. So it is stored as three characters that no
/// text should hold, and each of these, where a text holds it all the same, as three of them. The first of the three
/// begins them and stands nowhere else: equal texts stay equal, and what a text begins with or contains it still does.
const ESCAPED: [(char, &str); 4] = [
    ('\0', "\u{fdd0}\u{fdd1}\u{fdd1}"),
    ('\u{fdd0}', "\u{fdd0}\u{fdd1}\u{fdd2}"),
    ('\u{fdd1}', "\u{fdd0}\u{fdd2}\u{fdd1}"),
    ('\u{fdd2}', "\u{fdd0}\u{fdd2}\u{fdd2}"),
];

fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPED.map(|(character, _)| character)) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::new();
    for character in text.chars() {
        match ESCAPED.iter().find(|(escaped, _)| *escaped == character) {
            Some((_, three)) => stored.push_str(three),
            None => stored.push(character),
        }
    }
    Cow::Owned(stored)
}

fn told(stored: String) -> String {
    let (first, _) = ESCAPED[1];
    let mut parts = stored.split(first);
    let mut told = parts.next().unwrap_or_default().to_owned();
    if told.len() == stored.len() {
        return stored;
    }
    for part in parts {
        let known = ESCAPED.iter().find_map(|(character, three)| {
            Some((*character, part.strip_prefix(three.strip_prefix(first)?)?))
        });
        // Nothing of ours wrote anything else.
        let (character, rest) = known.unwrap_or((first, part));
        told.push(character);
        told.push_str(rest);
    }
    told
}

fn refs<'a>(parameters: &'a [Parameter<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| parameter as &(dyn ToSql + Sync)).collect()
}

fn record(row: &Row) -> Result<Record> {
    let value = |column: usize| -> Result<Value> {
        let kind = row.columns()[column].type_();
        let number = |number: Option<i64>| number.map_or(Value::Null, Value::Integer);
        Ok(match *kind {
            Type::INT8 => number(row.try_get(column)?),
            Type::INT4 => number(row.try_get::<_, Option<i32>>(column)?.map(i64::from)),
            Type::VOID => Value::Null,
            _ => {
                row.try_get::<_, Option<String>>(column)?.map_or(Value::Null, |text| Value::Text(told(text)))
            }
        })
    };
    Ok(Record((0..row.len()).map(value).collect::<Result<_>>()?))
}

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Self::Integer(number) => number.to_sql(kind, out),
            Self::Text(text) => stored(text).to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::VARCHAR].contains(kind)
    }

    to_sql_checked!();
}
