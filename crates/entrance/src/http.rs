//! HTTP/1.1 over one connection: what is asked of a request before anybody looks at what it is about.
//!
//! | status | when |
//! |---|---|
//! | 400 | the head is no HTTP; no `Host`, several, or one that is none; a target with a host in it (absolute form) |
//! | 408 | the head did not arrive in time: [`HeadLimits::timeout`] from its first byte on |
//! | 414 | the target is longer than the protocol's library takes (65534 bytes) |
//! | 431 | the head has more bytes than [`HeadLimits::bytes`], or more lines than [`HeadLimits::headers`] |
//! | 501 | a `Transfer-Encoding` other than `chunked`; the body would be taken for something else |
//!
//! Each is a [`Refusal`], which the program writes down as its own refusals. A connection on which nothing was asked for
//! [`HeadLimits::idle_timeout`] is closed without a word.

mod gate;
mod patience;
mod refusal;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::CONNECTION;
use ::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::gate::{Gate, Stage};
use self::patience::Patience;
pub use self::refusal::Refusal;
use crate::Tls;

/// How large the head of a request (its first line and its headers) may be, and how long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes.
    pub bytes: usize,
    /// Header lines.
    pub headers: usize,
    /// From the first byte of a head to its last. Also for a TLS handshake, and to take each next piece of an answer.
    pub timeout: Duration,
    /// How long a connection may be open without a request. Above what proxies in front keep theirs for, so that it is the
    /// proxy that closes: a request and our closing would cross.
    pub idle_timeout: Duration,
}

/// How the connections of a listener are served.
#[derive(Clone)]
pub struct Http {
    protocol: http1::Builder,
    limits: HeadLimits,
    tls: Option<Tls>,
    refuse: Refuse,
}

/// How a program answers what is refused here.
pub type Refuse = Arc<dyn Fn(&Refusal) -> Response<Bytes> + Send + Sync>;

/// Header lines that the protocol's library has room for on its stack; other numbers cost an allocation a request.
const USUAL_HEADERS: usize = 100;

impl Http {
    /// HTTP within `limits`, HTTPS if there is a certificate. At most `read_bytes` are read of a connection at once.
    pub fn new(limits: HeadLimits, read_bytes: usize, tls: Option<Tls>, refuse: Refuse) -> Self {
        let mut protocol = http1::Builder::new();
        protocol
            .header_read_timeout(None)
            .max_header_size(limits.bytes)
            .max_buf_size(read_bytes.max(limits.bytes + 1))
            .half_close(true);
        if limits.headers != USUAL_HEADERS {
            protocol.max_headers(limits.headers);
        }
        Self { protocol, limits, tls, refuse }
    }

    /// Serves a connection to its end: each request that is not refused here is answered by `answer`. After `stopping`
    /// it ends with the answer that is under way.
    ///
    /// # Errors
    /// The connection broke, or the client did not keep to the protocol.
    pub async fn serve<F, B>(
        &self,
        stream: TcpStream,
        stopping: &CancellationToken,
        answer: impl Fn(Request<Incoming>) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = Response<B>>,
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match &self.tls {
            None => self.serve_plain(stream, stopping, answer).await,
            Some(tls) => {
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(self.limits.timeout, tls.accept(stream)) => {
                        shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
                    }
                    () = stopping.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
                };
                self.serve_plain(shaken, stopping, answer).await
            }
        }
    }

    /// As [`serve`](Self::serve), over what is a connection already.
    async fn serve_plain<F, B>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        stopping: &CancellationToken,
        answer: impl Fn(Request<Incoming>) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = Response<B>>,
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stage = Arc::new(Stage::default());
        let service = service_fn(|request: Request<Incoming>| {
            let stage = Arc::clone(&stage);
            stage.serves();
            let answered = match Refusal::of(&request) {
                Some(refusal) => Err((self.refuse)(&refusal)),
                None => Ok(answer(request)),
            };
            async move {
                let response = match answered {
                    Ok(answer) => answer.await.map(Content::Answer),
                    Err(mut refused) => {
                        // What such a client sends next may be read otherwise than it is meant.
                        refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                        refused.map(|text| Content::Refused(Full::new(text)))
                    }
                };
                Ok::<_, Infallible>(response.map(|content| Answer { content, _end: End(stage) }))
            }
        });
        let stream = Patience::new(stream, self.limits.timeout);
        let gate = Gate::new(stream, Arc::clone(&stage), self.limits);
        let mut connection = self.protocol.serve_connection(TokioIo::new(gate), service);
        let served = tokio::select! {
            served = &mut connection => served,
            () = stopping.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        connection.into_parts().io.into_inner().end(&self.refuse).await?;
        served.map_err(io::Error::other)
    }
}

/// The body of an answer.
struct Answer<B> {
    content: Content<B>,
    _end: End,
}

enum Content<B> {
    Answer(B),
    Refused(Full<Bytes>),
}

/// Says that an answer was handed over to its last byte.
struct End(Arc<Stage>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.has_answered();
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.content {
            Content::Answer(body) => Pin::new(body).poll_frame(cx),
            Content::Refused(text) => Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Answer(body) => body.is_end_stream(),
            Content::Refused(text) => text.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Answer(body) => body.size_hint(),
            Content::Refused(text) => text.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests;
