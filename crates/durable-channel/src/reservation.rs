//! Reservations: a batch that has its room and not yet its positions.
//!
//! Who feeds several channels reserves in all of them first: a refusal then appends nowhere. A reservation owns its
//! batch, so what was reserved is always what is committed.

use std::fmt;
use std::sync::Arc;

use crate::batch::Batch;
use crate::channel::Appended;
use crate::error::AppendError;
use crate::memory::MemoryReservation;
use crate::shared::Shared;

/// Room in one channel for one batch; dropping it gives the room back, and nothing was appended.
#[must_use = "dropping a reservation gives its room back and appends nothing"]
pub struct Reservation(Place);

enum Place {
    Log(LogReservation),
    Memory(MemoryReservation),
}

/// Room in the queue of a durable channel.
struct LogReservation {
    shared: Arc<Shared>,
    /// `None` once committed, and for an empty batch.
    batch: Option<Batch>,
}

// === impl Reservation ===

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

impl Reservation {
    pub(crate) fn of_log(shared: &Arc<Shared>, batch: Batch) -> Result<Self, AppendError> {
        // An empty batch needs no room, and so gives none back.
        let batch = Some(batch).filter(|batch| !batch.is_empty());
        batch.as_ref().map_or(Ok(()), |batch| shared.queue.reserve(batch))?;
        Ok(Self(Place::Log(LogReservation { shared: Arc::clone(shared), batch })))
    }

    pub(crate) fn of_memory(reservation: MemoryReservation) -> Self {
        Self(Place::Memory(reservation))
    }

    /// Gives the batch its positions and queues it, as [`append`](crate::Channel::append) does. It is never refused for
    /// want of room: only a channel that was closed or has failed since takes it no more, and then no position is used.
    pub fn commit(self) -> Result<Appended, AppendError> {
        match self.0 {
            Place::Log(mut log) => log.commit(),
            Place::Memory(memory) => memory.commit(),
        }
    }
}

// === impl LogReservation ===

impl LogReservation {
    fn commit(&mut self) -> Result<Appended, AppendError> {
        let Some(batch) = self.batch.take() else {
            return Ok(Appended { first: self.shared.log.synced_end(), count: 0 });
        };
        self.shared.queue.commit(batch).map_err(|error| self.shared.explained(error))
    }
}

impl Drop for LogReservation {
    fn drop(&mut self) {
        if let Some(batch) = &self.batch {
            self.shared.queue.unreserve(batch);
            // Room was given back: whoever was refused may try again.
            self.shared.progress();
        }
    }
}
