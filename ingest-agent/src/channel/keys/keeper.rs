//! Makes keys outlive their segments: a reader of the channel that reads nothing while it runs.
//!
//! Each key is in the frame of its events, and in the index from the moment at which the frame has its positions. A
//! turn of the keeper takes the keys whose frames are synced from the index, logs and syncs them, and only then
//! releases their positions: a segment is never deleted before its keys are in the log (I6). What was released is
//! synced too, so a start reads only the frames of the last turns.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use durable_channel::disk::Disk;
use durable_channel::{Channel, ChannelFailure, Item, OpenError, ReadError, Reader, Start};

use super::Shared;
use super::index::Entry;
use super::log::{KeyLog, MAX_APPEND, Opened, Place};
use crate::event::KeyStamp;

/// The longest that a key waits for its turn, and so about what a start reads of the channel.
const TURN: Duration = Duration::from_secs(1);

/// Owns the log and the reader; a thread of its own turns it.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    /// Weak, so that the channel of a forgotten handle closes.
    channel: Weak<dyn Channel>,
    reader: Reader,
    log: KeyLog,
    /// The number, in the index, of the next key to log.
    next: u64,
    batch: Vec<Entry>,
}

/// The name of the reader that keeps the keys. A reader of this kind that was retired gave its keys up; the next one has
/// the next name.
pub(crate) fn is_keeper(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

const NAME: &str = "_keys";

/// The names in the order in which they are used.
fn names() -> impl Iterator<Item = String> {
    std::iter::once(NAME.to_owned()).chain((2..1000).map(|number| format!("{NAME}{number}")))
}

// === impl Keeper ===

impl Keeper {
    /// Registers the reader if need be, and fills the index with what the log and the frames behind it hold.
    pub(super) fn open(
        shared: &Arc<Shared>,
        channel: &Arc<dyn Channel>,
        disk: &dyn Disk,
    ) -> Result<Self, OpenError> {
        let reader = names().find_map(|name| match channel.reader(&name, Start::Newest) {
            Err(OpenError::Retired(_)) => None,
            opened => Some(opened),
        });
        let reader = reader.unwrap_or_else(|| Err(OpenError::Retired(NAME.to_owned())))?;
        let (dir, released) = (reader.dir().unwrap_or_else(|| "".as_ref()).to_owned(), reader.released());
        let status = channel.readers().into_iter().find(|status| status.name == reader.name());
        let fresh = status.is_some_and(|status| status.start == status.released);
        let keys = shared.limits.keys;
        let Opened { log, entries, mut damaged } =
            KeyLog::open(&Place { disk, dir: &dir, keys, released, fresh })?;

        let mut state = shared.state();
        let now_s = shared.now_s();
        let logged_end = entries.last().map_or(0, Entry::end);
        for entry in entries {
            // Without its events, to say "stored" would be a lie. Only a channel that lost its end to damage has such.
            if entry.end() <= channel.synced_end() {
                state.insert(entry, now_s);
            } else {
                damaged += 1;
            }
        }
        let next = state.end_number();
        drop(state);
        if damaged > 0 {
            tracing::error!(
                reader = reader.name(),
                keys = damaged,
                "idempotency keys were lost to damage; what is sent again under them is stored again"
            );
        }
        shared.damaged.fetch_add(damaged, Ordering::Relaxed);
        let batch = Vec::new();
        let channel = Arc::downgrade(channel);
        let mut keeper = Self { shared: Arc::clone(shared), channel, reader, log, next, batch };
        keeper.scan(&dir, released, logged_end)?;
        Ok(keeper)
    }

    /// Finds the keys of the frames from `from` on, but those below `logged_end`, which are in the log.
    fn scan(&mut self, dir: &Path, mut from: u64, logged_end: u64) -> Result<(), OpenError> {
        while let Some(item) = self.reader.read(from).map_err(unreadable)? {
            if let Item::Frame { first, count, arrival_ms, payload } = item
                && first >= logged_end
            {
                match KeyStamp::of(payload, count) {
                    Ok(None) => {}
                    Ok(Some(stamp)) => {
                        let arrival_s = u32::try_from(arrival_ms / 1000).unwrap_or(u32::MAX);
                        let entry = Entry { stamp, first, count, arrival_s };
                        self.shared.state().insert(entry, self.shared.now_s());
                    }
                    Err(error) => {
                        let what = format!("the batch at {first} cannot be read: {error}");
                        return Err(OpenError::Damaged { path: dir.to_owned(), what });
                    }
                }
            }
            from = item.end();
        }
        Ok(())
    }

    /// Logs every key whose frame is synced, and releases the frames; whether there is still a channel.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let Some(channel) = self.channel.upgrade() else { return Ok(false) };
        loop {
            // Keys enter the index in the critical section that gives their frames positions. So with the lock held,
            // every key below the synced end is there.
            let mut state = self.shared.state();
            let synced_end = channel.synced_end();
            state.forget(self.shared.now_s());
            let (from, fresh) = state.since(self.next);
            self.batch.clear();
            self.batch.extend(fresh.take_while(|entry| entry.end() <= synced_end).take(MAX_APPEND));
            drop(state);
            self.log.append(&self.batch)?;
            self.next = from + self.batch.len() as u64;
            if let Some(last) = self.batch.last()
                && self.batch.len() == MAX_APPEND
            {
                self.reader.release(last.end())?;
                continue;
            }
            self.reader.release(synced_end)?;
            self.reader.sync_released()?;
            return Ok(true);
        }
    }

    /// One turn after the other until the keys are closed or the log fails.
    pub(super) fn run(mut self) {
        loop {
            let closing = self.shared.wait(TURN);
            match self.turn() {
                Ok(true) if !closing => {}
                Ok(_) => return,
                Err(source) => {
                    let operation = "keeping the idempotency keys".to_owned();
                    self.shared.fail(ChannelFailure { operation, source });
                    return;
                }
            }
        }
    }
}

fn unreadable(error: ReadError) -> OpenError {
    OpenError::Io { operation: "looking for idempotency keys".to_owned(), source: io::Error::other(error) }
}
