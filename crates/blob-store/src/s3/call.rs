//! One request and how long we wait for it.
//!
//! A fixed time-out is wrong for requests whose size differs a thousandfold: it kills the slow
//! large put and lets the dead small one hang. So a call ends when nothing moves for
//! `read_timeout`, and at the latest after `operation_timeout` plus the time its body takes at
//! the slowest rate allowed.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream as SdkStream, SdkBody};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures_util::stream;

use super::answer;
use super::connect::Connection;
use super::payload::{Payload, Progress};
use crate::body::exactly;
use crate::{Body, ByteStream, ErrorKind, Operation, StoreError};

/// A call being made.
pub(super) struct Call<'a> {
    connection: &'a Connection,
    operation: Operation,
    subject: &'a str,
    /// The longest wait without progress.
    still: Duration,
    /// The longest wait in all.
    whole: Duration,
    progress: Arc<Progress>,
}

impl<'a> Call<'a> {
    pub(super) fn new(connection: &'a Connection, operation: Operation, subject: &'a str) -> Self {
        let options = &connection.options;
        Self {
            connection,
            operation,
            subject,
            still: options.read_timeout,
            whole: options.operation_timeout,
            progress: Arc::default(),
        }
    }

    /// Waits as long as assembling an object from its parts may take, which says nothing meanwhile.
    pub(super) fn waiting_long(mut self) -> Self {
        self.still = self.connection.options.complete_timeout;
        self.whole = self.still;
        self
    }

    /// The bytes to send, and the time that sending them may take.
    pub(super) async fn payload(&mut self, body: Body) -> Result<SdkStream, StoreError> {
        let options = &self.connection.options;
        let len = body.len();
        self.whole += Duration::from_secs(len / options.min_bytes_per_second.max(1));
        // A connection never asks an empty body for bytes, so whether it is empty is seen here.
        if options.payload_signing || len == 0 {
            let whole = body.collect().await.map_err(|error| self.unreadable(error))?;
            return Ok(SdkStream::new(SdkBody::from(whole)));
        }
        let payload = Payload::new(len, body.into_stream(), Arc::clone(&self.progress));
        Ok(SdkStream::new(SdkBody::from_body_1_x(payload)))
    }

    /// Sends the request and turns what comes back into an answer or an error with its kind.
    ///
    /// The SDK's futures are some 20 KB; boxed before the first await they are moved only once.
    pub(super) fn answer<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let request = Box::pin(request);
        async move {
            let result = match watch(request, &self.progress, self.still, self.whole).await {
                Err(late) => Err(self.error(ErrorKind::Timeout, late)),
                Ok(Ok(output)) => Ok(output),
                Ok(Err(error)) => Err(match self.progress.failure() {
                    Some(cause) if error.raw_response().is_none() => self.unreadable(cause),
                    _ => answer::read(self.operation, self.subject, error),
                }),
            };
            result.inspect_err(|error| self.connection.failed_with(error.kind))
        }
    }

    /// The bytes of an answer, with an error for a silence longer than allowed: exactly `len`, or, where the
    /// answer tells no length, as many as come before its end.
    pub(super) fn download(&self, len: Option<u64>, body: SdkStream) -> ByteStream {
        let still = self.still;
        let slices = stream::unfold(Some(body), move |body| async move {
            let mut body = body?;
            match tokio::time::timeout(still, body.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(slice))) => Some((Ok(slice), Some(body))),
                Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(_) => {
                    let text = format!("no byte came for {still:?}");
                    Some((Err(io::Error::new(io::ErrorKind::TimedOut, text)), None))
                }
            }
        });
        match len {
            Some(len) => Box::pin(exactly(len, Box::pin(slices))),
            None => Box::pin(slices),
        }
    }

    fn unreadable(&self, cause: io::Error) -> StoreError {
        self.error(ErrorKind::Body, format_args!("reading our own bytes: {cause}")).caused_by(cause)
    }

    fn error(&self, kind: ErrorKind, message: impl Display) -> StoreError {
        StoreError::new(self.operation, self.subject, kind, message.to_string())
    }
}

/// Waits for `request`: at most `whole`, and at most about `still` without progress.
async fn watch<T>(
    mut request: impl Future<Output = T> + Unpin,
    progress: &Progress,
    still: Duration,
    whole: Duration,
) -> Result<T, String> {
    let mut limit = pin!(tokio::time::sleep(whole));
    loop {
        let taken = progress.taken();
        tokio::select! {
            biased;
            output = &mut request => return Ok(output),
            () = &mut limit => return Err(format!("no answer within {whole:?}")),
            () = tokio::time::sleep(still) => {
                if progress.taken() == taken {
                    return Err(format!("nothing moved for {still:?}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
