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
//! NDJSON only with [`validate_ndjson`](HttpConfig::validate_ndjson).
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
//! | 400    | the body is not what its type says: with the element or line, and the byte; or a bad key         |
//! | 401    | there are tokens, and the request says none of them                                                |
//! | 403    | `TRACE` and `OPTIONS`, as Flume                                                                    |
//! | 404    | a path in `/v1/` that does not exist                                                                |
//! | 405    | any method but `POST`                                                                               |
//! | 408    | the request did not arrive within [`request_timeout`](HttpConfig::request_timeout)                 |
//! | 409    | its `Idempotency-Key` was used for another request                                                 |
//! | 411    | neither `Content-Length` nor `Transfer-Encoding: chunked`                                          |
//! | 413    | a limit is exceeded, as sent or decompressed: with the limit                                       |
//! | 415    | a charset or content encoding that is not supported: with those that are                         |
//! | 431    | the head is larger than [`max_head_bytes`](HttpConfig::max_head_bytes)                              |
//! | 503    | the channel or the memory before it is full: with `Retry-After`                                    |
//!
//! With [`tokens`](HttpConfig::tokens) a request needs `Authorization: Bearer TOKEN`, looked at before anything else of it;
//! a token's name is the sender's, and keeps its idempotency keys apart from those of others. Without, whoever reaches
//! the address can send events. With [`tls`](HttpConfig::tls) the source speaks HTTPS alone.

mod answer;
mod body;
mod inflate;
mod request;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use entrance::{Tls, Tokens};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

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
    /// The longest `Idempotency-Key` in bytes.
    pub max_key_bytes: usize,
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

/// The most that is read from a connection at once.
const READ_BYTES: usize = 256 << 10;

/// Serves the source until its shutdown; requests that are under way then are answered.
pub(super) async fn run(config: HttpConfig, listener: TcpListener, context: SourceContext) {
    let SourceContext { name, channels, metrics, shutdown } = context;
    let (max_connections, request_timeout) = (config.max_connections, config.request_timeout);
    let tls = config.tls.clone();
    let reloading = tls.clone().map(|tls| tokio::spawn(tls.reload_at_hangup()));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(config.request_timeout)
        .max_header_size(config.max_head_bytes)
        .max_buf_size(READ_BYTES.max(config.max_head_bytes))
        .half_close(true);
    let intake = Intake::new(channels, Arc::clone(&metrics));
    let handler = Arc::new(Handler::new(name, config, intake, Arc::clone(&metrics)));
    let token = shutdown.clone();
    let serve = |stream| {
        let (protocol, handler) = (protocol.clone(), Arc::clone(&handler));
        let (tls, shutdown) = (tls.clone(), token.clone());
        async move {
            match tls {
                None => serve_connection(stream, protocol, handler, shutdown).await,
                Some(tls) => match shake_hands(&tls, stream, request_timeout, &shutdown).await {
                    Ok(stream) => serve_connection(stream, protocol, handler, shutdown).await,
                    Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                },
            }
        }
    };
    listen::serve_each(listener, max_connections, metrics, shutdown, serve).await;
    if let Some(reloading) = reloading {
        reloading.abort();
    }
}

/// A client that says nothing has as long as for a request.
async fn shake_hands(
    tls: &Tls,
    stream: TcpStream,
    patience: Duration,
    shutdown: &CancellationToken,
) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
    tokio::select! {
        shaken = tokio::time::timeout(patience, tls.accept(stream)) => {
            shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        }
        () = shutdown.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    protocol: http1::Builder,
    handler: Arc<Handler>,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(handler.answer(request).await) }
    });
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP connection broke");
    }
}
