//! A channel in memory, for those who choose speed over durability.
//!
//! It keeps order, wholeness and the accounts of readers (I2, I6, I9), and makes a new id at each start. It does not
//! keep I1: what it answers for is lost with the process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::{Batch, Pool};
use crate::channel::{Appended, Channel, ReaderStatus, Start, Stats};
use crate::error::{AppendError, ChannelFailure, CloseError, OpenError, ReadError, RetireError, Unit};
use crate::format::random_bytes;
use crate::queue::now_ms;
use crate::reader::{Item, Reader};
use crate::registry::is_name;
use crate::reservation::Reservation;
use crate::shared::{Hook, Hooks};

/// A channel that is lost with the process.
pub struct MemoryChannel {
    id: [u8; 16],
    pool: Arc<Pool>,
    transaction_capacity: u64,
    shared: Arc<MemoryShared>,
}

/// A reader's view of a memory channel: the channel, and the frame that it looks at.
pub(crate) struct MemoryView {
    shared: Arc<MemoryShared>,
    current: Option<Arc<Frame>>,
}

/// Room for one batch in a memory channel.
pub(crate) struct MemoryReservation {
    shared: Arc<MemoryShared>,
    /// `None` once committed.
    batch: Option<Batch>,
}

struct MemoryShared {
    state: Mutex<State>,
    hooks: Hooks,
    capacity_events: u64,
    capacity_bytes: u64,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Arc<Frame>>,
    readers: BTreeMap<String, Registered>,
    retired: BTreeSet<String>,
    /// Every event below this was released by every reader.
    first: u64,
    next: u64,
    used_bytes: u64,
    /// Set aside for batches that are to be committed or given up.
    reserved_events: u64,
    reserved_bytes: u64,
    refused_full: u64,
    written_bytes: u64,
    closed: bool,
}

struct Frame {
    first: u64,
    count: u32,
    arrival_ms: u64,
    payload: Box<[u8]>,
}

struct Registered {
    start: u64,
    released: u64,
    open: bool,
}

/// What a frame costs beside its payload.
const FRAME_COST_BYTES: u64 = 64;
const POOL_BYTES: usize = 4 << 20;

// === impl MemoryChannel ===

impl fmt::Debug for MemoryChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryChannel").finish_non_exhaustive()
    }
}

impl MemoryChannel {
    /// A channel of at most `capacity_events` events and `capacity_bytes` bytes, `transaction_capacity` events
    /// in one batch.
    pub fn new(
        capacity_events: u64,
        transaction_capacity: u64,
        capacity_bytes: u64,
    ) -> Result<Self, OpenError> {
        if transaction_capacity == 0 || transaction_capacity > capacity_events {
            let wrong =
                format!("transaction capacity {transaction_capacity} is not within 1..={capacity_events}");
            return Err(OpenError::Options(wrong));
        }
        let id = random_bytes().map_err(OpenError::io("making a channel id"))?;
        let shared = MemoryShared {
            state: Mutex::default(),
            hooks: Hooks::default(),
            capacity_events,
            capacity_bytes,
        };
        Ok(Self { id, pool: Pool::new(POOL_BYTES), transaction_capacity, shared: Arc::new(shared) })
    }
}

impl Channel for MemoryChannel {
    fn id(&self) -> [u8; 16] {
        self.id
    }

    fn incarnation(&self) -> u64 {
        1
    }

    fn batch(&self) -> Batch {
        self.pool.batch()
    }

    fn max_batch_events(&self) -> u64 {
        self.transaction_capacity
    }

    fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.reserve(batch)?.commit()
    }

    fn reserve(&self, batch: Batch) -> Result<Reservation, AppendError> {
        let count = u64::from(batch.count());
        let bytes = batch.payload().len() as u64 + FRAME_COST_BYTES;
        if count > self.transaction_capacity {
            return Err(AppendError::TransactionCapacity { count, limit: self.transaction_capacity });
        }
        if bytes > self.shared.capacity_bytes {
            return Err(AppendError::TooLarge { bytes, limit: self.shared.capacity_bytes });
        }
        self.shared.reserve(count, bytes)?;
        let shared = Arc::clone(&self.shared);
        Ok(Reservation::of_memory(MemoryReservation { shared, batch: Some(batch) }))
    }

    fn synced_end(&self) -> u64 {
        self.shared.state().next
    }

    fn failure(&self) -> Option<Arc<ChannelFailure>> {
        None
    }

    fn on_progress(&self, hook: Hook) {
        self.shared.hooks.add(hook);
    }

    fn reader(&self, name: &str, start: Start) -> Result<Reader, OpenError> {
        if !is_name(name) {
            return Err(OpenError::Name(name.to_owned()));
        }
        let mut state = self.shared.state();
        if state.closed {
            return Err(OpenError::NotOpen);
        }
        let start = match start {
            Start::Oldest => state.first,
            Start::Newest => state.next,
        };
        if state.retired.contains(name) {
            return Err(OpenError::Retired(name.to_owned()));
        }
        let new = Registered { start, released: start, open: false };
        let reader = state.readers.entry(name.to_owned()).or_insert(new);
        if std::mem::replace(&mut reader.open, true) {
            return Err(OpenError::ReaderOpen(name.to_owned()));
        }
        Ok(Reader::of_memory(name, MemoryView { shared: Arc::clone(&self.shared), current: None }))
    }

    fn readers(&self) -> Vec<ReaderStatus> {
        let status = |(name, reader): (&String, &Registered)| ReaderStatus {
            name: name.clone(),
            start: reader.start,
            released: reader.released,
            open: reader.open,
        };
        self.shared.state().readers.iter().map(status).collect()
    }

    fn retire(&self, name: &str) -> Result<(), RetireError> {
        let mut state = self.shared.state();
        match state.readers.get(name) {
            None => return Err(RetireError::Unknown(name.to_owned())),
            Some(reader) if reader.open => return Err(RetireError::Open(name.to_owned())),
            Some(_) => state.readers.remove(name),
        };
        state.retired.insert(name.to_owned());
        state.drop_released();
        drop(state);
        self.shared.hooks.call();
        Ok(())
    }

    fn stats(&self) -> Stats {
        let state = self.shared.state();
        Stats {
            used_bytes: state.used_bytes,
            capacity_bytes: self.shared.capacity_bytes,
            first: state.first,
            next: state.next,
            synced_end: state.next,
            refused_full: state.refused_full,
            written_bytes: state.written_bytes,
            ..Stats::default()
        }
    }

    fn close(&self) -> Result<(), CloseError> {
        self.shared.state().closed = true;
        Ok(())
    }
}

