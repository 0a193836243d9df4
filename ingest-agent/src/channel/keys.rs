//! Idempotency keys of one channel: which requests it holds already, and where.
//!
//! A request's key lies in the frame of its events, so the two become durable together. From the moment at which the
//! frame has its positions its key is known here, and whoever sends the same request again waits for the same
//! sync. [`keeper`] writes keys to [`log`], which outlives the segments, and finds them again at the start.
//!
//! Known are the newest keys, as many as [`Limits::keys`] and none older than [`Limits::age`]. A channel whose senders use
//! no keys has no reader, no thread and no file for them, and its appends do not come by here.

mod index;
mod keeper;
mod log;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use durable_channel::disk::Disk;
use durable_channel::{AppendError, Appended, Channel, ChannelFailure, OpenError};
use tokio::sync::OnceCell;

use self::index::{Entry, Index};
use self::keeper::Keeper;
use crate::event::KeyStamp;

pub(crate) use self::keeper::is_keeper;

/// How many keys are known, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The newest keys that are known; at least 1. Each takes about 60 bytes of memory and 64 on the disk.
    pub keys: u32,
    /// For how long a key is known after its events arrived, by this machine's clock.
    pub age: Duration,
}

/// Milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The keys of one channel.
pub struct Keys {
    shared: Arc<Shared>,
    place: Place,
}

/// The keys of one channel, locked: what is looked up stays so until it is recorded.
///
/// The frame of a key gets its positions while this is held. That is what tells the keeper that every key below the synced
/// end is known.
pub struct Session<'a> {
    state: MutexGuard<'a, Index>,
    shared: &'a Shared,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is new, or forgotten.
    New,
    /// The same request was appended here.
    Same(Appended),
    /// Another request came under this key.
    Other,
}

/// The numbers of a channel's keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Keys known.
    pub known: u64,
    /// Keys forgotten since the start, being too many or too old.
    pub forgotten: u64,
    /// Synced keys that the log had lost to damage at the start.
    pub damaged: u64,
}

/// What the channel's handle and the keeper share.
struct Shared {
    limits: Limits,
    clock: Clock,
    state: Mutex<Index>,
    damaged: AtomicU64,
    closing: Mutex<bool>,
    wake: Condvar,
    failure: OnceLock<Arc<ChannelFailure>>,
    on_failure: Box<dyn Fn() + Send + Sync>,
}

/// Where keys are kept.
enum Place {
    /// In memory, as their events are.
    Memory,
    /// On a disk, from the first key on.
    Disk { disk: Arc<dyn Disk>, started: OnceCell<()>, thread: Arc<Mutex<Option<JoinHandle<()>>>> },
}

/// The clock of this machine.
pub fn system_clock() -> Clock {
    Arc::new(wall_clock::now_ms)
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 250_000, age: Duration::from_secs(24 * 60 * 60) }
    }
}

