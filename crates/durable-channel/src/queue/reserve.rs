//! Appending in two steps: room now, positions later.
//!
//! Whatever may refuse a batch is asked for when its room is reserved. Reserved bytes count against the capacity
//! like queued ones, and are no part of what the channel holds.

use super::{Queue, Queued, State, align, now_ms};
use crate::batch::Batch;
use crate::channel::Appended;
use crate::error::{AppendError, Unit};

impl Queue {
    /// Accepts a batch and gives it its positions, or says why not.
    pub(crate) fn push(&self, batch: Batch) -> Result<Appended, AppendError> {
        let arrival_ms = now_ms();
        let mut state = self.state();
        self.admit(&mut state, &batch)?;
        Ok(self.enqueue(state, Queued { batch, arrival_ms }))
    }

    /// Sets room for `batch` aside, or says why there is none.
    pub(crate) fn reserve(&self, batch: &Batch) -> Result<(), AppendError> {
        let mut state = self.state();
        self.admit(&mut state, batch)?;
        state.reserved_bytes += align(batch.len_bytes() as u64);
        Ok(())
    }

    /// Gives the room of `batch` back.
    pub(crate) fn unreserve(&self, batch: &Batch) {
        self.state().reserved_bytes -= align(batch.len_bytes() as u64);
    }

    /// Gives a batch that has room its positions. The disk's floor was asked for with the room.
    pub(crate) fn commit(&self, batch: Batch) -> Result<Appended, AppendError> {
        let arrival_ms = now_ms();
        let mut state = self.state();
        state.reserved_bytes -= align(batch.len_bytes() as u64);
        if state.closed {
            return Err(AppendError::Closed);
        }
        Ok(self.enqueue(state, Queued { batch, arrival_ms }))
    }

    /// Whether `batch` can be taken now; counts the refusal if not.
    fn admit(&self, state: &mut State, batch: &Batch) -> Result<(), AppendError> {
        let bytes = batch.len_bytes() as u64;
        if bytes > self.max_frame_bytes {
            return Err(AppendError::TooLarge { bytes, limit: self.max_frame_bytes });
        }
        if state.closed {
            return Err(AppendError::Closed);
        }
        if let Some(shortage) = state.shortage {
            state.refused_disk += 1;
            return Err(shortage.into());
        }
        let used = state.used_bytes + state.reserved_bytes;
        if used + align(bytes) > self.capacity_bytes {
            state.refused_full += 1;
            return Err(AppendError::Full { used, capacity: self.capacity_bytes, unit: Unit::Bytes });
        }
        Ok(())
    }

    fn enqueue(&self, mut state: std::sync::MutexGuard<'_, State>, queued: Queued) -> Appended {
        let bytes = align(queued.batch.len_bytes() as u64);
        let appended = Appended { first: state.next, count: queued.batch.count() };
        state.used_bytes += bytes;
        state.queued_bytes += bytes;
        state.next = appended.end();
        state.batches.push_back(queued);
        let wake = std::mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        appended
    }
}
