//! From the channel into open cuts: in bounded stretches, skipping what sealed cuts hold, within the limits.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durable_channel::Item;
use tokio::time::Instant;

use super::{Sink, Turn};
use crate::sink::s3::config::S3SinkConfig;
use crate::sink::s3::error::S3SinkError;
use crate::sink::s3::form;
use crate::sink::s3::gather::{Came, OpenCut};
use crate::sink::s3::ledger::STATE_SHARE;
use crate::sink::s3::state::Record;

/// Bytes of the channel read before the uploads get the thread again.
const TURN_BYTES: usize = 1 << 20;

/// How long reading rests when there is no descriptor for the next segment.
const READ_AGAIN: Duration = Duration::from_secs(1);

impl Sink {
    /// Reads a bounded stretch of the channel into open cuts.
    pub(super) fn read(&mut self) -> Result<Turn, S3SinkError> {
        if self.read_again.is_some_and(|again| again > Instant::now()) || !self.make_room() {
            return Ok(Turn::Blocked);
        }
        self.read_again = None;
        let shared = Arc::clone(&self.shared);
        let config = &shared.config;
        let mut bytes = 0;
        while bytes < TURN_BYTES {
            let (from, now) = (self.next_wanted(), Instant::now());
            // Held positions count as read: nothing may come after them, and flushes wait for this position.
            self.position = from;
            let mut reader = shared.reader();
            let item = match reader.read(from) {
                Err(error) if error.is_shortage() => {
                    let reason = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, reason, "the channel cannot be read now; reading it again in a moment");
                    self.read_again = Some(now + READ_AGAIN);
                    return Ok(Turn::Blocked);
                }
                item => item?,
            };
            match item {
                None => return Ok(Turn::CaughtUp),
                Some(Item::Damaged { first, count }) => {
                    drop(reader);
                    self.lose(first.max(from)..first + count)?;
                    self.position = first + count;
                }
                Some(Item::Frame { first, count, arrival_ms, payload }) => {
                    let end = first + u64::from(count);
                    // What came after this start is read once, in order, so none of it is held.
                    let replayed = first < self.replay_end;
                    let since = if replayed { since(arrival_ms, now, config) } else { now };
                    self.arrivals.note(first, arrival_ms);
                    let came = Came { arrival_ms: arrival_ms.cast_signed(), since, now };
                    let (ledger, mut packer) = (shared.ledger(), shared.packer());
                    let held = &ledger.state().held;
                    for (position, event) in (first..).zip(form::events(&config.layout, payload, count)) {
                        let event = event?;
                        if position < from || (replayed && held.contains(position)) {
                            continue;
                        }
                        let gather = &mut self.gather;
                        let mut staged = gather.add(config, &mut packer, position, &event, came);
                        if packer.memory_bytes() > config.staging_memory_bytes {
                            // Half of it at once, so that sorting the packs is rare.
                            staged = staged.and(gather.spill(&mut packer, config.staging_memory_bytes / 2));
                        }
                        staged.map_err(S3SinkError::io("writing the staging log"))?;
                    }
                    // A frame has its cost even if its events are small or held.
                    bytes += payload.len() + 1024;
                    self.position = end;
                }
            }
        }
        Ok(Turn::More)
    }

    /// The next position that no sealed cut holds.
    fn next_wanted(&self) -> u64 {
        if self.position < self.replay_end {
            self.shared.ledger().state().held.next_absent(self.position)
        } else {
            self.position
        }
    }

    /// Records positions that the channel lost before a cut held them (I9).
    fn lose(&self, range: Range<u64>) -> Result<(), S3SinkError> {
        tracing::error!(from = range.start, to = range.end, "the channel has lost events to damage");
        let mut records = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let ledger = self.shared.ledger();
            let held = &ledger.state().held;
            at = held.next_absent(at);
            let end = (at..range.end).find(|&position| held.contains(position)).unwrap_or(range.end);
            if at < end {
                records.push(Record::Damaged(at, end - at));
            }
            at = end;
        }
        self.shared.commit(records)?;
        self.release()
    }

    /// Closes cuts where memory, disk or the state's size ask for it; false if reading must wait for uploads.
    fn make_room(&mut self) -> bool {
        let config = &self.shared.config;
        let most = config.journal_bytes / STATE_SHARE;
        let (state_bytes, shipping) = {
            let ledger = self.shared.ledger();
            (ledger.state().heap_bytes(), ledger.state().to_ship().next().is_some())
        };
        if state_bytes + self.gather.heap_bytes() > most {
            self.gather.close(|_| true);
        }
        let (over, squeezed, oldest) = {
            let staging = &self.shared.packer().staging;
            (staging.used_bytes() > config.staging_bytes, staging.is_squeezed(), staging.oldest_file())
        };
        if squeezed {
            self.gather.close(OpenCut::is_packed);
        } else if let (true, Some(oldest)) = (over, oldest) {
            self.gather.close(|open| open.is_in(oldest));
        }
        // While uploads make room, half of it must be free: what is read into less is sealed as crumbs.
        let most = if shipping { most / 2 } else { most };
        !over && !squeezed && state_bytes <= most
    }
}

/// From when the age of an event counts that arrived before this start: its arrival, clamped to what a clock that
/// was changed since cannot make absurd.
fn since(arrival_ms: u64, now: Instant, config: &S3SinkConfig) -> Instant {
    let arrived = UNIX_EPOCH + Duration::from_millis(arrival_ms);
    let age = SystemTime::now().duration_since(arrived).unwrap_or_default();
    now.checked_sub(age.min(config.roll.age.unwrap_or_default())).unwrap_or(now)
}
