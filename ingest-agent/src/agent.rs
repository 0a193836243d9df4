//! The wiring and the shutdown order: read this first.
//!
//! ```text
//! producers -> sources -> channels -> sinks -> store          admin: metrics, health, flush
//!             (this thread's runtime)  (one thread and runtime a sink)
//! ```
//!
//! **Start**: see how many descriptors there are, and let in no more connections than leave enough for files; take every address, so that a taken port is an error before anything happens; open the
//! channels, and refuse those with a reader that the configuration no longer names; start the sinks, then the
//! sources; say where everything is; be ready.
//!
//! **Stop**, by a signal or because a part has ended: the sources accept nothing new and give the answers they owe;
//! the channels sync what was appended; the sinks seal and ship within `shutdown_timeout`, and what they cannot ship
//! stays safely in the channel; the channels close; the admin address goes last, so that all of it can be watched.
//!
//! **What the end of each part means**: a source or the admin server never ends by itself, so if it does (a bug), the agent stops; a sink
//! that ends has met what an operator must decide, so the agent stops; a channel that failed to sync cannot
//! promise anything any more, so the agent stops at once and the next start recovers.

mod descriptors;

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState, Phase};
use crate::channel::{self, ChannelHandle};
use crate::config::Config;
use crate::error::{AgentError, StartError};
use crate::flush::Flusher;
use crate::logging::LogControl;
use crate::sink::{self, SinkContext, SinkEnd};
use crate::source::{self, SourceContext};
use crate::telemetry::Telemetry;

/// A started agent: every address is taken, every channel open, every part runs.
pub struct Agent {
    addresses: Addresses,
    flusher: Flusher,
    telemetry: Telemetry,
    phase: watch::Sender<Phase>,
    shutdown_timeout: Duration,
    sources: JoinSet<String>,
    stop_sources: CancellationToken,
    channels: Vec<ChannelHandle>,
    sinks: JoinSet<SinkEnd>,
    stop_sinks: CancellationToken,
    admin: JoinSet<()>,
    stop_admin: CancellationToken,
    /// Tells of what channels lack, for as long as the agent lives.
    _telling: JoinSet<()>,
}

/// Where everything listens, ports filled in; the content of the ready file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Addresses {
    /// Of the admin server, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// Of the sources, by name.
    pub sources: BTreeMap<String, SocketAddr>,
}

/// How a run ended that was asked to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Events that each sink left in its channel, for the next start.
    pub left: BTreeMap<String, u64>,
}

/// Starts an agent and runs it until `shutdown` completes or a part of it ends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<Outcome, AgentError> {
    Agent::start(config, None).await?.run(shutdown).await
}

/// Sources answer what they owe within this; a group's sync takes milliseconds, on a bad disk seconds.
const SOURCES_STOP_WITHIN: Duration = Duration::from_secs(10);

/// What a sink may take beyond `shutdown_timeout` to notice that its time is over.
const SINK_GRACE: Duration = Duration::from_secs(5);

// === impl Agent ===

