//! Starting and stopping the whole: two listeners over one store.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleError;
use axum::http::StatusCode;
use axum::serve::ListenerExt as _;
use axum::{Router, middleware};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::event::Origin;
use crate::lambda::{self, Lambda, LambdaOptions, RuntimeConnection};
use crate::request_log::{self, RequestLog};
use crate::s3::Front;
use crate::store::{Store, StoreError, blocking, catalog, now_ms};
use crate::{CloudOptions, FailedInvocation, RequestLine};

/// How long a shutdown waits for requests that are running.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

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
    /// A bucket cannot have this name; S3's rules hold.
    #[error("creating the bucket {0:?}: this is no name of a bucket")]
    BucketName(String),
    /// The request log could not be opened or read.
    #[error("using the request log")]
    RequestLog(#[source] io::Error),
    /// The folder, or a file in it, could not be read or written; or another process serves it.
    #[error("using the cloud's folder")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for CloudError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

/// A running S3 and Lambda Runtime API. Dropping it without [`shutdown`](Self::shutdown) ends both in the
/// background; nothing that was answered is lost, then or after a `kill -9`.
pub struct LocalCloud {
    s3_addr: SocketAddr,
    lambda_addr: SocketAddr,
    store: Arc<Store>,
    lambda: Arc<Lambda>,
    request_log: Option<Arc<RequestLog>>,
    servers: [JoinHandle<()>; 2],
    closing: DropGuard,
}

impl fmt::Debug for LocalCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCloud")
            .field("s3", &self.s3_addr)
            .field("lambda", &self.lambda_addr)
            .finish_non_exhaustive()
    }
}

impl LocalCloud {
    /// Opens `options.dir` (made if absent), finishes what a crash left unfinished, binds both addresses and serves.
    pub async fn start(options: CloudOptions) -> Result<Self, CloudError> {
        let (s3_listener, s3_addr) = bind("S3", options.s3_addr).await?;
        let (lambda_listener, lambda_addr) = bind("the Lambda API", options.lambda_addr).await?;
        let closing = CancellationToken::new();
        let log_path = options.request_log.as_deref();
        let request_log = log_path.map(RequestLog::open).transpose().map_err(CloudError::RequestLog)?;
        let (dir, sync) = (options.dir.clone(), options.sync);
        let [first_delay, second_delay] = options.retry_delays;
        let longest_retry = first_delay.max(second_delay);
        let lambda_options = LambdaOptions {
            name: options.function_name.clone(),
            region: options.region.clone(),
            timeout: options.function_timeout,
            retry_delays: options.retry_delays,
        };
        let token = closing.clone();
        let (store, lambda) = blocking(move || {
            let store = Store::open(&dir, sync, longest_retry)?;
            let lambda = Lambda::new(store.clone(), lambda_options, token)?;
            Ok((store, lambda))
        })
        .await?;
        let s3 = s3_router(&options, store.clone(), request_log.clone());
        let lambda_api =
            lambda::router(lambda.clone()).into_make_service_with_connect_info::<RuntimeConnection>();
        let servers = [
            // Without a delay: the last piece of a body would wait for an acknowledgement of the one before.
            serve(
                axum::serve(s3_listener.tap_io(|stream| drop(stream.set_nodelay(true))), s3)
                    .with_graceful_shutdown(closing.clone().cancelled_owned()),
            ),
            serve(
                axum::serve(lambda_listener, lambda_api)
                    .with_graceful_shutdown(closing.clone().cancelled_owned()),
            ),
        ];
        let closing = closing.drop_guard();
        Ok(Self { s3_addr, lambda_addr, store, lambda, request_log, servers, closing })
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
    pub async fn create_bucket(&self, name: &str) -> Result<(), CloudError> {
        if !s3s::path::check_bucket_name(name) {
            return Err(CloudError::BucketName(name.to_owned()));
        }
        let name = name.to_owned();
        self.store.write(move |rows, _| catalog::create_bucket(rows, &name, now_ms())).await?;
        Ok(())
    }

    /// How many asynchronous invocations are owed: waiting, running, or waiting for another try.
    pub async fn invocations_owed(&self) -> Result<u64, CloudError> {
        Ok(self.lambda.owed().await?)
    }

    /// Returns when no asynchronous invocation is owed any more: each one succeeded or failed for good.
    pub async fn settled(&self) -> Result<(), CloudError> {
        Ok(self.lambda.settled().await?)
    }

    /// The failure queue: invocations whose three tries failed, oldest first.
    pub async fn failed_invocations(&self) -> Result<Vec<FailedInvocation>, CloudError> {
        Ok(self.lambda.failed().await?)
    }

    /// Moves the whole failure queue back to be invoked, with three new tries each; answers how many.
    pub async fn redrive(&self) -> Result<u64, CloudError> {
        Ok(self.lambda.redrive().await?)
    }

    /// Every request that S3 logged to [`CloudOptions::request_log`]; empty without one.
    pub fn requests(&self) -> Result<Vec<RequestLine>, CloudError> {
        match &self.request_log {
            Some(log) => log.read().map_err(CloudError::RequestLog),
            None => Ok(Vec::new()),
        }
    }

    /// Stops accepting, ends long polls, waits a while for running requests, and closes the store.
    pub async fn shutdown(self) {
        drop(self.closing);
        for mut server in self.servers {
            if tokio::time::timeout(SHUTDOWN_PATIENCE, &mut server).await.is_err() {
                tracing::warn!("requests were still running at the shutdown and were broken off");
                server.abort();
            }
        }
        self.store.close().await;
    }
}

async fn bind(what: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), CloudError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    bound.await.map_err(|source| CloudError::Bind { what, addr, source })
}

fn s3_router(options: &CloudOptions, store: Arc<Store>, request_log: Option<Arc<RequestLog>>) -> Router {
    let front = Front {
        store,
        notify: options.notify.clone(),
        origin: Origin { region: options.region.clone(), principal: options.access_key.clone() },
        etag: options.etag,
    };
    let mut service = S3ServiceBuilder::new(front);
    service.set_auth(SimpleAuth::from_single(options.access_key.clone(), options.secret_key.clone()));
    // S3's own errors are answers already; what is left is a request that could not be answered at all.
    let service = HandleError::new(service.build(), |error: s3s::HttpError| async move {
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        tracing::error!(%error, "answering a request failed");
        StatusCode::INTERNAL_SERVER_ERROR
    });
    let router = Router::new().fallback_service(service);
    match request_log {
        Some(log) => router.layer(middleware::from_fn_with_state(log, request_log::record)),
        None => router,
    }
}

fn serve(server: impl IntoFuture<Output = io::Result<()>, IntoFuture: Send + 'static>) -> JoinHandle<()> {
    let server = server.into_future();
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "serving ended");
        }
    })
}