// === impl MemoryShared ===

impl MemoryShared {
    fn reserve(&self, count: u64, bytes: u64) -> Result<(), AppendError> {
        let mut state = self.state();
        if state.closed {
            return Err(AppendError::Closed);
        }
        let used_events = state.next - state.first + state.reserved_events;
        let used_bytes = state.used_bytes + state.reserved_bytes;
        let full = if count == 0 {
            None
        } else if used_events + count > self.capacity_events {
            Some((used_events, self.capacity_events, Unit::Events))
        } else if used_bytes + bytes > self.capacity_bytes {
            Some((used_bytes, self.capacity_bytes, Unit::Bytes))
        } else {
            None
        };
        if let Some((used, capacity, unit)) = full {
            state.refused_full += 1;
            return Err(AppendError::Full { used, capacity, unit });
        }
        state.reserved_events += count;
        state.reserved_bytes += bytes;
        Ok(())
    }

    fn commit(&self, batch: &Batch) -> Result<Appended, AppendError> {
        // Copied to its exact size: a buffer of the pool may be much larger than what it holds.
        let payload = Box::from(batch.payload());
        let arrival_ms = now_ms();
        let mut state = self.state();
        let bytes = state.unreserve(batch);
        if state.closed {
            return Err(AppendError::Closed);
        }
        let appended = Appended { first: state.next, count: batch.count() };
        if appended.count > 0 {
            let Appended { first, count } = appended;
            state.frames.push_back(Arc::new(Frame { first, count, arrival_ms, payload }));
            state.next = appended.end();
            state.used_bytes += bytes;
            state.written_bytes += bytes;
        }
        Ok(appended)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl MemoryView ===

impl MemoryView {
    /// A view of its own of the same channel.
    pub(crate) fn again(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), current: None }
    }

    pub(crate) fn released(&self, name: &str) -> u64 {
        self.shared.state().readers.get(name).map_or(0, |reader| reader.released)
    }

    pub(crate) fn read(&mut self, from: u64) -> Result<Option<Item<'_>>, ReadError> {
        let state = self.shared.state();
        if from >= state.next {
            return Ok(None);
        }
        let after = state.frames.partition_point(|frame| frame.end() <= from);
        let frame = state.frames.get(after).filter(|frame| frame.first <= from);
        let Some(frame) = frame.cloned() else {
            return Err(ReadError::Released { from, oldest: state.first });
        };
        drop(state);
        let Frame { first, count, arrival_ms, payload } = &**self.current.insert(frame);
        Ok(Some(Item::Frame { first: *first, count: *count, arrival_ms: *arrival_ms, payload }))
    }

    pub(crate) fn release(&self, name: &str, below: u64) -> io::Result<()> {
        let mut state = self.shared.state();
        if below > state.next {
            let told = format!("position {below} is released before it is appended");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        if let Some(reader) = state.readers.get_mut(name) {
            reader.released = reader.released.max(below);
        }
        let freed = state.drop_released();
        drop(state);
        if freed {
            self.shared.hooks.call();
        }
        Ok(())
    }

    pub(crate) fn close_reader(&self, name: &str) {
        if let Some(reader) = self.shared.state().readers.get_mut(name) {
            reader.open = false;
        }
    }
}

// === impl MemoryReservation ===

impl MemoryReservation {
    pub(crate) fn commit(mut self) -> Result<Appended, AppendError> {
        let batch = self.batch.take().expect("a reservation is committed once");
        let appended = self.shared.commit(&batch)?;
        self.shared.hooks.call();
        Ok(appended)
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        if let Some(batch) = &self.batch {
            self.shared.state().unreserve(batch);
            self.shared.hooks.call();
        }
    }
}

// === impl State ===

impl State {
    /// Gives back the room that was set aside for `batch`; returns its bytes.
    fn unreserve(&mut self, batch: &Batch) -> u64 {
        let bytes = batch.payload().len() as u64 + FRAME_COST_BYTES;
        self.reserved_events -= u64::from(batch.count());
        self.reserved_bytes -= bytes;
        bytes
    }

    /// Drops what every reader is done with (I6); whether that gave any room back.
    fn drop_released(&mut self) -> bool {
        let Some(below) = self.readers.values().map(|reader| reader.released).min() else { return false };
        let freed = below > self.first;
        self.first = self.first.max(below);
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.end() <= below) {
            self.used_bytes -= frame.payload.len() as u64 + FRAME_COST_BYTES;
        }
        freed
    }
}

// === impl Frame ===

impl Frame {
    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}
