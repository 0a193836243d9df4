//! From a source into its channels: room before the work, one append, and the wait for the sync.

use std::sync::Arc;
use std::time::Duration;

use durable_channel::{AppendError, Appended, Batch, OpenError, Shortage};

use crate::channel::keys::{Known, Session};
use crate::channel::{ChannelHandle, Pending, Prepared, QueueRoom};
use crate::event::{Draft, KeyStamp};
use crate::telemetry::SourceMetrics;

/// The channels of one source, seen as one.
pub struct Intake {
    /// In the order of their names, so that two sources that share channels never wait for each other in a ring.
    channels: Vec<ChannelHandle>,
    metrics: Arc<SourceMetrics>,
    /// How long what was appended may wait for something that has run out.
    room_timeout: Duration,
}

/// Room in the queue of every channel; dropping it gives it back.
#[derive(Default)]
#[must_use = "the room is given back when this is dropped"]
pub struct Room {
    held: Vec<QueueRoom>,
    bytes: usize,
}

/// A draft that every channel has taken and that is not synced everywhere yet.
#[must_use = "a draft that nobody waits for must not be acknowledged"]
pub struct Unsynced {
    pending: Vec<Pending>,
    metrics: Arc<SourceMetrics>,
    room_timeout: Duration,
    events: u32,
    body_bytes: u64,
    repeat: bool,
}

/// Events that are durable in every channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// How many.
    pub events: u32,
    /// Whether all of them were there already, from an earlier request with the same key.
    pub repeat: bool,
    /// The positions in each channel.
    pub positions: Vec<(String, Appended)>,
}

/// Why a request with a key was not stored.
#[derive(Debug, thiserror::Error)]
pub enum KeyedError {
    /// A channel refused it. Nothing was appended, and the key is as it was.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Another request was stored under this key.
    #[error("the Idempotency-Key was used for another request: use a new key for each request")]
    OtherRequest,
    /// The key could not be made durable, so nothing was appended.
    #[error("idempotency keys cannot be kept now")]
    Unkept(#[source] OpenError),
}

/// What is to be done in one channel for a request with a key.
enum Step {
    /// Its events are there, and may not be synced yet.
    There(Pending),
    /// There is room for them.
    Missing(Prepared),
}

impl Intake {
    /// The intake of a source that feeds `channels`, at least one. What was appended and then waits for something that
    /// has run out is given up after `room_timeout`.
    pub fn new(
        mut channels: Vec<ChannelHandle>,
        metrics: Arc<SourceMetrics>,
        room_timeout: Duration,
    ) -> Self {
        assert!(!channels.is_empty(), "a source feeds at least one channel");
        channels.sort_by(|one, two| one.name().cmp(two.name()));
        channels.dedup_by(|one, two| one.name() == two.name());
        Self { channels, metrics, room_timeout }
    }

    /// An empty draft.
    pub fn draft(&self) -> Draft {
        Draft::new(self.channels[0].batch())
    }

    /// The most events that a draft may have.
    pub fn max_batch_events(&self) -> u64 {
        let limits = self.channels.iter().map(|channel| channel.channel().max_batch_events());
        limits.min().unwrap_or(u64::MAX)
    }

    /// What the queue of a channel waits for, if something has run out.
    pub fn waits_for(&self) -> Option<Shortage> {
        self.channels.iter().find_map(|channel| channel.channel().waits_for())
    }

    /// Waits for room for `bytes` in every channel's queue.
    pub async fn reserve(&self, bytes: usize) -> Room {
        let mut room = Room { held: Vec::with_capacity(self.channels.len()), bytes };
        for channel in &self.channels {
            room.held.push(channel.reserve(bytes).await);
        }
        room
    }

    /// Makes `room` hold at least `bytes`, or leaves it as it is and says that there is no room now.
    ///
    /// What has room already must not wait for more: several that did would wait for each other.
    pub fn grow(&self, room: &mut Room, bytes: usize) -> bool {
        self.grow_by(ChannelHandle::try_reserve, room, bytes)
    }

    /// As [`grow`](Self::grow), for what waits for a sender without a limit of time.
    pub fn grow_patient(&self, room: &mut Room, bytes: usize) -> bool {
        self.grow_by(ChannelHandle::try_reserve_patient, room, bytes)
    }

    fn grow_by(
        &self,
        try_reserve: impl Fn(&ChannelHandle, usize) -> Option<QueueRoom>,
        room: &mut Room,
        bytes: usize,
    ) -> bool {
        let Some(more) = bytes.checked_sub(room.bytes).filter(|more| *more > 0) else {
            return true;
        };
        // In steps, so that a stream of small chunks does not become a list of small reservations.
        let more = more.max(Room::STEP_BYTES);
        let held: Option<Vec<_>> = self.channels.iter().map(|channel| try_reserve(channel, more)).collect();
        let Some(held) = held else { return false };
        room.held.extend(held);
        room.bytes += more;
        true
    }

