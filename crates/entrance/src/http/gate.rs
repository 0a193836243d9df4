//! The bytes of a connection, watched while no request is being answered.
//!
//! The protocol's library gives a head one time-out, idle time included, and says nothing where it runs out; what it cannot
//! read it answers with an empty body. The gate knows when the library waits for a head, for a request's own time is up to
//! whoever answers it. Whatever the library writes while it waits for a head is its own refusal, which goes no further:
//! the program's is written in its place once the library is done.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use ::http::{Response, StatusCode};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{HeadLimits, Refusal, Refuse};

/// Where a connection is, as its service and its bytes see it. All on one task.
#[derive(Default)]
pub(super) struct Stage(AtomicU8);

/// Nothing of the next head has come.
const IDLE: u8 = 0;
/// A part of a head has come.
const HEAD: u8 = 1;
/// A request is being answered.
const SERVING: u8 = 2;
/// The answer was handed over, and is not written to its end yet.
const ANSWERED: u8 = 3;

/// How long, and for how many bytes, a client that was refused may go on sending: closing before would reset the
/// connection, and the reset may overtake the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// See the module.
pub(super) struct Gate<S> {
    stream: S,
    stage: Arc<Stage>,
    limits: HeadLimits,
    /// When the client has had its time, and the timer for it, which may be set to an earlier moment.
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes of the head that have come.
    head_bytes: usize,
    refusal: Option<Refusal>,
}

// === impl Stage ===

impl Stage {
    pub(super) fn serves(&self) {
        self.set(SERVING);
    }

    pub(super) fn has_answered(&self) {
        self.set(ANSWERED);
    }

    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn awaits_head(&self) -> bool {
        self.get() <= HEAD
    }
}

// === impl Gate ===

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(super) fn new(stream: S, stage: Arc<Stage>, limits: HeadLimits) -> Self {
        let deadline = Instant::now() + limits.idle_timeout;
        Self { stream, stage, limits, deadline, timer: None, head_bytes: 0, refusal: None }
    }

    /// The library is done with the connection: says to the client why, if it was refused.
    pub(super) async fn end(mut self, refuse: &Refuse) -> io::Result<()> {
        let Some(refusal) = &self.refusal else { return Ok(()) };
        let answer = to_bytes(&refuse(refusal));
        let stream = &mut self.stream;
        let said = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            let (mut discarded, mut buffer) = (0, [0; 4096]);
            while discarded < LINGER_BYTES {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    read => discarded += read,
                }
            }
            io::Result::Ok(())
        };
        // A client that does not listen is not waited for.
        tokio::time::timeout(LINGER, said).await.unwrap_or(Ok(()))
    }

    /// Ready once the client has had its time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // Later deadlines wait for the timer to run out: most requests come long before any.
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Takes a refusal that the library wrote.
    fn take_refusal(&mut self, written: &[u8]) {
        let status = written.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
        self.refusal.get_or_insert(match status {
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) if self.head_bytes < self.limits.bytes => {
                Refusal::TooManyHeaders { limit: self.limits.headers }
            }
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
                Refusal::HeadTooLarge { limit: self.limits.bytes }
            }
            Some(StatusCode::URI_TOO_LONG) => Refusal::TargetTooLong,
            _ => Refusal::Malformed,
        });
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if !this.stage.awaits_head() {
            return polled;
        }
        if polled.is_ready() {
            let read = buf.filled().len() - before;
            if this.stage.get() == IDLE && read > 0 {
                this.stage.set(HEAD);
                this.head_bytes = 0;
                this.deadline = Instant::now() + this.limits.timeout;
            }
            this.head_bytes += read;
            return polled;
        }
        ready!(this.poll_deadline(cx));
        if this.stage.get() == HEAD {
            this.refusal.get_or_insert(Refusal::TooSlow(this.limits.timeout));
        }
        // To the library it is as if the client had hung up.
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.stage.awaits_head() {
            self.take_refusal(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.stage.awaits_head() {
            self.take_refusal(bufs.first().map_or(&[], |buf| buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // The library flushes once it has written all that there is, and then reads again.
        if self.stage.get() == ANSWERED {
            self.stage.set(IDLE);
            self.deadline = Instant::now() + self.limits.idle_timeout;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An answer as it is written, the last one of its connection.
fn to_bytes(answer: &Response<Bytes>) -> Vec<u8> {
    let (status, body) = (answer.status(), answer.body());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in answer.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    let end = format!("connection: close\r\ncontent-length: {}\r\ndate: {date}\r\n\r\n", body.len());
    bytes.extend_from_slice(end.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}
