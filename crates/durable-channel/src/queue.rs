//! The queue between sources and the writer, and the decision to accept a batch.

mod reserve;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::batch::Batch;
use crate::channel::Stats;
use crate::error::Shortage;
use crate::format::align;
use crate::writer::SPACE_CHECK;

/// Batches in the order of their positions, with the account of what the channel holds.
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    capacity_bytes: u64,
    max_frame_bytes: u64,
    /// What is queued waits for the shortage to end.
    stuck: AtomicBool,
}

/// A batch that has its positions, and when it came.
pub(crate) struct Queued {
    pub(crate) batch: Batch,
    pub(crate) arrival_ms: u64,
}

/// What the writer learns besides the batches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) closing: bool,
    /// Puts are refused for want of something, so that it should be looked at again.
    pub(crate) refusing: bool,
}

struct State {
    batches: VecDeque<Queued>,
    next: u64,
    /// Bytes of frames in segments and queued.
    used_bytes: u64,
    /// Bytes of frames whose room is set aside, to be queued or given back.
    reserved_bytes: u64,
    queued_bytes: u64,
    free_disk_bytes: u64,
    /// Why puts are refused.
    shortage: Option<Shortage>,
    closed: bool,
    writer_waits: bool,
    abandoned_events: u64,
    refused_full: u64,
    refused_disk: u64,
    groups: u64,
    written_bytes: u64,
}

// === impl Queue ===

impl Queue {
    pub(crate) fn new(options: &crate::Options, next: u64, used_bytes: u64) -> Self {
        let state = State {
            batches: VecDeque::new(),
            next,
            used_bytes,
            reserved_bytes: 0,
            queued_bytes: 0,
            free_disk_bytes: 0,
            shortage: None,
            closed: false,
            writer_waits: false,
            abandoned_events: 0,
            refused_full: 0,
            refused_disk: 0,
            groups: 0,
            written_bytes: 0,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            capacity_bytes: options.capacity_bytes,
            max_frame_bytes: u64::from(options.max_frame_bytes),
            stuck: AtomicBool::new(false),
        }
    }

    /// Moves what is queued behind `pending`.
    pub(crate) fn take(&self, pending: &mut VecDeque<Queued>) -> Taken {
        Self::take_from(&mut self.state(), pending)
    }

    /// As [`take`](Self::take), but waits until there is something to do: batches, the end, or time to look at
    /// the disk again. `stuck` says that what is pending found no segment.
    ///
    /// Then lets more join for `delay`, unless `enough` bytes are there.
    pub(crate) fn take_waiting(
        &self,
        pending: &mut VecDeque<Queued>,
        stuck: bool,
        delay: Duration,
        enough: u64,
    ) -> Taken {
        let mut state = self.state();
        if state.shortage.is_some() {
            let nothing_to_write =
                |state: &mut State| stuck || pending.is_empty() && state.batches.is_empty();
            state = self.wait(state, SPACE_CHECK, |state| !state.closed && nothing_to_write(state));
        } else if pending.is_empty() {
            while state.batches.is_empty() && !state.closed {
                state.writer_waits = true;
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if !delay.is_zero() {
                state = self.wait(state, delay, |state| !state.closed && state.queued_bytes < enough);
            }
        }
        state.writer_waits = false;
        Self::take_from(&mut state, pending)
    }

    fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        at_most: Duration,
        mut until_not: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let deadline = Instant::now() + at_most;
        while until_not(&mut state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.writer_waits = true;
            (state, _) = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn take_from(state: &mut State, pending: &mut VecDeque<Queued>) -> Taken {
        pending.append(&mut state.batches);
        Taken { closing: state.closed, refusing: state.shortage.is_some() }
    }

    /// `bytes` of a group are on the disk.
    pub(crate) fn written(&self, bytes: u64) {
        let mut state = self.state();
        state.queued_bytes -= bytes;
        state.groups += 1;
        state.written_bytes += bytes;
    }

    /// Gives back room.
    pub(crate) fn sub_used(&self, bytes: u64) {
        let mut state = self.state();
        state.used_bytes = state.used_bytes.saturating_sub(bytes);
    }

    /// Notes the disk's free bytes and why puts are refused; whether that begins or ends.
    pub(crate) fn set_space(&self, free_bytes: u64, shortage: Option<Shortage>) -> bool {
        let mut state = self.state();
        state.free_disk_bytes = free_bytes;
        let before = std::mem::replace(&mut state.shortage, shortage);
        before.is_some() != shortage.is_some()
    }

    /// Notes whether what is queued waits for the shortage to end; whether that begins or ends.
    pub(crate) fn set_stuck(&self, stuck: bool) -> bool {
        self.stuck.swap(stuck, Ordering::Relaxed) != stuck
    }

    pub(crate) fn waits_for(&self) -> Option<Shortage> {
        self.stuck.load(Ordering::Relaxed).then(|| self.state().shortage)?
    }

    /// Accepts nothing more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// `events` that were queued will not be written.
    pub(crate) fn abandon(&self, events: u64) {
        self.state().abandoned_events += events;
    }

    pub(crate) fn abandoned_events(&self) -> u64 {
        self.state().abandoned_events
    }

    /// Drops what is queued and accepts nothing more: the channel has failed.
    pub(crate) fn fail(&self) {
        let mut state = self.state();
        state.closed = true;
        let batches = std::mem::take(&mut state.batches);
        // Their buffers go back to the pool, which has a lock of its own.
        drop(state);
        drop(batches);
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            used_bytes: state.used_bytes,
            capacity_bytes: self.capacity_bytes,
            queued_bytes: state.queued_bytes,
            next: state.next,
            free_disk_bytes: state.free_disk_bytes,
            refused_full: state.refused_full,
            refused_disk: state.refused_disk,
            shortage: state.shortage,
            groups: state.groups,
            written_bytes: state.written_bytes,
            ..Stats::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970 by the clock of this machine.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
