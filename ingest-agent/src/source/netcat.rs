//! Events as lines over TCP, as Flume's netcat source takes them, but pipelined and durable.
//!
//! Each line that ends in a newline is one event: its bytes without the newline, a carriage return included; an
//! empty line is an event with an empty body. Once the event is synced (I1) its sender reads `OK` and a
//! newline, or, if it was not stored, `FAILED: ` and the reason; answers come in the order of the lines. `FAILED` is sent
//! even where [`ack_every_event`](NetcatConfig::ack_every_event) is off; the connection stays open and later lines
//! are tried anew.
//!
//! Whatever lines have arrived are one batch, stored or refused together. While one waits for its sync the next are
//! read, up to [`max_unsynced_batches`](NetcatConfig::max_unsynced_batches); the answers of a batch leave in
//! one write. A sender may pour in everything and read its answers afterwards: they are kept as counts.
//!
//! What differs from Flume:
//! - the limit of a line is 1 MiB unless configured (512 characters there), counted in bytes with its newline; the
//!   answer's text is the same, and after it the connection is closed; lines before it are stored;
//! - bytes that are not UTF-8 are kept as they are (Flume closes the connection without a word);
//! - [`emit_unterminated`](NetcatConfig::emit_unterminated) saves the text after the last newline, which Flume
//!   loses. It is off unless configured: such a text may as well be half a line of a sender that died;
//! - a sender that closes its side still gets its answers;
//! - a sender that is silent for [`idle_timeout`](NetcatConfig::idle_timeout), with nothing owed to it, is hung up on: its
//!   place is one of [`max_connections`](NetcatConfig::max_connections).
//!
//! There is no authentication: whoever reaches the address can send events.

mod answers;
mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use self::connection::{Connection, Shared};
use super::SourceContext;
use super::intake::Intake;
use super::listen;

/// Settings of a netcat source. It has no authentication: whoever reaches its address can send events.
#[derive(Debug, Clone)]
pub struct NetcatConfig {
    /// Where it listens; loopback unless told otherwise, because nothing here asks who is sending.
    pub listen: SocketAddr,
    /// The longest line in bytes, including its newline; a longer one ends its connection.
    pub max_line_bytes: usize,
    /// Whether each stored line is answered `OK`. Failures are answered in any case.
    pub ack_every_event: bool,
    /// Whether what follows the last newline becomes an event when the sender closes; Flume loses it.
    pub emit_unterminated: bool,
    /// How many connections are served at a time; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long a connection may be silent, with nothing owed to it, before it is closed; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long lines that were taken may wait for something that has run out before they are answered `FAILED`.
    pub room_timeout: Duration,
    /// How many batches of one connection may wait for their sync at a time.
    pub max_unsynced_batches: usize,
}

/// Serves the source until its shutdown. Lines read by then are stored and answered; the rest stays unanswered.
pub(super) async fn run(config: NetcatConfig, listener: TcpListener, context: SourceContext) {
    let SourceContext { channels, metrics, shutdown, .. } = context;
    let max_connections = config.max_connections;
    let intake = Intake::new(channels, Arc::clone(&metrics), config.room_timeout);
    let shared = Arc::new(Shared::new(config, intake, Arc::clone(&metrics), shutdown.clone()));
    let serve = |stream| Connection::new(stream, Arc::clone(&shared)).serve();
    listen::serve_each(listener, max_connections, metrics, shutdown, serve).await;
}
