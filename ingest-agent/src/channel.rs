//! The async side of a channel: back-pressure before the work, and waiting for the sync after it.
//!
//! A durable channel is synchronous: [`append`](durable_channel::Channel::append) queues a batch and returns,
//! and the channel's own thread writes and syncs whole groups. Here each synced group is one wake-up, whoever
//! waits looks at the synced end for itself, and an append is answered only once its positions
//! are below that end (I1).

pub mod keys;
pub mod shortage;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use durable_channel::disk::{Disk, OsDisk};
use durable_channel::{
    AppendError, Appended, Batch, Channel, CloseError, DurableChannel, MemoryChannel, OpenError, Reservation,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use self::keys::{Clock, Keys, Limits};
use crate::config::{ChannelConfig, ChannelKind};
use crate::error::StartError;

/// A channel as sources and sinks see it. Clones share one channel.
#[derive(Clone)]
pub struct ChannelHandle {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// Before the channel, which is in use until they are closed.
    keys: Keys,
    channel: Arc<dyn Channel>,
    progress: Arc<watch::Sender<()>>,
    queue: Arc<Semaphore>,
    /// The part of the queue that may be held for as long as a sender likes.
    patient: Arc<Semaphore>,
    queue_bytes: u32,
    claim_nonce: Option<[u8; 16]>,
}

/// A batch that has its room in the channel, which is given back when this is dropped.
#[must_use = "nothing is appended before the commit"]
pub struct Prepared {
    reservation: Reservation,
    channel: ChannelHandle,
}

/// A batch that has its positions and waits for its sync.
#[must_use = "an append that nobody waits for must not be acknowledged"]
pub struct Pending {
    appended: Appended,
    progress: Progress,
    channel: ChannelHandle,
}

/// Wakes once for each synced group, each release of space, and when the channel fails.
///
/// It remembers what its owner has seen: take it *before* looking at the channel, and no progress between
/// the look and [`changed`](Self::changed) is missed.
pub struct Progress {
    seen: watch::Receiver<()>,
}

/// Room among the bytes that sources may hold between the socket and the sync; dropping it gives it back.
#[must_use = "the room is given back when this is dropped"]
pub struct QueueRoom {
    _permit: Option<OwnedSemaphorePermit>,
    _patient: Option<OwnedSemaphorePermit>,
}

/// How the keys of a channel are kept.
pub struct KeyPlace {
    /// How many, and for how long.
    pub limits: Limits,
    /// What the age of keys is told by.
    pub clock: Clock,
    /// The disk that a durable channel is on; `None` keeps keys in memory.
    pub disk: Option<Arc<dyn Disk>>,
}

/// Opens the channel of a configuration, of which `readers` are the names of the sinks that read it.
///
/// A registered reader that is none of them stops the start: it would hold its events for ever, or, forgotten
/// silently, lose them.
pub fn open(config: &ChannelConfig, readers: &[&str]) -> Result<ChannelHandle, StartError> {
    let failed = |error| StartError::Channel { name: config.name.to_string(), error };
    let name = config.name.to_string();
    let keys = |disk| KeyPlace { limits: config.keys, clock: keys::system_clock(), disk };
    match &config.kind {
        ChannelKind::Memory { capacity_events, transaction_capacity, capacity_bytes } => {
            let channel = MemoryChannel::new(*capacity_events, *transaction_capacity, *capacity_bytes);
            let channel = Arc::new(channel.map_err(failed)?);
            ChannelHandle::with_keys(name, channel, config.queue_bytes, keys(None)).map_err(failed)
        }
        ChannelKind::Durable { dir, options } => {
            let (channel, recovery) = DurableChannel::open(dir, options).map_err(failed)?;
            let lost: u64 = recovery.damaged.iter().map(|(_, count)| count).sum();
            tracing::info!(
                channel = %config.name,
                dir = %dir.display(),
                created = recovery.created,
                first = recovery.first,
                next = recovery.next,
                copied_frames = recovery.copied_frames,
                torn_bytes = recovery.torn_bytes,
                set_aside_bytes = recovery.set_aside_bytes,
                lost_positions = lost,
                "channel open"
            );
            let unclaimed = |name: &str| !readers.contains(&name) && !keys::is_keeper(name);
            if let Some(reader) = channel.readers().iter().find(|reader| unclaimed(&reader.name)) {
                return Err(StartError::Unclaimed {
                    channel: config.name.to_string(),
                    reader: reader.name.clone(),
                    dir: dir.display().to_string(),
                });
            }
            let keys = keys(Some(Arc::new(OsDisk)));
            ChannelHandle::durable(name, channel, config.queue_bytes, keys).map_err(failed)
        }
    }
}

// === impl KeyPlace ===

impl Default for KeyPlace {
    /// In memory.
    fn default() -> Self {
        Self { limits: Limits::default(), clock: keys::system_clock(), disk: None }
    }
}

// === impl ChannelHandle ===

impl fmt::Debug for ChannelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChannelHandle").field(&self.inner.name).finish()
    }
}

