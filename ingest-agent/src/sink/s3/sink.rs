//! The loop: read a little, seal what is due, let the uploads run, answer who waits.

mod reading;
mod shipping;

use std::sync::Arc;
use std::time::Duration;

use contract::ChannelId;
use durable_channel::Item;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::shipping::Shipping;
use super::arrivals::Arrivals;
use super::claim::{Claimed, claim};
use super::config::S3SinkConfig;
use super::cut::BytesAt;
use super::error::S3SinkError;
use super::gather::Gather;
use super::learn;
use super::ledger::Ledger;
use super::leftovers;
use super::makers::Makers;
use super::pack::Packer;
use super::seal::seal;
use super::seams::Seams;
use super::shared::{Shared, gauge};
use super::staging::Staging;
use super::trouble::Trouble;
use crate::channel::ChannelHandle;
use crate::sink::{FlushReport, FlushRequest, SinkContext};
use object_format::Codec;

/// How often a memory channel's refusals are looked at while cuts are open.
const LOOK: Duration = Duration::from_secs(1);

/// One S3 sink that runs.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    channel: ChannelHandle,
    shutdown: CancellationToken,
    shutdown_timeout: Duration,
    requests: mpsc::Receiver<FlushRequest>,
    flushes: Vec<Flush>,
    gather: Gather,
    arrivals: Arrivals,
    /// The next position to read.
    position: u64,
    /// Positions below this arrived before this start: they may be held, and their age counts from their arrival.
    replay_end: u64,
    shipping: Shipping,
    /// What runs beside, and ends with the sink.
    errands: JoinSet<()>,
    /// What the channel had refused when last looked at.
    refused_full: u64,
    /// When to read on, after there was no descriptor for it.
    read_again: Option<Instant>,
}

/// A flush that was asked for.
struct Flush {
    request: FlushRequest,
    closed: bool,
    keys: Vec<(u64, String)>,
}

/// What a turn of reading came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// There may be more to read.
    More,
    /// Everything synced is read.
    CaughtUp,
    /// A limit is reached: reading waits for uploads.
    Blocked,
}

impl Sink {
    /// Recovers the state, claims the channel, and aborts what an earlier run left; `None` if shut down meanwhile.
    pub(crate) async fn open(
        config: S3SinkConfig,
        ctx: SinkContext,
        seams: Seams,
    ) -> Result<Option<Self>, S3SinkError> {
        let dir = ctx.reader.dir().map(std::path::Path::to_owned);
        let ledger = Ledger::open(&*seams.disk, dir.as_deref(), config.journal_bytes, ctx.reader.released())?;
        let (held, next) = (ledger.state().held.end(), ctx.channel.synced_end());
        if held > next {
            return Err(S3SinkError::Ahead { held, next });
        }
        let staged = ledger.state().pending.values().flat_map(|pending| &pending.attempts);
        let needed = staged.flat_map(|attempt| match &attempt.bytes {
            BytesAt::Staged(extents) => extents.clone(),
            _ => Vec::new(),
        });
        let file_bytes = (config.staging_bytes / 16).clamp(1 << 20, 64 << 20);
        let failed = || S3SinkError::io("opening the staging log");
        let staging = Staging::open(&seams.disk, dir.as_deref(), file_bytes, needed).map_err(failed())?;
        let compressor = || (seams.compressors)(config.codec);
        let threads = if config.codec == Codec::None { 0 } else { config.compression_threads };
        let makers = Makers::start(threads, compressor).map_err(S3SinkError::io("starting threads"))?;
        let packer = Packer::new(staging, config.codec, compressor().map_err(failed())?, makers);
        let channel_id = ChannelId(ctx.channel.channel().id());
        let position = ledger.state().held.watermark();
        let mut sink = Self {
            gather: Gather::new(&config, channel_id, &ctx.name),
            arrivals: Arrivals::new(),
            position,
            replay_end: next.max(position),
            shared: Arc::new(Shared {
                name: ctx.name,
                channel: channel_id,
                config,
                seams,
                learned: None.into(),
                metrics: ctx.metrics,
                dir,
                reader: ctx.reader.into(),
                ledger: ledger.into(),
                packer: packer.into(),
            }),
            channel: ctx.channel,
            shutdown: ctx.shutdown,
            shutdown_timeout: ctx.shutdown_timeout,
            requests: ctx.flush,
            flushes: Vec::new(),
            shipping: Shipping::default(),
            errands: JoinSet::new(),
            refused_full: 0,
            read_again: None,
        };
        sink.shared.show_totals();
        // What waited over the restart is as old as it was before.
        let released = sink.shared.ledger().state().released();
        // A replayed cut may be of positions that the channel holds no more.
        if let Ok(Some(Item::Frame { arrival_ms, .. })) = sink.shared.reader().read(released) {
            sink.arrivals.note(released, arrival_ms);
        }
        let (shutdown, timeout) = (sink.shutdown.clone(), sink.shutdown_timeout);
        let out_of_time = async {
            shutdown.cancelled().await;
            sleep(timeout).await;
        };
        tokio::select! {
            prepared = sink.prepare() => prepared?,
            () = out_of_time => return Ok(None),
        }
        sink.errands.spawn(learn::keep_up(Arc::clone(&sink.shared)));
        Ok(Some(sink))
    }

