//! The writer: takes what is queued, writes it as one group, syncs once, publishes once.
//!
//! While one group syncs the next one gathers, so under load the disk's own pace makes the batches.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::disk::{self, DiskFile, Free, Mode, OpenDir};
use crate::error::Shortage;
use crate::format::{FileHeader, HEADER_BLOCK_BYTES, SEGMENT_MAGIC, align};
use crate::frame::Seal;
use crate::options::Options;
use crate::queue::{Queued, Taken};
use crate::recovery::Live;
use crate::segment::{self, RESERVE};
use crate::shared::Shared;

/// How often the disk's free space is looked at: while groups are written, and while puts are refused for it.
pub(crate) const SPACE_CHECK: Duration = Duration::from_secs(1);

/// Writes groups until the channel is closed or fails.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: Options,
    live: Option<Live>,
    /// Held open, as the reserve is: going on in the next segment needs no descriptor that may be missing then.
    dir: Arc<dyn OpenDir>,
    reserve: Option<Reserve>,
    pending: VecDeque<Queued>,
    /// What is pending found no segment, or there is none in reserve.
    stuck: bool,
    /// The positions below this are written.
    written_end: u64,
    space_checked: Option<Instant>,
}

/// The next segment, allocated ahead.
struct Reserve {
    file: Arc<dyn DiskFile>,
    bytes: u64,
}

/// What a turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A group was written and synced.
    Synced,
    /// There was nothing to do, or no room to do it.
    Idle,
    /// The channel is closed or has failed: there will be nothing more.
    Ended,
}

/// A failed step, with what was being done.
struct Failed(String, io::Error);

