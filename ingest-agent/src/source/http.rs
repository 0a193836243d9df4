//! Events by HTTP.
use std::net::SocketAddr;
use std::time::Duration;

/// Settings of an HTTP source.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where it listens; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// The largest request body in bytes, after decompression too.
    pub max_body_bytes: usize,
    /// The largest head of a request (request line and headers) in bytes; at least 8192.
    pub max_head_bytes: usize,
    /// How long a request may take from its first byte to its last, and how long a connection may be idle.
    pub request_timeout: Duration,
    /// How long a request waits for room in memory before it is answered 503.
    pub room_timeout: Duration,
    /// How many connections are served at a time; further ones wait to be accepted.
    pub max_connections: usize,
    /// What `Retry-After` says when the channel is full.
    pub retry_after: Duration,
    /// Whether bodies of Flume's JSON that came as UTF-16 or UTF-32 are stored as UTF-8; Flume keeps their charset.
    pub normalise_to_utf8: bool,
    /// Whether each line of NDJSON must be JSON.
    pub validate_ndjson: bool,
}
