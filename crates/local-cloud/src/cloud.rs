//! Starting and stopping the whole: two listeners over one store.

use std::io;
use std::net::SocketAddr;

use crate::{CloudOptions, FailedInvocation, RequestLine};

/// Why a local cloud did not start or an operation on it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// An address could not be listened on, most likely because its port is taken.
    #[error("binding {what} to {addr}")]
    Bind {
        /// Whose address it is: `S3` or `the Lambda API`.
        what: &'static str,
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The folder, or a file in it, could not be read or written.
    #[error("using the cloud's folder: {what}")]
    Io {
        /// What was being done to which file.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A running S3 and Lambda Runtime API. Dropping it without [`shutdown`](Self::shutdown) is like a
/// `kill -9`: nothing that was answered is lost.
#[derive(Debug)]
pub struct LocalCloud {
    s3_addr: SocketAddr,
    lambda_addr: SocketAddr,
}

impl LocalCloud {
    /// Opens `options.dir` (made if absent), finishes what a crash left unfinished, binds both addresses and serves.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn start(_options: CloudOptions) -> Result<Self, CloudError> {
        Err(CloudError::Io { what: "not there yet".to_owned(), source: io::ErrorKind::Unsupported.into() })
    }

    /// Where S3 is, as an endpoint URL for clients (path style): `http://127.0.0.1:PORT`.
    pub fn s3_url(&self) -> String {
        format!("http://{}", self.s3_addr)
    }

    /// Where the Runtime API is, as `AWS_LAMBDA_RUNTIME_API` wants it: `127.0.0.1:PORT`.
    pub fn lambda_url(&self) -> String {
        self.lambda_addr.to_string()
    }

    /// Makes a bucket; one that is there already is fine.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn create_bucket(&self, _name: &str) -> Result<(), CloudError> {
        Ok(())
    }

    /// How many asynchronous invocations are owed: waiting, running, or waiting for another try.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn invocations_owed(&self) -> Result<u64, CloudError> {
        Ok(0)
    }

    /// Returns when no asynchronous invocation is owed any more: each one succeeded or failed for good.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn settled(&self) -> Result<(), CloudError> {
        Ok(())
    }

    /// The failure queue: invocations whose three tries failed, oldest first.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn failed_invocations(&self) -> Result<Vec<FailedInvocation>, CloudError> {
        Ok(Vec::new())
    }

    /// Moves the whole failure queue back to be invoked, with three new tries each; answers how many.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn redrive(&self) -> Result<u64, CloudError> {
        Ok(0)
    }

    /// Every request that S3 logged to [`CloudOptions::request_log`]; empty without one.
    pub fn requests(&self) -> Result<Vec<RequestLine>, CloudError> {
        Ok(Vec::new())
    }

    /// Stops accepting, lets running requests finish, ends long polls, and closes the store.
    #[expect(clippy::unused_async, reason = "being filled in")]
    pub async fn shutdown(self) -> Result<(), CloudError> {
        Ok(())
    }
}
