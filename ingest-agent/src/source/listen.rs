//! Connections of a source: accepted as everywhere, and counted.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::telemetry::SourceMetrics;

/// How long, and for how many bytes, a connection that is done stays to discard what its sender still sends.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// Serves each connection by `serve`, as [`entrance::listen::serve_each`] does, and counts them.
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
    let counted = |stream, _| {
        metrics.connections_opened.inc();
        metrics.connections.inc();
        let (metrics, served) = (Arc::clone(&metrics), serve(stream));
        async move {
            served.await;
            metrics.connections.dec();
        }
    };
    entrance::listen::serve_each(listener, max_connections, shutdown, counted).await;
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
