//! The durable channel: a directory, opened.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::aside::Aside;
use crate::batch::{Batch, Pool};
use crate::channel::{Appended, Channel, ReaderStatus, Start, Stats};
use crate::disk::{Disk, Lock, OsDisk};
use crate::error::{AppendError, ChannelFailure, CloseError, OpenError, ReadError, RetireError, Shortage};
use crate::identity::{self, Identity};
use crate::options::Options;
use crate::queue::Queue;
use crate::reader::{LogCursor, Reader};
use crate::recovery::{self, Question};
use crate::registry::{self, Registry};
use crate::reservation::Reservation;
use crate::segment::{self, Log};
use crate::shared::{Hook, Shared};
#[cfg(any(test, feature = "test-util"))]
use crate::writer::Turn;
use crate::writer::Writer;

/// A channel on disk: what it calls synced survives the process and the machine.
pub struct DurableChannel {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    identity: identity::Record,
    engine: Mutex<Engine>,
}

/// What opening a channel found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the channel was made just now.
    pub created: bool,
    /// The first position held.
    pub first: u64,
    /// The position that the next event gets.
    pub next: u64,
    /// Frames beyond the last recorded synced end, copied into a new segment and synced.
    pub copied_frames: u64,
    /// Bytes of a torn tail that were cut. Nothing acknowledged was in them.
    pub torn_bytes: u64,
    /// Positions lost to damage that were found while opening: first and count.
    pub damaged: Vec<(u64, u64)>,
    /// Damaged bytes that were set aside while opening, in `damaged/`.
    pub set_aside_bytes: u64,
}

/// What an open channel keeps until it is closed.
struct Engine {
    writer: Driver,
    identity: Identity,
    lock: Option<Lock>,
}

/// Who turns the writer.
enum Driver {
    Thread(JoinHandle<()>),
    /// Tests, one turn at a time.
    #[cfg(any(test, feature = "test-util"))]
    Steps(Box<Writer>),
    Nobody,
}

/// Buffers of this many bytes wait for the next batches.
const POOL_BYTES: usize = 8 << 20;

// === impl DurableChannel ===

impl fmt::Debug for DurableChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableChannel").field("dir", &self.shared.log.dir).finish_non_exhaustive()
    }
}

