//! Events as lines over TCP.
use std::net::SocketAddr;
use std::time::Duration;

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
    /// How many batches of one connection may wait for their sync at a time.
    pub max_unsynced_batches: usize,
}