    /// Learns what the store keeps, claims the channel, until the store has answered, and aborts unfinished uploads.
    async fn prepare(&mut self) -> Result<(), S3SinkError> {
        let shared = &Arc::clone(&self.shared);
        learn::learn(shared).await;
        if let (Some(prefix), Some(nonce)) = (&shared.config.control_prefix, self.channel.claim_nonce()) {
            let prefix = prefix.trim_end_matches('/');
            let incarnation = self.channel.channel().incarnation();
            let key = format!("{prefix}/claims/{}-{}/{incarnation:012}", shared.channel, shared.name);
            let nonce = hex::encode(nonce);
            let store = shared.bucket(&shared.config.store.bucket);
            let mut trouble = Trouble::new(shared);
            loop {
                self.show();
                shared.metrics.requests.inc();
                shared.reach("before_claim")?;
                let claimed = claim(&*store, &key, &nonce, shared.promises().conditions).await;
                shared.reach("after_claim")?;
                match claimed {
                    Ok(Claimed::Ours) => break,
                    Ok(Claimed::Forbidden(error)) => {
                        tracing::warn!(%key, error = %error, "copies of this channel cannot be detected: s3:PutObject and s3:GetObject below control_prefix are missing");
                        break;
                    }
                    Err(Err(error)) => return Err(error),
                    Err(Ok(error)) => {
                        if trouble.is_worth_a_line() {
                            tracing::warn!(error = %error, kind = %error.kind, "the store cannot be asked yet whether this channel is a copy; nothing is shipped before");
                        }
                        trouble.pause(error.kind.needs_an_operator()).await;
                    }
                }
            }
        }
        shared.reach("before_leftovers")?;
        if shared.dir.is_some() {
            leftovers::abort(shared).await;
        }
        Ok(())
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self) -> Result<(), S3SinkError> {
        let mut last = None;
        loop {
            // Taken before reading: what is synced between the last read and the wait wakes us at once.
            let mut progress = self.channel.progress();
            self.collect()?;
            let turn = self.read()?;
            self.close_due(turn);
            seal(&self.shared, self.gather.take_closed())?;
            self.start_uploads();
            self.answer();
            self.show();
            if let Some((upto, _)) = last
                && self.position >= upto
                && self.shared.ledger().state().to_ship().next().is_none()
                && self.gather.is_empty()
            {
                return Ok(());
            }
            if turn == Turn::More {
                // The uploads' turn.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.next_due();
            let deadline = last.map(|(_, deadline)| deadline);
            tokio::select! {
                () = progress.changed(), if turn == Turn::CaughtUp => {}
                Some(ended) = self.shipping.next() => self.shipping.ended(ended)?,
                Some(request) = self.requests.recv() => self.flushes.push(Flush::new(request)),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                () = self.shutdown.cancelled(), if last.is_none() => {
                    // A flush of everything, with an end.
                    let upto = self.channel.synced_end();
                    last = Some((upto, Instant::now() + self.shutdown_timeout));
                    self.flushes.push(Flush::new(FlushRequest { upto, reply: tokio::sync::oneshot::channel().0 }));
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return self.record(),
            }
        }
    }

    /// Closes the cuts that have waited long enough, that a flush waits for, or that pin the channel.
    fn close_due(&mut self, turn: Turn) {
        // After a restart every cut would look old before it is as full as it can be.
        if self.position >= self.replay_end || turn != Turn::More {
            self.gather.close_due(&self.shared.config, Instant::now());
        }
        for flush in self.flushes.iter_mut().filter(|flush| !flush.closed) {
            if self.position >= flush.request.upto {
                self.gather.close(|open| open.runs.first() < flush.request.upto);
                flush.closed = true;
            }
        }
        self.unpin(turn);
    }

    /// Closes the older half of the cuts that keep a channel which fills up from deleting events. What is not read yet
    /// and what is on its way already is freed by no seal: while that is what fills it, sealing sooner makes crumbs.
    fn unpin(&mut self, turn: Turn) {
        let stats = self.channel.channel().stats();
        let mut most = self.shared.config.retain_high_bytes.min(stats.capacity_bytes / 2);
        if turn == Turn::CaughtUp && stats.refused_full > self.refused_full {
            self.refused_full = stats.refused_full;
            // A memory channel may be full of few bytes.
            most = most.min(stats.used_bytes / 4);
        }
        if stats.used_bytes <= most {
            return;
        }
        let Some(first) = self.gather.first() else { return };
        let open = self.position.saturating_sub(first);
        // As if all events were of one size.
        let pinned = stats.used_bytes as f64 * (open as f64 / (stats.next - stats.first).max(1) as f64);
        if pinned > most as f64 {
            self.gather.close(|cut| cut.runs.first() <= first + open / 2);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.gather.next_due();
        // A memory channel may be full of few bytes, and nothing tells when it begins to refuse.
        let look = (self.shared.dir.is_none() && !self.gather.is_empty()).then(|| Instant::now() + LOOK);
        [due, look, self.shipping.record_by(), self.read_again].into_iter().flatten().min()
    }

    /// Answers the flushes whose positions are all settled.
    fn answer(&mut self) {
        let released = self.shared.ledger().state().released();
        for mut flush in self.flushes.extract_if(.., |flush| flush.request.upto <= released) {
            flush.keys.sort_unstable();
            let keys = flush.keys.into_iter().map(|(_, key)| key).collect();
            // A waiter that went away needs no answer.
            let _ = flush.request.reply.send(FlushReport { keys });
        }
    }

    fn show(&mut self) {
        let metrics = &self.shared.metrics;
        let released = self.shared.ledger().state().released();
        let waits = released < self.channel.synced_end();
        let oldest = if waits {
            self.arrivals.at(released, self.position, wall_clock::now_ms())
        } else {
            self.arrivals.clear();
            0
        };
        metrics.oldest_unshipped_ms.set(gauge(oldest));
        let packer = self.shared.packer();
        metrics.open_partitions.set(gauge(self.gather.len() as u64));
        metrics.staging_memory_bytes.set(gauge(packer.memory_bytes()));
        metrics.staging_bytes.set(gauge(packer.staging.used_bytes()));
    }
}

impl Flush {
    fn new(request: FlushRequest) -> Self {
        Self { request, closed: false, keys: Vec::new() }
    }
}
