//! The listener: HTTP/1.1, plain or over TLS, with bounds on whatever a client may keep waiting.
//!
//! At most so many connections are served at once; more wait in the queue of the operating
//! system. A client gets `client_timeout` to shake hands, to send a request's head, and to take
//! each next piece of an answer; what bodies get is up to the routes.

mod patience;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use entrance::Tls;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::app::Peer;
use crate::config::ServeConfig;
use patience::Patience;

/// How long accepting rests after it failed: out of descriptors, which only time mends.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The smallest buffer that the HTTP library takes.
const MIN_BUFFER: usize = 8 << 10;

/// Serves until `stopping`, then waits for the connections, each of which ends with its answer.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    config: ServeConfig,
    stopping: CancellationToken,
) {
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(config.client_timeout)
        .max_header_size(config.max_head_bytes)
        .max_buf_size((config.max_head_bytes * 2).max(MIN_BUFFER));
    let server = Arc::new(Server { protocol, routes, config, stopping: stopping.clone() });
    let places = Arc::new(Semaphore::new(server.config.max_connections));
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(REST_AFTER_FAILURE).await;
                    continue;
                }
            };
            let server = server.clone();
            connections.spawn(async move {
                if let Err(error) = server.connection(stream, peer).await {
                    tracing::debug!(%error, %peer, "a connection broke");
                }
                drop(place);
            });
        }
    };
    stopping.run_until_cancelled(accept).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

struct Server {
    protocol: http1::Builder,
    routes: Router,
    config: ServeConfig,
    stopping: CancellationToken,
}

impl Server {
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Answers are small and leave in one write; waiting to fill a packet only delays them.
        stream.set_nodelay(true)?;
        match &self.config.tls {
            None => self.requests(stream, peer).await,
            Some(tls) => self.requests(self.shake_hands(tls, stream).await?, peer).await,
        }
    }

    async fn shake_hands(
        &self,
        tls: &Tls,
        stream: TcpStream,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
        tokio::select! {
            shaken = tokio::time::timeout(self.config.client_timeout, tls.accept(stream)) => {
                shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            }
            () = self.stopping.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let service = service_fn(move |request: Request<Incoming>| {
            let routes = self.routes.clone();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(Peer(peer)));
                Ok::<_, Infallible>(routes.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let stream = TokioIo::new(Patience::new(stream, self.config.client_timeout));
        let mut connection = pin!(self.protocol.serve_connection(stream, service));
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        served.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests;
