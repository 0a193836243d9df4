//! Accepting connections: what sources over TCP have in common.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::SourceMetrics;

/// Connections that the system completes before we accept them.
const BACKLOG: u32 = 1024;

/// How long accepting rests after it failed: out of descriptors, which only time or a closing connection mends.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How long, and for how many bytes, a connection that is done stays to discard what its sender still sends.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// Takes the address, IPv4 or IPv6.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it: a sender that vanished gives its place back some day.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves each connection by `serve`, at most `max_connections` at a time, until `shutdown`; then waits for those
/// that are open, which are to see `shutdown` for themselves.
pub async fn serve_each<F, S>(
    listener: TcpListener,
    max_connections: usize,
    metrics: Arc<SourceMetrics>,
    shutdown: CancellationToken,
    serve: S,
) where
    S: Fn(TcpStream) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let accept = async {
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accepting a connection failed");
                    tokio::time::sleep(REST_AFTER_FAILURE).await;
                    continue;
                }
            };
            // Answers are small and whole; waiting to join them with more only delays them.
            let _ = stream.set_nodelay(true);
            metrics.connections_opened.inc();
            metrics.connections.inc();
            let (metrics, served) = (Arc::clone(&metrics), serve(stream));
            connections.spawn(async move {
                served.await;
                metrics.connections.dec();
                drop(place);
            });
        }
    };
    shutdown.run_until_cancelled(accept).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Ends a connection so that its last answer arrives: closing while the sender still sends would reset the connection,
/// and the reset may overtake the answer.
pub async fn close_gently(mut stream: TcpStream) {
    let discard = async {
        stream.shutdown().await?;
        let mut discarded = 0;
        let mut buffer = [0; 4096];
        while discarded < LINGER_BYTES {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => discarded += read,
            }
        }
        io::Result::Ok(())
    };
    // Whatever goes wrong here, the connection is over.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
