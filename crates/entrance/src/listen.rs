//! Accepting connections, a bounded number at a time, whatever the system lacks meanwhile.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::descriptors;

/// Connections that the system completes before we accept them.
const BACKLOG: u32 = 1024;

/// How long accepting rests when something has run out, which only time or a closing connection mends.
const REST: Duration = Duration::from_millis(100);

/// How often that is told while it lasts.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Takes the address, IPv4 or IPv6.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it: a client that vanished gives its place back some day.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves each connection by `serve`, at most `max_connections` at a time, until `stopping`; then waits for those that
/// are open, which are to see `stopping` for themselves. Nothing that goes wrong with accepting ends it.
pub async fn serve_each<F>(
    listener: TcpListener,
    max_connections: usize,
    stopping: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let accept = async {
        let mut told: Option<Instant> = None;
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                // That one connection is gone, and its place is for the next.
                Err(error) if !has_run_out(&error) => {
                    tracing::debug!(%error, "a connection broke before it was accepted");
                    continue;
                }
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                        tracing::warn!(%error, open = connections.len(), "no connection can be accepted now; trying again until one can");
                        told = Some(Instant::now());
                    }
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            // Answers are small and whole; waiting to join them with more only delays them.
            let _ = stream.set_nodelay(true);
            let served = serve(stream, peer);
            connections.spawn(async move {
                served.await;
                drop(place);
            });
        }
    };
    stopping.run_until_cancelled(accept).await;
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Whether it is the system that lacks something, and not this connection that failed.
fn has_run_out(error: &io::Error) -> bool {
    let lacks = [Errno::NOBUFS, Errno::NOMEM];
    descriptors::are_used_up(error) || Errno::from_io_error(error).is_none_or(|errno| lacks.contains(&errno))
}