// === impl Keys ===

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys that live as long as this does.
    pub fn in_memory(limits: Limits, clock: Clock) -> Self {
        Self { shared: Shared::new(limits, clock, || ()), place: Place::Memory }
    }

    /// The keys of `channel`, which is on `disk`: loaded now if there ever were any. `on_failure` is called once they
    /// cannot be kept any more.
    pub fn open(
        limits: Limits,
        clock: Clock,
        disk: Arc<dyn Disk>,
        channel: &Arc<dyn Channel>,
        on_failure: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, OpenError> {
        let shared = Shared::new(limits, clock, on_failure);
        let thread = Arc::default();
        let used = channel.readers().iter().any(|reader| is_keeper(&reader.name));
        let started = if used {
            start(&shared, channel, &*disk, &thread)?;
            OnceCell::new_with(Some(()))
        } else {
            OnceCell::new()
        };
        Ok(Self { shared, place: Place::Disk { disk, started, thread } })
    }

    /// Completes when keys of `channel` can be kept. The first time ever, that takes a reader and a file.
    pub async fn ready(&self, channel: &Arc<dyn Channel>) -> Result<(), OpenError> {
        let Place::Disk { disk, started, thread } = &self.place else { return Ok(()) };
        let start = || async {
            let (shared, channel) = (Arc::clone(&self.shared), Arc::clone(channel));
            let (disk, thread) = (Arc::clone(disk), Arc::clone(thread));
            let started =
                tokio::task::spawn_blocking(move || start(&shared, &channel, &*disk, &thread)).await;
            started.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
        };
        started.get_or_try_init(start).await?;
        Ok(())
    }

    /// The keys, locked. With several channels, always in the order of the channels' names.
    pub fn session(&self) -> Result<Session<'_>, AppendError> {
        if let Some(failure) = self.failure() {
            return Err(AppendError::Poisoned(failure));
        }
        Ok(Session { state: self.shared.state(), shared: &self.shared })
    }

    /// Why keys cannot be kept any more, if so.
    pub fn failure(&self) -> Option<Arc<ChannelFailure>> {
        self.shared.failure.get().cloned()
    }

    /// The numbers at this moment.
    pub fn stats(&self) -> KeyStats {
        let state = self.shared.state();
        KeyStats {
            known: state.len(),
            forgotten: state.forgotten(),
            damaged: self.shared.damaged.load(Ordering::Relaxed),
        }
    }

    /// Logs what is synced and ends the keeper's thread. Waits for the disk. Before the channel closes.
    pub fn close(&self) {
        let Place::Disk { thread, .. } = &self.place else { return };
        self.shared.close();
        let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Its failures are told by `failure`.
            let _ = thread.join();
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the keeper and gives it its thread.
fn start(
    shared: &Arc<Shared>,
    channel: &Arc<dyn Channel>,
    disk: &dyn Disk,
    thread: &Mutex<Option<JoinHandle<()>>>,
) -> Result<(), OpenError> {
    let keeper = Keeper::open(shared, channel, disk)?;
    let spawned = thread::Builder::new().name("keys".to_owned()).spawn(move || keeper.run());
    let operation = "starting the thread of the idempotency keys".to_owned();
    let spawned = spawned.map_err(|source| OpenError::Io { operation, source })?;
    *thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(spawned);
    Ok(())
}

// === impl Session ===

impl Session<'_> {
    /// What is known of this key.
    pub fn look_up(&self, stamp: &KeyStamp) -> Known {
        match self.state.get(&stamp.id, self.shared.now_s()) {
            None => Known::New,
            Some(entry) if entry.stamp.digest == stamp.digest => Known::Same(entry.appended()),
            Some(_) => Known::Other,
        }
    }

    /// The request of this key has just been appended.
    pub fn record(&mut self, stamp: KeyStamp, appended: Appended) {
        let now_s = self.shared.now_s();
        let Appended { first, count } = appended;
        self.state.insert(Entry { stamp, first, count, arrival_s: now_s }, now_s);
    }
}

// === impl Shared ===

impl Shared {
    fn new(limits: Limits, clock: Clock, on_failure: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            limits,
            clock,
            state: Mutex::new(Index::new(limits)),
            damaged: AtomicU64::new(0),
            closing: Mutex::new(false),
            wake: Condvar::new(),
            failure: OnceLock::new(),
            on_failure: Box::new(on_failure),
        })
    }

    fn state(&self) -> MutexGuard<'_, Index> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> u32 {
        u32::try_from((self.clock)() / 1000).unwrap_or(u32::MAX)
    }

    fn close(&self) {
        *self.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    /// Waits for `at_most`, or until it is time to close; whether it is.
    fn wait(&self, at_most: Duration) -> bool {
        let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.wake.wait_timeout_while(closing, at_most, |closing| !*closing);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn fail(&self, failure: ChannelFailure) {
        let _ = self.failure.set(Arc::new(failure));
        (self.on_failure)();
    }
}
