//! The Source contract, the kinds of sources, and the one match that runs one.
//!
//! A source takes events from a producer and appends them to its channels. Its contract:
//! - the producer hears "ok" only after its events are synced in every channel of the source (I1);
//! - what a producer sent as one (a request, a line) is stored whole or not at all;
//! - a producer whose events are refused hears why, and whether sending them again can help;
//! - memory is bounded: bytes on their way from the socket to the sync are reserved with the channel, and
//!   connections, lines and requests have limits;
//! - nothing that a producer sends stops the source;
//! - addresses are bound before anything runs, so that a taken port is a clear error and port 0 can be told;
//! - after `shutdown` it accepts nothing new, answers what it has taken, and returns.
//!
//! A new kind is one file under `source/`, one variant of [`SourceKind`], and its arms in [`bind`] and [`run`].

pub mod http;
pub mod intake;
pub mod key;
pub mod listen;
pub mod netcat;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::channel::ChannelHandle;
use crate::telemetry::SourceMetrics;

/// The settings of one source, validated.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// Events by HTTP.
    Http(http::HttpConfig),
    /// Events as lines over TCP.
    Netcat(netcat::NetcatConfig),
}

// === impl SourceKind ===

impl SourceKind {
    /// How many connections it serves at a time.
    pub fn max_connections(&mut self) -> &mut usize {
        match self {
            Self::Http(config) => &mut config.max_connections,
            Self::Netcat(config) => &mut config.max_connections,
        }
    }
}

/// A source whose address is taken, ready to run.
#[derive(Debug)]
pub struct Bound {
    kind: SourceKind,
    listener: tokio::net::TcpListener,
    address: SocketAddr,
}

/// Everything that a source is given besides its own settings.
pub struct SourceContext {
    /// The name that the configuration gives it.
    pub name: String,
    /// The channels that each event goes to, all of them required; at least one.
    pub channels: Vec<ChannelHandle>,
    /// What this source counts.
    pub metrics: Arc<SourceMetrics>,
    /// Cancelled when the source should finish what it has taken, and return.
    pub shutdown: CancellationToken,
}

/// A source that could not take its address.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}{}", command_line::port_help(*.address, .source))]
pub struct BindError {
    /// The address as configured.
    pub address: SocketAddr,
    source: std::io::Error,
}

impl BindError {
    /// What the system said.
    pub(crate) fn refusal(&self) -> &std::io::Error {
        &self.source
    }
}

/// Takes the source's address. Needs a tokio runtime; accepts nothing yet.
pub fn bind(kind: SourceKind) -> Result<Bound, BindError> {
    let address = match &kind {
        SourceKind::Http(config) => config.listen,
        SourceKind::Netcat(config) => config.listen,
    };
    let bound = entrance::listen::bind(address).and_then(|listener| {
        let address = listener.local_addr()?;
        Ok(Bound { kind, listener, address })
    });
    bound.map_err(|source| BindError { address, source })
}

/// Serves until `context.shutdown` is cancelled and every producer has its answers.
pub async fn run(bound: Bound, context: SourceContext) {
    match bound.kind {
        SourceKind::Http(config) => http::run(config, bound.listener, context).await,
        SourceKind::Netcat(config) => netcat::run(config, bound.listener, context).await,
    }
}

impl Bound {
    /// The address that producers reach, its port filled in.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
