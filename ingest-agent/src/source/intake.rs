//! From a source into its channels: room before the work, one append, and the wait for the sync.

use std::sync::Arc;

use durable_channel::AppendError;

use crate::channel::{ChannelHandle, Pending, Prepared, QueueRoom};
use crate::event::Draft;
use crate::telemetry::SourceMetrics;

/// The channels of one source, seen as one.
pub struct Intake {
    /// In the order of their names, so that two sources that share channels never wait for each other in a ring.
    channels: Vec<ChannelHandle>,
    metrics: Arc<SourceMetrics>,
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
    events: u32,
    body_bytes: u64,
}

impl Intake {
    /// The intake of a source that feeds `channels`, at least one.
    pub fn new(mut channels: Vec<ChannelHandle>, metrics: Arc<SourceMetrics>) -> Self {
        assert!(!channels.is_empty(), "a source feeds at least one channel");
        channels.sort_by(|one, two| one.name().cmp(two.name()));
        Self { channels, metrics }
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
            [first, others @ ..] => {
                let mut prepared = Vec::with_capacity(self.channels.len());
                for channel in others {
                    let mut copy = channel.batch();
                    copy.copy_from(&batch);
                    prepared.push(channel.prepare(copy)?);
                }
                prepared.push(first.prepare(batch)?);
                prepared.into_iter().map(Prepared::commit).collect::<Result<_, _>>()?
            }
            [] => unreachable!("a source feeds at least one channel"),
        };
        self.metrics.batches.inc();
        Ok(Unsynced { pending, metrics: Arc::clone(&self.metrics), events, body_bytes })
    }

    /// Counts a refusal under its reason.
    pub fn count_refused(&self, error: &AppendError, requests: u64) {
        let counter = match error {
            AppendError::Full { .. } | AppendError::DiskFloor { .. } => &self.metrics.refused_full,
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
            pending.synced().await?;
        }
        self.metrics.accepted_events.inc_by(u64::from(self.events));
        self.metrics.accepted_bytes.inc_by(self.body_bytes);
        Ok(self.events)
    }
}
