//! The wiring: what starts in which order, and what stops in which order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, ConnectError, Credentials, S3Options, S3Store};
use contract::exit;
use entrance::descriptors;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::TokenFileError;
use crate::app::{AppState, router};
use crate::config::{Config, HandlerConfig, S3Credentials, ServeConfig};
use crate::fetch::Stores;
use crate::handler::{ClientError, Command, Handler, Http, Log, Ndjson, OutputError};
use crate::inbox::{DatabaseError, Inbox, OpenError, Pauses};
use crate::live::Live;
use crate::pull::{Puller, Queue};
use crate::reconcile::Reconciler;
use crate::serve::serve;
use crate::telemetry::Metrics;
use crate::upkeep::Upkeep;
use crate::workers::Workers;

/// Seconds after which a shared inbox's totals are counted anew.
const RECOUNT: u64 = 10;

/// What a program with a handler of its own brings along.
pub struct Parts {
    /// The buckets' stores; those of the configuration's `s3` part are made by [`run`] only.
    pub stores: Stores,
    /// Who gets the objects; `None` is the configuration's handler.
    pub handler: Option<Arc<dyn Handler>>,
}

/// Why the server did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address is taken or not ours.
    #[error("listening on {address} (listen){}: {source}", command_line::port_help(*.address, .source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The inbox could not be opened.
    #[error(transparent)]
    Inbox(#[from] OpenError),
    /// The handler's file could not be used.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The handler's client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No client of the store could be made.
    #[error("connecting to the store of bucket {bucket}: {source}")]
    Store {
        /// The bucket.
        bucket: String,
        /// Why.
        source: ConnectError,
    },
    /// The file that says "ready" could not be written.
    #[error("writing {}: {source}", path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listener ended, which it does by a panic alone.
    #[error("serving: {0}")]
    Serve(#[source] tokio::task::JoinError),
    /// The token that the server makes for itself could not be used.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// A commit's outcome is unknown, or the inbox is gone; the next start reads what there is.
    #[error("the inbox stopped: {0}")]
    Poisoned(#[source] DatabaseError),
}

impl RunError {
    /// The process's exit code, as in [`contract::exit`].
    pub fn exit_code(&self) -> u8 {
        if self.refusal().is_some_and(command_line::refused) {
            return exit::PERMISSION;
        }
        match self {
            Self::Bind { .. } | Self::Inbox(OpenError::Locked(_)) => exit::UNAVAILABLE,
            // Nothing has failed where descriptors are all in use.
            Self::Inbox(OpenError::Io { source, .. }) | Self::Token(TokenFileError::Io { source, .. })
                if descriptors::are_used_up(source) =>
            {
                exit::UNAVAILABLE
            }
            Self::Store { .. }
            | Self::Client(_)
            | Self::Inbox(OpenError::Postgres(_) | OpenError::Encoding(_)) => exit::CONFIG,
            Self::Token(error) => error.exit_code(),
            Self::Inbox(OpenError::Newer { .. } | OpenError::NewerRecord { .. } | OpenError::Instance(_))
            | Self::Output(
                OutputError::Shorter { .. } | OutputError::NotOurs { .. } | OutputError::Form(_),
            ) => exit::DATA,
            Self::Inbox(_)
            | Self::Output(_)
            | Self::ReadyFile { .. }
            | Self::Serve(_)
            | Self::Poisoned(_) => exit::IO,
        }
    }

    /// What to do about a folder that the system refuses, if that is why the server did not start.
    pub(crate) fn help(&self) -> Option<String> {
        let Self::Inbox(OpenError::Io { source, .. }) = self else { return None };
        let user = rustix::process::geteuid().as_raw();
        command_line::refused(source).then(|| command_line::folder_help("dir (--dir)", user))
    }

    /// What the system said to a start, which it says again if it is a refusal.
    fn refusal(&self) -> Option<&std::io::Error> {
        match self {
            Self::Bind { source, .. }
            | Self::ReadyFile { source, .. }
            | Self::Inbox(OpenError::Io { source, .. })
            | Self::Output(OutputError::Io { source, .. })
            | Self::Token(TokenFileError::Io { source, .. }) => Some(source),
            _ => None,
        }
    }
}

/// Runs the server as configured until `shutdown` completes.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    run_handler(config, None, shutdown).await
}

/// Runs the server as configured, with this handler instead of the configured one.
pub(crate) async fn run_handler(
    config: Config,
    handler: Option<Arc<dyn Handler>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let stores = connect(&config).await?;
    run_with(config, Parts { stores, handler }, shutdown).await
}

/// Runs the server with these stores and this handler until `shutdown` completes.
///
/// It starts from the outside in: the port is taken before anything is touched, and it answers
/// only when everything behind it works. It stops from the outside in as well: no new notices
/// or attempts, then the running ones end or are given back, then the inbox closes.
pub async fn run_with(
    config: Config,
    parts: Parts,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let bind_error = |source| RunError::Bind { address: config.listen, source };
    let listener = entrance::listen::bind(config.listen).map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    let metrics = Arc::new(Metrics::new());
    let inbox = Arc::new(open_inbox(&config, metrics.clone()).await?);
    inbox.bound_pauses(Pauses { retry: config.retry.max, later: config.retry.max_retry_after });
    let handler = match (parts.handler, &config.handler) {
        (Some(handler), _) => handler,
        (None, HandlerConfig::Log) => Arc::new(Log) as Arc<dyn Handler>,
        (None, HandlerConfig::File(output)) => Arc::new(Ndjson::open(output, &inbox).await?),
        (None, HandlerConfig::Command(command)) => {
            Arc::new(Command::new(command.clone(), inbox.dir().to_owned()))
        }
        (None, HandlerConfig::Http(http)) => Arc::new(Http::new(http.clone())?),
    };
    let live = Arc::new(Live::new(inbox.totals()));
    let stopping = CancellationToken::new();
    let app = AppState::new(
        &config,
        inbox.clone(),
        parts.stores.clone(),
        live.clone(),
        metrics.clone(),
        handler.name(),
        stopping.clone(),
    )?;
    let reconciler = Reconciler {
        inbox: inbox.clone(),
        stores: parts.stores.clone(),
        config: config.reconcile.clone(),
        metrics: metrics.clone(),
        asked: app.asked.clone(),
    };
    let puller = match &config.pull {
        None => None,
        Some(pull) => Some(Arc::new(Puller {
            queue: Queue::connect(pull, &config.s3).await,
            inbox: inbox.clone(),
            buckets: config.notices.buckets.clone(),
            config: pull.clone(),
            metrics: metrics.clone(),
        })),
    };
    let upkeep = Upkeep { app: app.clone(), retention: config.retention };
    let workers = Arc::new(Workers {
        inbox: inbox.clone(),
        stores: parts.stores,
        handler,
        fetch: config.fetch.clone(),
        retry: config.retry.clone(),
        live: live.clone(),
        metrics,
    });

    let working = tokio::spawn(workers.run(stopping.clone(), config.shutdown_timeout));
    let pulling = puller.map(|puller| tokio::spawn(puller.run(stopping.clone())));
    let reconciling = tokio::spawn(reconciler.run(stopping.clone()));
    let ticking = tokio::spawn(tick(live, inbox.clone()));
    let upkeeping = tokio::spawn(upkeep.run());
    if let Some(tls) = config.serve.tls.clone() {
        tokio::spawn(tls.reload_at_hangup());
    }
    let mut serving = tokio::spawn(serve(listener, router(app), lowered(&config), stopping.clone()));
    say_started(&config, address);
    let mut ended = write_ready_file(&config, address);

    let mut inbox_failed = inbox.failed();
    if ended.is_ok() {
        tokio::select! {
            () = shutdown => {}
            served = &mut serving => ended = served.map_err(RunError::Serve),
            _ = inbox_failed.wait_for(|failed| *failed) => {}
        }
    }

    stopping.cancel();
    // The workers keep to the time-out themselves; they may end with a panic at worst, and the
    // inbox has what they did not enter.
    if let Err(error) = working.await {
        tracing::error!(%error, "the workers ended");
    }
    if !serving.is_finished() && tokio::time::timeout(config.shutdown_timeout, &mut serving).await.is_err() {
        tracing::warn!("closing connections that did not end");
        serving.abort();
    }
    ticking.abort();
    upkeeping.abort();
    if let Some(Err(error)) = futures_util::future::OptionFuture::from(pulling).await {
        tracing::error!(%error, "pulling ended");
    }
    if let Err(error) = reconciling.await {
        tracing::error!(%error, "the reconciliation ended");
    }
    let failure = inbox.failure();
    // Joining the writer blocks, and it may have a last group to sync.
    if tokio::task::spawn_blocking(move || inbox.close()).await.is_err() {
        tracing::error!("closing the inbox");
    }
    tracing::info!("stopped");
    match failure {
        Some(failure) => Err(RunError::Poisoned(failure)),
        None => ended,
    }
}

/// Opening blocks, on the disk or on a database elsewhere.
async fn open_inbox(config: &Config, metrics: Arc<Metrics>) -> Result<Inbox, RunError> {
    let (dir, location, lease) = (config.dir.clone(), config.inbox.clone(), config.lease);
    let opened = tokio::task::spawn_blocking(move || Inbox::open(&dir, &location, lease, metrics)).await;
    Ok(opened.map_err(RunError::Serve)??)
}

async fn connect(config: &Config) -> Result<Stores, RunError> {
    let mut stores = Stores::new();
    let mut first: Option<S3Store> = None;
    for bucket in &config.notices.buckets {
        let store = match &first {
            Some(store) => store.for_bucket(bucket),
            None => S3Store::connect(s3_options(config, bucket))
                .await
                .map_err(|source| RunError::Store { bucket: bucket.clone(), source })?,
        };
        first.get_or_insert_with(|| store.clone());
        stores.insert(bucket.clone(), Arc::new(store) as Arc<dyn BlobStore>);
    }
    Ok(stores)
}

fn s3_options(config: &Config, bucket: &str) -> S3Options {
    let credentials = match config.s3.credentials.clone() {
        S3Credentials::Default => Credentials::Default,
        S3Credentials::Profile(name) => Credentials::Profile(name),
        S3Credentials::Static { access_key_id, secret_access_key } => {
            Credentials::Static { access_key_id, secret_access_key, session_token: None }
        }
        S3Credentials::AssumeRole { arn, external_id } => Credentials::AssumeRole {
            role_arn: arn,
            external_id,
            session_name: "sluicegate-server".to_owned(),
        },
    };
    S3Options {
        region: Some(config.s3.region.clone()),
        endpoint: config.s3.endpoint.clone(),
        path_style: config.s3.path_style,
        credentials,
        read_timeout: config.fetch.read_timeout,
        ..S3Options::new(bucket)
    }
}

/// Ends each second for the rates on the page.
async fn tick(live: Arc<Live>, inbox: Arc<Inbox>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seconds: u64 = 0;
    loop {
        second.tick().await;
        seconds += 1;
        if inbox.poll().is_some()
            && seconds.is_multiple_of(RECOUNT)
            && let Err(error) = inbox.recount().await
        {
            tracing::warn!(%error, "counting what other servers have done");
        }
        let totals = inbox.totals();
        let waiting = totals.owed + totals.fetching > 0;
        let oldest = if waiting { inbox.oldest_owed_ms().await.unwrap_or_default() } else { None };
        live.tick(totals, oldest);
    }
}

/// Descriptors for the process itself: standard streams, the runtime, the inbox, outputs, what is looked up.
const OWN_FILES: u64 = 64;

/// Descriptors for each object at work: connections to the store and to a consumer, and a program's pipes and input.
const FILES_PER_OBJECT: u64 = 8;

/// What clients may ask of the listener, where the limit of open files leaves room for less than is configured.
fn lowered(config: &Config) -> ServeConfig {
    let mut serve = config.serve.clone();
    let kept = OWN_FILES + FILES_PER_OBJECT * config.fetch.concurrency as u64;
    let limit = descriptors::limit();
    if let [share] = descriptors::share(limit, kept, &[serve.max_connections])[..]
        && share < serve.max_connections
    {
        tracing::warn!(
            max_connections = share,
            configured = serve.max_connections,
            open_files = limit,
            kept,
            "fewer connections than configured: the limit of open files (LimitNOFILE, ulimit -n) leaves room for no more"
        );
        serve.max_connections = share;
    }
    serve
}

fn say_started(config: &Config, address: SocketAddr) {
    tracing::info!(%address, dir = %config.dir.display(), "the server is listening");
    if config.notices.secrets.is_empty() {
        tracing::warn!(
            "no secret is configured: unsigned notices are taken, from this machine only, since the address is a loopback one"
        );
    }
}

/// Written whole or not at all, so that whoever waits for it never reads half of it.
fn write_ready_file(config: &Config, address: SocketAddr) -> Result<(), RunError> {
    let Some(path) = &config.ready_file else { return Ok(()) };
    let scheme = if config.serve.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    let ready = json!({
        "pid": std::process::id(),
        "address": address,
        "url": url,
        "notices_url": format!("{url}/v1/notices"),
        "dir": config.dir,
    });
    let mut partial = path.clone().into_os_string();
    partial.push(".partial");
    std::fs::write(&partial, format!("{ready}\n"))
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|source| RunError::ReadyFile { path: path.clone(), source })
}