impl DurableChannel {
    /// Opens the channel in `dir`, or makes one there. Recovers whatever a crash left.
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, Recovery), OpenError> {
        Self::open_on(Arc::new(OsDisk), dir, options)
    }

    /// As [`open`](Self::open), on another file system.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
    ) -> Result<(Self, Recovery), OpenError> {
        let (channel, writer, recovery) = Self::prepare(disk, dir, options)?;
        let thread = thread::Builder::new()
            .name("channel".to_owned())
            .spawn(move || writer.run())
            .map_err(OpenError::io("starting the channel's thread"))?;
        channel.engine().writer = Driver::Thread(thread);
        Ok((channel, recovery))
    }

    /// As [`open_on`](Self::open_on), but nothing is written until [`step`](Self::step) is called: the same
    /// calls always lead to the same writes.
    #[cfg(any(test, feature = "test-util"))]
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
    ) -> Result<(Self, Recovery), OpenError> {
        let (channel, writer, recovery) = Self::prepare(disk, dir, options)?;
        channel.engine().writer = Driver::Steps(Box::new(writer));
        Ok((channel, recovery))
    }

    /// Writes and syncs one group of a channel that is [stepped](Self::open_stepped); whether there was one.
    #[cfg(any(test, feature = "test-util"))]
    pub fn step(&self) -> bool {
        match &mut self.engine().writer {
            Driver::Steps(writer) => writer.turn(false) == Turn::Synced,
            Driver::Thread(_) | Driver::Nobody => false,
        }
    }

    /// Gives a channel that nobody has open a new id: for a clone, which must not write under the original's.
    /// The names of retired readers can be used again under it.
    ///
    /// The owners of readers may know of positions that damage has left no trace of: none below `used_below` is
    /// given again.
    pub fn adopt(dir: &Path, used_below: u64) -> Result<[u8; 16], OpenError> {
        Self::adopt_on(&OsDisk, dir, used_below)
    }

    /// As [`adopt`](Self::adopt), on another file system.
    pub fn adopt_on(disk: &dyn Disk, dir: &Path, used_below: u64) -> Result<[u8; 16], OpenError> {
        let _lock = lock(disk, dir)?;
        let id = Identity::create(disk, dir, used_below)?.record.id;
        registry::forget_retired(disk, &dir.join(registry::DIR))?;
        Ok(id)
    }

    /// The random number of this incarnation. A clone of the directory that is started has another one for the
    /// same id and incarnation.
    pub fn claim_nonce(&self) -> [u8; 16] {
        self.identity.nonce
    }

    /// Reads everything that is held: how many positions are lost, and how many bytes of them were set aside.
    pub(crate) fn read_all(&self) -> Result<(u64, u64), ReadError> {
        let log = &self.shared.log;
        let mut cursor = LogCursor::default();
        let mut position = log.oldest();
        while let Some(item) = cursor.read(log, position, || 0)? {
            position = item.end();
        }
        Ok((log.damaged(), log.aside.added_bytes()))
    }

    fn prepare(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
    ) -> Result<(Self, Writer, Recovery), OpenError> {
        options.validate()?;
        let segments = dir.join(segment::DIR);
        let readers = dir.join(registry::DIR);
        for dir in [dir, &segments, &readers] {
            disk.create_dir_all(dir).map_err(OpenError::io(format!("creating {}", dir.display())))?;
        }
        let lock = lock(&*disk, dir)?;
        let (mut identity, created) = load_or_create(&*disk, dir, &segments)?;
        let registry = Registry::load(Arc::clone(&disk), readers)?;
        let aside = Aside::open(Arc::clone(&disk), dir, options.keep_damaged_bytes)
            .map_err(OpenError::io(format!("looking at what was set aside in {}", dir.display())))?;
        let recovered = recovery::recover(&Question {
            disk: &disk,
            dir: &segments,
            attested: identity.record.synced_end.max(registry.highest_released()),
            fresh_id: identity.record.incarnation == 0,
            segment_bytes: options.segment_bytes,
            aside: &aside,
        })?;
        let recovery = Recovery { created, set_aside_bytes: aside.added_bytes(), ..recovered.report };
        identity.start(recovery.next)?;

        let queue = Queue::new(options, recovery.next, recovered.table.used_bytes());
        let log = Log::new(disk, segments, aside, recovered.table);
        for &(first, count) in &recovery.damaged {
            log.note_damage(first, first + count);
        }
        let shared = Arc::new(Shared::new(log, queue, Pool::new(POOL_BYTES)));
        let freed =
            registry.delete_released(&shared.log).map_err(OpenError::io("deleting released segments"))?;
        shared.queue.sub_used(freed);
        let preparing = || OpenError::io("preparing the next segment");
        let mut writer =
            Writer::new(Arc::clone(&shared), options.clone(), recovered.live).map_err(preparing())?;
        writer.prepare().map_err(preparing())?;
        let record = identity.record;
        let engine = Mutex::new(Engine { writer: Driver::Nobody, identity, lock: Some(lock) });
        Ok((Self { shared, registry: Arc::new(registry), identity: record, engine }, writer, recovery))
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn freed(&self, bytes: u64) {
        give_back(&self.shared, bytes);
    }
}

/// Room was given back: whoever was refused may try again.
pub(crate) fn give_back(shared: &Shared, bytes: u64) {
    if bytes > 0 {
        shared.queue.sub_used(bytes);
        shared.progress();
    }
}

pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Lock, OpenError> {
    disk.lock(dir)
        .map_err(OpenError::io(format!("locking {}", dir.display())))?
        .ok_or_else(|| OpenError::Locked { dir: dir.to_owned() })
}