    /// Gives the draft its positions in every channel, without waiting for the sync.
    ///
    /// Every channel sets room aside before the first one takes anything: a refusal appends nowhere.
    pub fn append(&self, draft: Draft) -> Result<Unsynced, AppendError> {
        let (events, body_bytes) = (draft.count(), draft.body_bytes());
        let batch = draft.into_batch();
        let pending = match &*self.channels {
            [only] => vec![only.append_queued(batch)?],
            several => {
                let batches = several.iter().zip(self.copies(batch));
                let prepared: Vec<_> =
                    batches.map(|(channel, batch)| channel.prepare(batch)).collect::<Result<_, _>>()?;
                prepared.into_iter().map(Prepared::commit).collect::<Result<_, _>>()?
            }
        };
        self.metrics.batches.inc();
        Ok(self.unsynced(pending, events, body_bytes, false))
    }

    /// As [`append`](Self::append), for a request with a key: where that is known, its events are there already, and
    /// only the channels that miss it take them.
    ///
    /// Of several requests with one key at a time the first appends, and the others find what it has appended.
    pub async fn append_keyed(&self, draft: Draft, key: KeyStamp) -> Result<Unsynced, KeyedError> {
        for channel in &self.channels {
            channel.keys().ready(channel.channel()).await.map_err(KeyedError::Unkept)?;
        }
        self.append_where_missing(draft, key)
    }

    /// Without a pause from the look to the record, so that a request that is given up in between changes nothing.
    fn append_where_missing(&self, draft: Draft, key: KeyStamp) -> Result<Unsynced, KeyedError> {
        let (events, body_bytes) = (draft.count(), draft.body_bytes());
        // Copied before the keys are locked.
        let batches = self.copies(draft.into_keyed_batch(&key));
        let sessions = self.channels.iter().map(|channel| channel.keys().session());
        let mut sessions: Vec<Session<'_>> = sessions.collect::<Result<_, _>>()?;
        let known: Vec<_> = sessions.iter().map(|session| session.look_up(&key)).collect();
        if known.contains(&Known::Other) {
            return Err(KeyedError::OtherRequest);
        }
        let mut steps = Vec::with_capacity(self.channels.len());
        for ((channel, known), batch) in self.channels.iter().zip(known).zip(batches) {
            steps.push(match known {
                Known::Same(appended) => Step::There(channel.pending(appended)),
                _ => Step::Missing(channel.prepare(batch)?),
            });
        }
        let repeat = steps.iter().all(|step| matches!(step, Step::There(_)));
        let mut pending = Vec::with_capacity(steps.len());
        for (step, session) in steps.into_iter().zip(&mut sessions) {
            pending.push(match step {
                Step::There(there) => there,
                Step::Missing(prepared) => {
                    let new = prepared.commit()?;
                    session.record(key, new.appended());
                    new
                }
            });
        }
        if !repeat {
            self.metrics.batches.inc();
        }
        Ok(self.unsynced(pending, events, body_bytes, repeat))
    }

    fn unsynced(&self, pending: Vec<Pending>, events: u32, body_bytes: u64, repeat: bool) -> Unsynced {
        let (metrics, room_timeout) = (Arc::clone(&self.metrics), self.room_timeout);
        Unsynced { pending, metrics, room_timeout, events, body_bytes, repeat }
    }

    /// The batch for each channel, in the order of the channels.
    fn copies(&self, batch: Batch) -> Vec<Batch> {
        let mut batches: Vec<_> = self.channels[1..]
            .iter()
            .map(|channel| {
                let mut copy = channel.batch();
                copy.copy_from(&batch);
                copy
            })
            .collect();
        batches.insert(0, batch);
        batches
    }

    /// Counts a refusal under its reason.
    pub fn count_refused(&self, error: &AppendError, requests: u64) {
        let counter = match error {
            AppendError::Full { .. } | AppendError::Short(_) | AppendError::Waits(_) => {
                &self.metrics.refused_full
            }
            AppendError::TooLarge { .. } | AppendError::TransactionCapacity { .. } => {
                &self.metrics.refused_too_large
            }
            AppendError::Poisoned(_) | AppendError::Closed => &self.metrics.failed,
        };
        counter.inc_by(requests);
    }
}

impl Room {
    const STEP_BYTES: usize = 16 << 10;

    /// Holds what `other` holds too.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.bytes += other.bytes;
    }
}

impl Unsynced {
    /// Waits until every channel has synced it: only then may its sender hear "ok" (I1). Gives the number of events.
    pub async fn synced(self) -> Result<u32, AppendError> {
        for pending in self.pending {
            pending.synced_within(self.room_timeout).await?;
        }
        let (events, bytes) = (u64::from(self.events), self.body_bytes);
        if self.repeat {
            self.metrics.repeated_requests.inc();
            self.metrics.repeated_events.inc_by(events);
        } else {
            self.metrics.accepted_events.inc_by(events);
            self.metrics.accepted_bytes.inc_by(bytes);
        }
        Ok(self.events)
    }

    /// As [`synced`](Self::synced), with where the events are.
    pub async fn stored(self) -> Result<Stored, AppendError> {
        let positions = self.pending.iter().map(|pending| (pending.channel().to_owned(), pending.appended()));
        let (positions, repeat) = (positions.collect(), self.repeat);
        Ok(Stored { events: self.synced().await?, repeat, positions })
    }
}