// === impl Writer ===

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, options: Options, live: Option<Live>) -> io::Result<Self> {
        let written_end = shared.log.synced_end();
        let pending = VecDeque::new();
        let dir = shared.log.disk.open_dir(&shared.log.dir)?;
        Ok(Self {
            shared,
            options,
            live,
            dir,
            reserve: None,
            pending,
            stuck: false,
            written_end,
            space_checked: None,
        })
    }

    /// Looks at the disk before anything is accepted: makes the reserve, and sees whether puts are.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        let (disk, path) = (&self.shared.log.disk, self.shared.log.dir.join(RESERVE));
        let found = disk.list(&self.shared.log.dir)?.into_iter().find(|entry| entry.name == RESERVE);
        match found {
            Some(entry) if entry.bytes == self.options.segment_bytes => {
                self.reserve = Some(Reserve { file: disk.open(&path, Mode::Write)?, bytes: entry.bytes });
            }
            Some(_) => disk.remove(&path)?,
            None => {}
        }
        self.check_space().map_err(|Failed(_, error)| error)
    }

    /// One turn after the other until the end.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // Whatever goes wrong here must not leave sources waiting for ever.
        let turns = std::panic::AssertUnwindSafe(|| while self.turn(true) != Turn::Ended {});
        if std::panic::catch_unwind(turns).is_err() {
            shared.fail("writing groups".to_owned(), io::Error::other("the channel's writer panicked"));
        }
    }

    /// Waits for batches (if it is to `wait`), and writes and syncs a group of them.
    pub(crate) fn turn(&mut self, wait: bool) -> Turn {
        if self.shared.failure().is_some() {
            return Turn::Ended;
        }
        match self.try_turn(wait) {
            Ok(turn) => turn,
            Err(Failed(operation, error)) => {
                self.pending.clear();
                self.shared.fail(operation, error);
                Turn::Ended
            }
        }
    }

    fn try_turn(&mut self, wait: bool) -> Result<Turn, Failed> {
        let queue = &self.shared.queue;
        let Options { group_delay, max_group_bytes, .. } = self.options;
        let Taken { closing, refusing } = if wait {
            queue.take_waiting(&mut self.pending, self.stuck, group_delay, max_group_bytes)
        } else {
            queue.take(&mut self.pending)
        };
        let due = self.space_checked.is_none_or(|last| last.elapsed() >= SPACE_CHECK);
        if due || refusing && !wait {
            self.check_space()?;
        }
        let Some(next) = self.pending.front() else {
            return Ok(if closing { Turn::Ended } else { Turn::Idle });
        };
        let needed = align(next.batch.len_bytes() as u64);
        let fits = self.live.as_ref().is_some_and(|live| live.offset + needed <= live.bytes);
        // Opening after a crash copies what this writes, and needs a reserve for that on a disk that may be full.
        self.stuck = !(fits || self.rotate(needed)?) || self.reserve.is_none();
        if self.shared.queue.set_stuck(self.stuck) {
            self.shared.progress();
        }
        if self.stuck {
            if closing {
                self.shared
                    .queue
                    .abandon(self.pending.drain(..).map(|queued| u64::from(queued.batch.count())).sum());
                return Ok(Turn::Ended);
            }
            return Ok(Turn::Idle);
        }
        self.write_group()?;
        if self.needs_reserve_soon() {
            self.check_space()?;
        }
        Ok(Turn::Synced)
    }

    /// One write, one sync, one publication.
    fn write_group(&mut self) -> Result<(), Failed> {
        let live = self.live.as_mut().expect("a group is written after a segment was found for it");
        let synced_end = self.shared.log.synced_end();
        let mut bytes = 0;
        let mut group: Vec<Batch> = Vec::new();
        while let Some(next) = self.pending.front() {
            let needed = align(next.batch.len_bytes() as u64);
            let fits = live.offset + bytes + needed <= live.bytes;
            if !fits || !group.is_empty() && bytes + needed > self.options.max_group_bytes {
                break;
            }
            bytes += needed;
            let Some(Queued { mut batch, arrival_ms }) = self.pending.pop_front() else { break };
            let count = batch.count();
            Seal { seed: live.seed, first: self.written_end, count, arrival_ms, synced_end }
                .apply(batch.frame_mut());
            self.written_end += u64::from(count);
            group.push(batch);
        }
        let mut slices: Vec<_> = group.iter().map(|batch| IoSlice::new(batch.frame())).collect();
        disk::write_all(&*live.file, &mut slices, live.offset).map_err(doing("writing to", &live.name))?;
        live.file.sync().map_err(doing("syncing", &live.name))?;
        live.offset += bytes;
        self.shared.log.publish(live.offset, self.written_end);
        self.shared.queue.written(bytes);
        // Back to the pool before sources wake up and ask for buffers.
        drop(group);
        self.shared.progress();
        Ok(())
    }

    /// Goes on in a new segment that has room for `needed` bytes. `false` if the disk has no room for one.
    fn rotate(&mut self, needed: u64) -> Result<bool, Failed> {
        let shared = Arc::clone(&self.shared);
        let log = &shared.log;
        if self.reserve.is_none() {
            self.check_space()?;
        }
        let Some(Reserve { file, bytes }) =
            self.reserve.take_if(|reserve| HEADER_BLOCK_BYTES + needed <= reserve.bytes)
        else {
            return Ok(false);
        };
        let name = segment::name(self.written_end);
        let create = || -> io::Result<FileHeader> {
            let header = FileHeader::random(self.written_end)?;
            header.write(&*file, SEGMENT_MAGIC)?;
            file.sync()?;
            // Named only now: a segment with a name has a good header, and all before it is synced.
            log.disk.rename(&log.dir.join(RESERVE), &log.dir.join(&name))?;
            self.dir.sync()?;
            Ok(header)
        };
        let header = create().map_err(doing("creating", &name))?;
        if let Some(full) = self.live.take() {
            // Gives back the room of the frame that did not fit. Should it fail, the room comes back later.
            let _ = full.file.set_len(full.offset);
        }
        log.add(self.written_end);
        self.live = Some(Live { file, name, seed: header.seed(), offset: HEADER_BLOCK_BYTES, bytes });
        self.check_space()?;
        Ok(true)
    }

    /// Looks at what is free and makes the reserve if it is missing. Puts are accepted only with both, and
    /// are refused early enough that what was accepted finds room.
    fn check_space(&mut self) -> Result<(), Failed> {
        self.space_checked = Some(Instant::now());
        let (disk, dir) = (Arc::clone(&self.shared.log.disk), self.shared.log.dir.clone());
        let look =
            || disk.free(&dir).map_err(|error| Failed("looking at the disk's free space".to_owned(), error));
        let mut missing = None;
        if self.reserve.is_none()
            && let Err(error) = self.make_reserve()
        {
            let shortage = Shortage::of(&error, look()?, self.options.segment_bytes);
            missing = Some(shortage.ok_or_else(|| doing("allocating", RESERVE)(error))?);
        }
        let free = look()?;
        let shortage = missing.or_else(|| self.shortage(free));
        if self.shared.queue.set_space(free.bytes, shortage) {
            self.shared.progress();
        }
        Ok(())
    }

    /// Why puts are refused although there is a reserve.
    fn shortage(&self, free: Free) -> Option<Shortage> {
        let Options { segment_bytes, free_disk_floor_bytes: floor_bytes, .. } = self.options;
        let free_bytes = free.bytes;
        if free_bytes < floor_bytes {
            return Some(Shortage::Floor { free_bytes, floor_bytes });
        }
        // Taking the reserve needs room for another one.
        match self.needs_reserve_soon() {
            true if free_bytes < segment_bytes => Some(Shortage::Segment { free_bytes, segment_bytes }),
            true if free.inodes == 0 => Some(Shortage::Inodes),
            _ => None,
        }
    }

    /// Whether what may be queued has no room in the live segment.
    fn needs_reserve_soon(&self) -> bool {
        let Options { max_group_bytes, max_frame_bytes, segment_bytes, .. } = self.options;
        let queued = max_group_bytes + u64::from(max_frame_bytes);
        // Half a segment is always of use, however small segments are.
        let queued = queued.min((segment_bytes - HEADER_BLOCK_BYTES) / 2);
        self.live.as_ref().is_none_or(|live| live.bytes - live.offset < queued)
    }

    fn make_reserve(&mut self) -> io::Result<()> {
        let (log, bytes) = (&self.shared.log, self.options.segment_bytes);
        let path = log.dir.join(RESERVE);
        let made = log.disk.open(&path, Mode::Create).and_then(|file| {
            file.allocate(bytes)?;
            Ok(Reserve { file, bytes })
        });
        match made {
            Ok(reserve) => self.reserve = Some(reserve),
            Err(error) => {
                // What was allocated of it is of use to whoever drains.
                match log.disk.remove(&path) {
                    Err(failed) if failed.kind() != io::ErrorKind::NotFound => return Err(failed),
                    _ => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn doing(verb: &'static str, name: &str) -> impl FnOnce(io::Error) -> Failed {
    move |error| Failed(format!("{verb} segment {name}"), error)
}