impl Agent {
    /// Starts everything. Runs in the caller's tokio runtime; the sinks get threads of their own.
    ///
    /// `log` lets the admin address change the level.
    pub async fn start(mut config: Config, log: Option<LogControl>) -> Result<Self, StartError> {
        let telemetry = Telemetry::default();
        let mut flusher = Flusher::default();
        let stop_sources = CancellationToken::new();
        let stop_sinks = CancellationToken::new();
        let stop_admin = CancellationToken::new();
        let (phase, phase_seen) = watch::channel(Phase::Starting);

        for note in &config.notes {
            tracing::warn!("{note}");
        }
        if let Some(path) = &config.ready_file {
            // That of an earlier run would say "ready" too early.
            let _ = fs::remove_file(path);
        }
        descriptors::lower_limits(&mut config);
        let mut bound = Vec::new();
        for source in config.sources {
            let listening = source::bind(source.kind);
            let listening =
                listening.map_err(|error| StartError::Bind { name: source.name.to_string(), error })?;
            bound.push((source.name, source.channels, listening));
        }
        let admin_listener = match config.admin {
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(|error| StartError::Admin { address, error })?)
            }
            None => None,
        };
        let addresses = Addresses {
            admin: admin_listener.as_ref().and_then(|listener| listener.local_addr().ok()),
            sources: bound.iter().map(|(name, _, source)| (name.to_string(), source.address())).collect(),
        };

        let mut telling = JoinSet::new();
        let mut channels = BTreeMap::new();
        for channel in config.channels {
            let readers = config.sinks.iter().filter(|sink| sink.channel == channel.name);
            let readers: Vec<_> = readers.map(|sink| sink.name.as_str()).collect();
            let handle = channel::open(&channel, &readers)?;
            telemetry.add_channel(&handle);
            telling.spawn(channel::shortage::tell(handle.clone()));
            channels.insert(channel.name, handle);
        }

        let mut sinks = JoinSet::new();
        for sink in config.sinks {
            let channel = &channels[&sink.channel];
            let reader = channel.channel().reader(sink.name.as_str(), sink.start);
            let reader = reader.map_err(|error| StartError::Reader { name: sink.name.to_string(), error })?;
            let context = SinkContext {
                metrics: telemetry.add_sink(sink.name.as_str(), channel),
                flush: flusher.add(sink.name.as_str(), channel),
                name: sink.name,
                reader,
                channel: channel.clone(),
                shutdown: stop_sinks.clone(),
                shutdown_timeout: config.shutdown_timeout,
            };
            let name = context.name.to_string();
            let spawned = sink::spawn(&mut sinks, sink.kind, context);
            spawned.map_err(|error| StartError::Thread { name, error })?;
        }

        let mut admin = JoinSet::new();
        if let Some(listener) = admin_listener {
            let state = AdminState {
                telemetry: telemetry.clone(),
                flusher: flusher.clone(),
                phase: phase_seen,
                log,
                flush_timeout: config.flush_timeout,
            };
            admin.spawn(admin::serve(listener, config.admin_connections, state, stop_admin.clone()));
        }

        let mut sources = JoinSet::new();
        for (name, feeds, listening) in bound {
            let name = name.to_string();
            let context = SourceContext {
                metrics: telemetry.add_source(&name),
                channels: feeds.iter().map(|name| channels[name].clone()).collect(),
                shutdown: stop_sources.clone(),
                name: name.clone(),
            };
            sources.spawn(async move {
                source::run(listening, context).await;
                name
            });
        }
        phase.send_replace(Phase::Ready);
        if let Some(path) = config.ready_file {
            announce(&path, &addresses).map_err(|error| StartError::ReadyFile { path, error })?;
        }
        for (source, address) in &addresses.sources {
            tracing::info!(source, %address, "listening");
        }
        if let Some(address) = addresses.admin {
            tracing::info!(%address, "the admin address is listening");
        }
        tracing::info!("ready");
        Ok(Self {
            addresses,
            flusher,
            telemetry,
            phase,
            shutdown_timeout: config.shutdown_timeout,
            sources,
            stop_sources,
            channels: channels.into_values().collect(),
            sinks,
            stop_sinks,
            admin,
            stop_admin,
            _telling: telling,
        })
    }

    /// Where everything listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Reaches the sinks, to flush them.
    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// What it counts.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Runs until `shutdown` completes or a part ends by itself, then stops everything in order.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<Outcome, AgentError> {
        let ended = tokio::select! {
            () = shutdown => None,
            ended = self.part_ended() => Some(ended),
        };
        if let Some(error) = &ended {
            tracing::error!(error = %error, "stopping, because a part of the agent has ended");
        } else {
            tracing::info!("stopping");
        }
        self.phase.send_replace(Phase::Stopping);
        let stopped = self.stop().await;
        match ended {
            Some(error) => Err(error),
            None => stopped,
        }
    }

    /// Completes when a part ends that should run for as long as the agent.
    async fn part_ended(&mut self) -> AgentError {
        tokio::select! {
            error = first_failure(&self.channels) => error,
            Some(ended) = self.sinks.join_next() => match joined(ended) {
                (name, Err(error)) => AgentError::Sink { name, error },
                (name, Ok(())) => AgentError::Ended { part: format!("the sink {name}") },
            },
            Some(ended) = self.sources.join_next() => AgentError::Ended { part: format!("the source {}", joined(ended)) },
            Some(ended) = self.admin.join_next() => {
                let () = joined(ended);
                AgentError::Ended { part: "the admin server".to_owned() }
            }
        }
    }

    async fn stop(mut self) -> Result<Outcome, AgentError> {
        self.stop_sources.cancel();
        let answered =
            timeout(SOURCES_STOP_WITHIN, async { while self.sources.join_next().await.is_some() {} });
        if answered.await.is_err() {
            tracing::warn!("a source still owes answers; its producers see their connections close");
            self.sources.shutdown().await;
        }
        // Nobody waits for what is still queued, so nothing is lost where that fails; closing says why it did.
        for channel in &self.channels {
            let _ = timeout(SOURCES_STOP_WITHIN, channel.drained()).await;
        }
        self.stop_sinks.cancel();
        let shipped = timeout(self.shutdown_timeout + SINK_GRACE, sinks_end(&mut self.sinks)).await;
        let left = self.telemetry.sinks();
        let left = left.iter().map(|sink| (sink.name().to_owned(), sink.snapshot().in_channel)).collect();
        let mut closed = Ok(());
        for channel in &self.channels {
            let close = channel.close().await;
            closed = closed
                .and(close.map_err(|error| AgentError::Close { name: channel.name().to_owned(), error }));
        }
        self.stop_admin.cancel();
        while self.admin.join_next().await.is_some() {}
        if let Ok(shipped) = shipped {
            shipped?;
        } else {
            tracing::warn!(
                "a sink did not end in time; what it has not recorded it does again after the next start"
            );
        }
        closed?;
        Ok(Outcome { left })
    }
}

/// Writes the ready file whole or not at all: whoever waits for it may read it as soon as it is there.
fn announce(path: &Path, addresses: &Addresses) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(addresses)?)?;
    fs::rename(&new, path)
}

/// Waits for every sink; the first error that one of them ended with.
async fn sinks_end(sinks: &mut JoinSet<SinkEnd>) -> Result<(), AgentError> {
    let mut result = Ok(());
    while let Some(ended) = sinks.join_next().await {
        let (name, ended) = joined(ended);
        result = result.and(ended.map_err(|error| AgentError::Sink { name, error }));
    }
    result
}

async fn first_failure(channels: &[ChannelHandle]) -> AgentError {
    let failures = channels.iter().map(|channel| {
        Box::pin(async move {
            AgentError::Poisoned { name: channel.name().to_owned(), failure: channel.failed().await }
        })
    });
    // Without channels there is nothing to wait for; a configuration always has one.
    let (error, ..) = futures_util::future::select_all(failures).await;
    error
}

/// A part's panic is a bug; it goes on as this thread's own.
fn joined<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
