//! Events by HTTP/1.1.
//!
//! | request                        | body                                   | becomes                                            |
//! |--------------------------------|----------------------------------------|----------------------------------------------------|
//! | `POST /v1/events`              | `application/json`, `...+json`         | an array: an event an element; else one event       |
//! |                                | `application/x-ndjson`, `.../jsonl`, ..| an event a line; blank lines are skipped           |
//! |                                | `text/plain`                           | an event a line, empty lines too                   |
//! |                                | any other type, or none                | one event of the raw bytes                         |
//! | `POST` to any path not in `/v1/` | Flume's `[{"headers":{..},"body":".."}]` | an event an element, as Flume's `JSONHandler`   |
//!
//! The bytes of an event are kept as they were sent: a line without its newline (a carriage return stays), an element or
//! value without the white space around it. Events of `/v1/events` have no headers. JSON is checked as a whole, lines of
//! NDJSON only with [`validate_ndjson`](HttpConfig::validate_ndjson). UTF-8's byte order mark before JSON and lines is
//! passed over; a charset in which a newline is more than the byte `0A` is refused.
//!
//! A request of either kind may have an `Idempotency-Key` ([`key`](super::key)). Its events are then stored once, however
//! often it is sent while the key is known: a repeat is answered `200` like the first one, after the same sync, with
//! `Idempotent-Replayed: true`. The same key with other content is answered `409`. To `/v1/events` the answer has
//! `{"accepted":N,"repeat":false,"positions":{"CHANNEL":{"first":P,"count":N}}}`. A request without events has nothing
//! to store, so nothing is kept of its key.
//!
//! Either way a body may come with `Content-Encoding: gzip` or `zstd`. A request is stored whole or not at all, and
//! answered `200` only once it is synced (I1): with `{"accepted":N}`, or with an empty body as Flume does. Any
//! other answer is JSON with the reason in `error`, and says that nothing was stored:
//!
//! | status | when                                                                                              |
//! |--------|---------------------------------------------------------------------------------------------------|
//! | 400    | the body is not what its type says: with the element or line, and the byte; or a bad key or head  |
//! | 401    | there are tokens, and the request says none of them                                                |
//! | 403    | `TRACE` and `OPTIONS`, as Flume                                                                    |
//! | 404    | a path in `/v1/` that does not exist                                                                |
//! | 405    | any method but `POST`                                                                               |
//! | 408    | its head, or its body, did not arrive within [`request_timeout`](HttpConfig::request_timeout)      |
//! | 409    | its `Idempotency-Key` was used for another request                                                 |
//! | 411    | neither `Content-Length` nor `Transfer-Encoding: chunked`                                          |
//! | 413    | a limit is exceeded, as sent or decompressed, or zstd's window: with the limit                     |
//! | 415    | a charset or content encoding that is not supported: with those that are                         |
//! | 431    | the head is beyond [`max_head_bytes`](HttpConfig::max_head_bytes) or [`max_headers`](HttpConfig::max_headers) |
//! | 501    | a `Transfer-Encoding` other than `chunked`                                                        |
//! | 503    | the channel or the memory before it is full, or something has run out: with `Retry-After`          |
//!
//! With [`tokens`](HttpConfig::tokens) a request needs `Authorization: Bearer TOKEN`, looked at before anything else of it;
//! a token's name is the sender's, and keeps its idempotency keys apart from those of others. Without, whoever reaches
//! the address can send events. With [`tls`](HttpConfig::tls) the source speaks HTTPS alone.

mod answer;
mod body;
mod inflate;
mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entrance::http::{HeadLimits, Http};
use entrance::{Tls, Tokens};
use tokio::net::TcpListener;

use self::request::Handler;
use super::SourceContext;
use super::intake::Intake;
use super::listen;

/// Settings of an HTTP source.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where it listens; loopback unless told otherwise.
    pub listen: SocketAddr,
    /// The certificate that it shows; `None` is plain HTTP.
    pub tls: Option<Tls>,
    /// Who may send events; nobody is asked if there is none.
    pub tokens: Tokens,
    /// The largest request body in bytes, after decompression too.
    pub max_body_bytes: usize,
    /// The largest head of a request (request line and headers) in bytes; at least 8192.
    pub max_head_bytes: usize,
    /// The most header lines of a request.
    pub max_headers: usize,
    /// The largest window of a zstd frame in bytes, and so the memory that expanding one takes; rounded down to a power
    /// of two.
    pub max_zstd_window_bytes: u64,
    /// The longest `Idempotency-Key` in bytes.
    pub max_key_bytes: usize,
    /// How long a head may take to arrive, and then a body.
    pub request_timeout: Duration,
    /// How long a connection may be open without a request; longer than proxies keep theirs.
    pub idle_timeout: Duration,
    /// How long a request waits for room, in memory and then on the disk, before it is answered 503.
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

/// The most that is read from a connection at once.
const READ_BYTES: usize = 256 << 10;

/// Serves the source until its shutdown; requests that are under way then are answered.
pub(super) async fn run(config: HttpConfig, listener: TcpListener, context: SourceContext) {
    let SourceContext { name, channels, metrics, shutdown } = context;
    let (max_connections, tls) = (config.max_connections, config.tls.clone());
    let reloading = tls.clone().map(|tls| tokio::spawn(tls.reload_at_hangup()));
    let limits = HeadLimits {
        bytes: config.max_head_bytes,
        headers: config.max_headers,
        timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
    };
    let counting = Arc::clone(&metrics);
    let refuse = move |refusal: &entrance::http::Refusal| {
        counting.refused_invalid.inc();
        answer::refused(refusal)
    };
    let http = Http::new(limits, READ_BYTES, tls, Arc::new(refuse));
    let intake = Intake::new(channels, Arc::clone(&metrics), config.room_timeout);
    let handler = Arc::new(Handler::new(name, config, intake, Arc::clone(&metrics)));
    let token = shutdown.clone();
    let serve = |stream| {
        let (http, handler, shutdown) = (http.clone(), Arc::clone(&handler), token.clone());
        async move {
            let answer = |request| {
                let handler = Arc::clone(&handler);
                async move { handler.answer(request).await }
            };
            if let Err(error) = http.serve(stream, &shutdown, answer).await {
                tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP connection broke");
            }
        }
    };
    listen::serve_each(listener, max_connections, metrics, shutdown, serve).await;
    if let Some(reloading) = reloading {
        reloading.abort();
    }
}