/// A channel without an identity is new, unless it has segments.
fn load_or_create(disk: &dyn Disk, dir: &Path, segments: &Path) -> Result<(Identity, bool), OpenError> {
    let listing = || OpenError::io(format!("listing {}", dir.display()));
    if disk.list(dir).map_err(listing())?.iter().any(|entry| entry.name == identity::FILE) {
        return Ok((Identity::load(disk, dir)?, false));
    }
    if !segment::list(disk, segments).map_err(listing())?.is_empty() {
        let what = "it is missing, though there are segments; \
                    restore it, or give the channel a new id with `channel adopt`";
        return Err(OpenError::Damaged { path: dir.join(identity::FILE), what: what.to_owned() });
    }
    // The folders' own names must not be lost after something in them was called durable.
    for dir in dir.parent().into_iter().chain([dir]) {
        disk.sync_dir(dir).map_err(OpenError::io(format!("syncing {}", dir.display())))?;
    }
    Ok((Identity::create(disk, dir, 0)?, true))
}

impl Channel for DurableChannel {
    fn id(&self) -> [u8; 16] {
        self.identity.id
    }

    fn incarnation(&self) -> u64 {
        self.identity.incarnation
    }

    fn batch(&self) -> Batch {
        self.shared.pool.batch()
    }

    fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        if batch.is_empty() {
            return Ok(Appended { first: self.synced_end(), count: 0 });
        }
        self.shared.queue.push(batch).map_err(|error| self.shared.explained(error))
    }

    fn reserve(&self, batch: Batch) -> Result<Reservation, AppendError> {
        Reservation::of_log(&self.shared, batch).map_err(|error| self.shared.explained(error))
    }

    fn synced_end(&self) -> u64 {
        self.shared.log.synced_end()
    }

    fn failure(&self) -> Option<Arc<ChannelFailure>> {
        self.shared.failure()
    }

    fn waits_for(&self) -> Option<Shortage> {
        self.shared.queue.waits_for()
    }

    fn on_progress(&self, hook: Hook) {
        self.shared.hooks.add(hook);
    }

    fn reader(&self, name: &str, start: Start) -> Result<Reader, OpenError> {
        self.registry.open(name, start, &self.shared.log)?;
        Ok(Reader::of_log(name, Arc::clone(&self.shared), Arc::clone(&self.registry)))
    }

    fn readers(&self) -> Vec<ReaderStatus> {
        self.registry.status()
    }

    fn retire(&self, name: &str) -> Result<(), RetireError> {
        self.freed(self.registry.retire(name, &self.shared.log)?);
        Ok(())
    }

    fn stats(&self) -> Stats {
        let log = &self.shared.log;
        // Taken before the queue's numbers, so that no look has it beyond `next`.
        let synced_end = log.synced_end();
        Stats {
            first: log.oldest(),
            synced_end,
            segments: log.segments(),
            damaged: log.damaged(),
            ..self.shared.queue.stats()
        }
    }

    fn close(&self) -> Result<(), CloseError> {
        self.shared.queue.close();
        let mut engine = self.engine();
        match std::mem::replace(&mut engine.writer, Driver::Nobody) {
            // A panic of the thread is told by `failure`.
            Driver::Thread(thread) => drop(thread.join()),
            #[cfg(any(test, feature = "test-util"))]
            Driver::Steps(mut writer) => while writer.turn(false) != Turn::Ended {},
            Driver::Nobody => {}
        }
        let Some(lock) = engine.lock.take() else { return Ok(()) };
        let progress = self.registry.close();
        if let Some(failure) = self.failure() {
            return Err(CloseError::Failed(failure));
        }
        progress
            .and_then(|()| engine.identity.record_synced_end(self.synced_end()))
            .map_err(CloseError::Progress)?;
        drop(lock);
        match self.shared.queue.abandoned_events() {
            0 => Ok(()),
            events => Err(CloseError::NoRoom { events }),
        }
    }
}

impl Drop for DurableChannel {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `close`.
        let _ = self.close();
    }
}