impl ChannelHandle {
    /// Wraps `channel`; `queue_bytes` bounds what all its sources together may have between socket and sync. Keys are
    /// known for as long as the handle lives.
    pub fn new(name: impl Into<String>, channel: Arc<dyn Channel>, queue_bytes: u32) -> Self {
        let wrapped = Self::with_keys(name, channel, queue_bytes, KeyPlace::default());
        wrapped.expect("keys that are in memory have nothing to open")
    }

    /// As [`new`](Self::new), with keys that are kept as `keys` says. Those of a durable channel are loaded.
    pub fn with_keys(
        name: impl Into<String>,
        channel: Arc<dyn Channel>,
        queue_bytes: u32,
        keys: KeyPlace,
    ) -> Result<Self, OpenError> {
        Self::build(name.into(), channel, queue_bytes, None, keys)
    }

    /// As [`with_keys`](Self::with_keys), with what makes copies of a durable channel known.
    pub fn durable(
        name: impl Into<String>,
        channel: DurableChannel,
        queue_bytes: u32,
        keys: KeyPlace,
    ) -> Result<Self, OpenError> {
        let nonce = channel.claim_nonce();
        Self::build(name.into(), Arc::new(channel), queue_bytes, Some(nonce), keys)
    }

    fn build(
        name: String,
        channel: Arc<dyn Channel>,
        queue_bytes: u32,
        claim_nonce: Option<[u8; 16]>,
        KeyPlace { limits, clock, disk }: KeyPlace,
    ) -> Result<Self, OpenError> {
        let (progress, _) = watch::channel(());
        let progress = Arc::new(progress);
        let wake = Arc::clone(&progress);
        channel.on_progress(Box::new(move || {
            wake.send_replace(());
        }));
        let wake = Arc::clone(&progress);
        let keys = match disk {
            None => Keys::in_memory(limits, clock),
            Some(disk) => Keys::open(limits, clock, disk, &channel, move || {
                wake.send_replace(());
            })?,
        };
        let queue = Arc::new(Semaphore::new(queue_bytes as usize));
        let patient = Arc::new(Semaphore::new(queue_bytes as usize / 2));
        let inner = Inner { name, keys, channel, progress, queue, patient, queue_bytes, claim_nonce };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The name that the configuration gives it.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The random number of this incarnation of a durable channel, by which a clone of it is known.
    pub fn claim_nonce(&self) -> Option<[u8; 16]> {
        self.inner.claim_nonce
    }

    /// Which requests it holds, by their keys.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// What was appended at these positions, to wait for its sync.
    pub fn pending(&self, appended: Appended) -> Pending {
        Pending { appended, progress: self.progress(), channel: self.clone() }
    }

    /// The channel itself, for its readers, numbers and closing.
    pub fn channel(&self) -> &Arc<dyn Channel> {
        &self.inner.channel
    }

    /// Waits until `bytes` more may be held in memory on the way to the sync, first come, first served.
    ///
    /// More than the whole room is granted as the whole room: one large request waits for an empty queue
    /// rather than for ever.
    pub async fn reserve(&self, bytes: usize) -> QueueRoom {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.inner.queue_bytes);
        let permit = Arc::clone(&self.inner.queue).acquire_many_owned(bytes).await.ok();
        QueueRoom { _permit: permit, _patient: None }
    }

