//! A request's bytes on their way into the connection: sliced, counted, never copied.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::ByteStream;

/// Hyper hands what it holds to one vectored write; slices of this size keep it and the socket's
/// buffer filled, and are small enough that progress shows on a slow line.
const SLICE: usize = 256 << 10;

/// What is known outside about a payload that the connection owns.
#[derive(Debug, Default)]
pub(super) struct Progress {
    taken: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

/// The request body the SDK is given: not in memory as far as it knows, hence never hashed.
pub(super) struct Payload {
    /// The lock is never contended: the SDK wants bodies `Sync`, and only `&mut` reaches it.
    stream: Mutex<ByteStream>,
    slice: Bytes,
    left: u64,
    progress: Arc<Progress>,
}

impl Progress {
    /// Bytes the connection has taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Notes that the connection has taken `bytes` more.
    pub(super) fn take(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Why our bytes ended early, if they did. Asked once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Payload {
    /// `stream` yields exactly `len` bytes or an error.
    pub(super) fn new(len: u64, stream: ByteStream, progress: Arc<Progress>) -> Self {
        Self { stream: Mutex::new(stream), slice: Bytes::new(), left: len, progress }
    }
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.slice.is_empty() {
            let stream = this.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
            match ready!(stream.as_mut().poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Ok(slice)) => this.slice = slice,
                Some(Err(error)) => {
                    let told = io::Error::new(error.kind(), "our own bytes could not be read");
                    *this.progress.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Poll::Ready(Some(Err(told)));
                }
            }
        }
        let slice = this.slice.split_to(this.slice.len().min(SLICE));
        this.left = this.left.saturating_sub(slice.len() as u64);
        this.progress.take(slice.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