    /// As [`reserve`](Self::reserve), but refuses at once where that would wait.
    pub fn try_reserve(&self, bytes: usize) -> Option<QueueRoom> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.inner.queue_bytes);
        let permit = Arc::clone(&self.inner.queue).try_acquire_many_owned(bytes).ok()?;
        Some(QueueRoom { _permit: Some(permit), _patient: None })
    }

    /// As [`try_reserve`](Self::try_reserve), for what stays until a sender goes on, which may be never: all of it
    /// together gets half the room, so that the other half always comes free again.
    pub fn try_reserve_patient(&self, bytes: usize) -> Option<QueueRoom> {
        let many = u32::try_from(bytes).ok()?;
        let patient = Arc::clone(&self.inner.patient).try_acquire_many_owned(many).ok()?;
        Some(QueueRoom { _patient: Some(patient), ..self.try_reserve(bytes)? })
    }

    /// An empty batch from the channel's pool, to encode events into.
    pub fn batch(&self) -> Batch {
        self.inner.channel.batch()
    }

    /// Appends and waits: when this returns `Ok`, the batch is synced (I1).
    ///
    /// Dropping the future leaves the batch queued: it may still become durable, only nobody is told.
    pub async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.append_queued(batch)?.synced().await
    }

    /// Gives the batch its positions and queues it, without waiting: a pipelining source queues many and
    /// then awaits [`Pending::synced`] in order.
    pub fn append_queued(&self, batch: Batch) -> Result<Pending, AppendError> {
        let progress = self.progress();
        let appended = self.inner.channel.append(batch)?;
        Ok(Pending { appended, progress, channel: self.clone() })
    }

    /// Sets room in the channel aside for the batch, or says why there is none.
    pub fn prepare(&self, batch: Batch) -> Result<Prepared, AppendError> {
        let reservation = self.inner.channel.reserve(batch)?;
        Ok(Prepared { reservation, channel: self.clone() })
    }

    /// Every position below this is durable.
    pub fn synced_end(&self) -> u64 {
        self.inner.channel.synced_end()
    }

    /// A view that wakes at each progress from now on.
    pub fn progress(&self) -> Progress {
        Progress { seen: self.inner.progress.subscribe() }
    }

    /// Waits until everything appended is synced.
    pub async fn drained(&self) -> Result<(), AppendError> {
        let mut progress = self.progress();
        while self.synced_end() < self.inner.channel.stats().next {
            if let Some(failure) = self.inner.channel.failure() {
                return Err(AppendError::Poisoned(failure));
            }
            progress.changed().await;
        }
        Ok(())
    }

    /// Closes the channel on a thread that may wait for the disk.
    pub async fn close(&self) -> Result<(), CloseError> {
        let inner = Arc::clone(&self.inner);
        let closed = tokio::task::spawn_blocking(move || {
            inner.keys.close();
            inner.channel.close()
        })
        .await;
        closed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Completes when the channel or its keys have failed for good (a failed sync), with why.
    pub async fn failed(&self) -> Arc<durable_channel::ChannelFailure> {
        let mut progress = self.progress();
        loop {
            if let Some(failure) = self.inner.channel.failure().or_else(|| self.inner.keys.failure()) {
                return failure;
            }
            progress.changed().await;
        }
    }
}

// === impl Prepared ===

impl Prepared {
    /// Gives the batch its positions. Only a channel that has ended meanwhile refuses it.
    pub fn commit(self) -> Result<Pending, AppendError> {
        let progress = self.channel.progress();
        let appended = self.reservation.commit()?;
        Ok(Pending { appended, progress, channel: self.channel })
    }
}

// === impl Pending ===

impl Pending {
    /// The name of the channel.
    pub fn channel(&self) -> &str {
        self.channel.name()
    }

    /// The positions that the batch was given.
    pub fn appended(&self) -> Appended {
        self.appended
    }

    /// Whether the batch is synced already, without waiting.
    pub fn is_synced(&self) -> bool {
        self.channel.synced_end() >= self.appended.end()
    }

    /// Waits for the sync of this batch. An error means that it was not acknowledged, and must not be.
    pub async fn synced(self) -> Result<Appended, AppendError> {
        self.synced_within(Duration::MAX).await
    }

    /// As [`synced`](Self::synced), but once the channel waits for something that has run out, waits along for no longer
    /// than `patience`: the batch may then still become durable, only nobody is told.
    pub async fn synced_within(mut self, patience: Duration) -> Result<Appended, AppendError> {
        let mut waits_since = None;
        loop {
            if self.is_synced() {
                return Ok(self.appended);
            }
            // Looked at after the synced end: what was synced before a failure is durable all the same.
            if let Some(failure) = self.channel.inner.channel.failure() {
                return if self.is_synced() {
                    Ok(self.appended)
                } else {
                    Err(AppendError::Poisoned(failure))
                };
            }
            let Some(shortage) = self.channel.inner.channel.waits_for() else {
                waits_since = None;
                self.progress.changed().await;
                continue;
            };
            let waited = waits_since.get_or_insert_with(Instant::now).elapsed();
            if timeout(patience.saturating_sub(waited), self.progress.changed()).await.is_err() {
                return Err(AppendError::Waits(shortage));
            }
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Waits for progress that this view has not seen yet.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The handle that would wake us is gone, and with it anyone who could make progress.
            std::future::pending::<()>().await;
        }
    }
}
