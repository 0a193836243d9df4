//! What the sink knows for good: a fold over the records of its journal.
//!
//! A record is a version byte (2; 1 before cuts had a form), a tag byte and the members below; a snapshot is the whole state, and replaces whatever
//! stood before it. (Shapes: `wire`, `runs`, `cut`.)
//!
//! ```text
//! 0 snapshot  numbers origin, next cut, watermark; runs held above it; sums sealed; sums settled;
//!             list of pending cuts: cut, list of attempts, list of upload ids (text), u8 dead, text reason
//! 1 sealed    cut, its first attempt
//! 2 attempt   number of the cut, attempt
//! 3 upload    number of the cut, text: the id of a multipart upload that was created for it
//! 4 done      number of the cut, number: which of its attempts is the object
//! 5 dead      number of the cut, attempt (its bytes kept in a file), text: the store's answer
//! 6 replay    number of a dead cut, which is to be sent again
//! 7 drop      number of a dead cut, which is given up
//! 8 damaged   numbers first, count: positions that the channel lost
//! 9 moved     number of the cut, 16 bytes channel id, text key: the identity it has from here on
//! ```
//!
//! Two sums are kept. *Sealed* counts what the cuts hold, and stands in their metadata; *settled* counts what is done
//! with, and is what the metrics show (I9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::{ChannelId, CutKind};

use super::cut::{Attempt, BytesAt, Cut, Sums};
use super::positions::PositionSet;
use super::runs::Runs;
use super::wire::{Malformed, Take, put_bytes, put_number, put_numbers};

/// One change of the state, as it is journalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The whole state.
    Snapshot(Box<State>),
    /// A cut and its first attempt: from here on the object is determined (I3, I4).
    Sealed(Arc<Cut>, Attempt),
    /// A further encoding of a sealed cut.
    Attempt(u64, Attempt),
    /// A multipart upload that was created for a cut.
    Upload(u64, String),
    /// The store holds the cut, encoded as this attempt of it.
    Done(u64, u64),
    /// The store will never take the cut; its bytes are kept.
    Dead(u64, Attempt, String),
    /// A dead cut is to be sent again.
    Replay(u64),
    /// A dead cut is given up.
    Drop(u64),
    /// Positions that the channel lost.
    Damaged(u64, u64),
    /// A cut goes to another key, under the identity that the channel has now.
    Moved(u64, ChannelId, String),
}

/// Everything that outlives a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The first position that this reader was ever given.
    pub origin: u64,
    /// The number of the next cut.
    pub next_cut: u64,
    /// The positions that sealed cuts hold, or that are lost.
    pub held: PositionSet,
    /// What all cuts hold.
    pub sealed: Sums,
    /// What is done with.
    pub settled: Sums,
    /// Sealed cuts that are not done, by number.
    pub pending: BTreeMap<u64, Pending>,
    /// Of those that are to be sent: first position and number. Asked at every turn, with ten thousand of them too.
    needed: BTreeSet<(u64, u64)>,
    /// About how many bytes the pending cuts take.
    pending_bytes: u64,
}

/// A sealed cut that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// The cut.
    pub cut: Arc<Cut>,
    /// Its attempts, the newest last; there is at least one.
    pub attempts: Vec<Attempt>,
    /// Multipart uploads that were created for it.
    pub uploads: Vec<String>,
    /// Why it is set aside until an operator decides, if it is.
    pub dead: Option<String>,
}

/// The version that this program writes, and the highest that it reads.
pub(super) const VERSION: u8 = 2;

impl State {
    /// The state of a sink that has sealed nothing and starts at `origin`.
    pub(crate) fn new(origin: u64) -> Self {
        Self {
            origin,
            next_cut: 1,
            held: PositionSet::new(origin),
            sealed: Sums::default(),
            settled: Sums::default(),
            pending: BTreeMap::new(),
            needed: BTreeSet::new(),
            pending_bytes: 0,
        }
    }

    /// Every position below this is done with: shipped, set aside with its bytes kept, or lost (I6).
    pub(crate) fn released(&self) -> u64 {
        self.needed.first().map_or(u64::MAX, |&(first, _)| first).min(self.held.watermark())
    }

    /// Cuts that are to be sent, the oldest first.
    pub(crate) fn to_ship(&self) -> impl Iterator<Item = u64> + '_ {
        self.pending.iter().filter(|(_, pending)| pending.dead.is_none()).map(|(&number, _)| number)
    }

    /// Cuts that are set aside.
    pub(crate) fn dead(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values().filter(|pending| pending.dead.is_some())
    }

    /// How many cuts are set aside.
    pub(crate) fn dead_count(&self) -> usize {
        self.pending.len() - self.needed.len()
    }

    /// About how many bytes of memory it takes, and of a snapshot.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.held.heap_bytes() + self.pending_bytes
    }

    /// Takes in one record. An error means that the journal is not this program's; nothing is to be trusted then.
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), Malformed> {
        match record {
            Record::Snapshot(state) => *self = *state,
            Record::Sealed(cut, attempt) => self.seal(cut, attempt)?,
            Record::Attempt(number, attempt) => {
                let bytes = attempt.heap_bytes();
                self.pending(number)?.attempts.push(attempt);
                self.pending_bytes += bytes;
            }
            Record::Upload(number, id) => self.pending(number)?.uploads.push(id),
            Record::Done(number, attempt) => {
                let done = self.take(number, false)?;
                let attempt = usize::try_from(attempt).ok().and_then(|index| done.attempts.get(index));
                let attempt = attempt.ok_or(Malformed("an attempt that was never recorded"))?;
                self.lose(&done, attempt.lost.count());
                self.settle(&done, done.cut.kind(), attempt.lost.count());
            }
            Record::Dead(number, attempt, reason) => {
                let mut dead = self.take(number, false)?;
                self.lose(&dead, attempt.lost.count());
                self.settle(&dead, CutKind::Dead, attempt.lost.count());
                // Their place in the staging log is given up. Length and checksum still tell their objects.
                for old in &mut dead.attempts {
                    if let BytesAt::Staged(extents) = &mut old.bytes {
                        extents.clear();
                    }
                }
                dead.attempts.push(attempt);
                dead.dead = Some(reason);
                self.keep(dead);
            }
            Record::Replay(number) => {
                let mut replayed = self.take(number, true)?;
                let lost = replayed.attempts.last().map_or(0, |attempt| attempt.lost.count());
                self.settled.dead_lettered -= replayed.cut.runs.count() - lost;
                self.settled.damaged -= lost;
                self.unlose(&replayed, lost);
                replayed.dead = None;
                self.keep(replayed);
            }
            Record::Drop(number) => drop(self.take(number, true)?),
            Record::Damaged(first, count) => {
                self.held.insert(first..first + count);
                self.sealed.damaged += count;
                self.settled.damaged += count;
            }
            Record::Moved(number, channel, key) => {
                let moved = self.pending(number)?;
                moved.cut = Arc::new(Cut { channel, key, ..Cut::clone(&moved.cut) });
                // They were of the other key, and are not there any more.
                moved.uploads.clear();
            }
        }
        Ok(())
    }

    fn seal(&mut self, cut: Arc<Cut>, attempt: Attempt) -> Result<(), Malformed> {
        if cut.number != self.next_cut {
            return Err(Malformed("a cut out of order"));
        }
        self.next_cut += 1;
        cut.runs.iter().for_each(|run| self.held.insert(run));
        self.sealed = cut.totals;
        let pending = Pending { attempts: vec![attempt], uploads: Vec::new(), dead: None, cut };
        self.keep(pending);
        Ok(())
    }

    fn pending(&mut self, number: u64) -> Result<&mut Pending, Malformed> {
        self.pending.get_mut(&number).ok_or(Malformed("a record of a cut that is not pending"))
    }

    fn keep(&mut self, pending: Pending) {
        let number = pending.cut.number;
        self.pending_bytes += pending.heap_bytes();
        if pending.dead.is_none() {
            self.needed.insert((pending.cut.runs.first(), number));
        }
        self.pending.insert(number, pending);
    }

    fn take(&mut self, number: u64, dead: bool) -> Result<Pending, Malformed> {
        let pending =
            self.pending.remove(&number).ok_or(Malformed("a record of a cut that is not pending"))?;
        self.needed.remove(&(pending.cut.runs.first(), number));
        self.pending_bytes -= pending.heap_bytes();
        if pending.dead.is_some() == dead {
            Ok(pending)
        } else {
            Err(Malformed("a record of a cut set aside"))
        }
    }

    /// Damage took some of a sealed cut's positions: the totals of later cuts say so.
    fn lose(&mut self, pending: &Pending, lost: u64) {
        *self.sealed_of(pending.cut.kind()) -= lost;
        self.sealed.damaged += lost;
    }

    fn unlose(&mut self, pending: &Pending, lost: u64) {
        *self.sealed_of(pending.cut.kind()) += lost;
        self.sealed.damaged -= lost;
    }

    fn settle(&mut self, pending: &Pending, kind: CutKind, lost: u64) {
        let count = pending.cut.runs.count() - lost;
        match kind {
            CutKind::Events => self.settled.events += count,
            CutKind::Dead => self.settled.dead_lettered += count,
        }
        self.settled.damaged += lost;
    }

    fn sealed_of(&mut self, kind: CutKind) -> &mut u64 {
        match kind {
            CutKind::Events => &mut self.sealed.events,
            CutKind::Dead => &mut self.sealed.dead_lettered,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_numbers(out, [self.origin, self.next_cut, self.held.watermark()]);
        self.held.above().encode(out);
        self.sealed.encode(out);
        self.settled.encode(out);
        put_number(out, self.pending.len() as u64);
        for pending in self.pending.values() {
            pending.cut.encode(out);
            put_number(out, pending.attempts.len() as u64);
            pending.attempts.iter().for_each(|attempt| attempt.encode(out));
            put_number(out, pending.uploads.len() as u64);
            pending.uploads.iter().for_each(|id| put_bytes(out, id.as_bytes()));
            out.push(u8::from(pending.dead.is_some()));
            put_bytes(out, pending.dead.as_deref().unwrap_or_default().as_bytes());
        }
    }

    fn decode(take: &mut Take<'_>, version: u8) -> Result<Self, Malformed> {
        let (origin, next_cut, watermark) = (take.number()?, take.number()?, take.number()?);
        let mut held = PositionSet::new(watermark);
        Runs::decode(take)?.iter().for_each(|run| held.insert(run));
        let (sealed, settled) = (Sums::decode(take)?, Sums::decode(take)?);
        let pending = take.list(|take| {
            let cut = Arc::new(Cut::decode(take, version)?);
            let attempts = take.list(Attempt::decode)?;
            let uploads = take.list(Take::text)?;
            let (dead, reason) = (take.byte()? == 1, take.text()?);
            Ok(Pending { cut, attempts, uploads, dead: dead.then_some(reason) })
        })?;
        let mut state = Self { next_cut, held, sealed, settled, ..Self::new(origin) };
        for pending in pending {
            state.keep(pending);
        }
        Ok(state)
    }
}

impl Pending {
    /// The same for the same record, however its memory was taken.
    fn heap_bytes(&self) -> u64 {
        600 + self.cut.runs.packed_bytes() + self.attempts.iter().map(Attempt::heap_bytes).sum::<u64>()
    }
}

impl Record {
    /// The record's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Snapshot(state) => return state.snapshot(),
            Self::Sealed(cut, attempt) => {
                out.push(1);
                cut.encode(&mut out);
                attempt.encode(&mut out);
            }
            Self::Attempt(number, attempt) => {
                out.push(2);
                put_number(&mut out, *number);
                attempt.encode(&mut out);
            }
            Self::Upload(number, id) => {
                out.push(3);
                put_number(&mut out, *number);
                put_bytes(&mut out, id.as_bytes());
            }
            Self::Done(number, attempt) => {
                out.push(4);
                put_number(&mut out, *number);
                put_number(&mut out, *attempt);
            }
            Self::Dead(number, attempt, reason) => {
                out.push(5);
                put_number(&mut out, *number);
                attempt.encode(&mut out);
                put_bytes(&mut out, reason.as_bytes());
            }
            Self::Replay(number) => {
                out.push(6);
                put_number(&mut out, *number);
            }
            Self::Drop(number) => {
                out.push(7);
                put_number(&mut out, *number);
            }
            Self::Damaged(first, count) => {
                out.push(8);
                put_number(&mut out, *first);
                put_number(&mut out, *count);
            }
            Self::Moved(number, channel, key) => {
                out.push(9);
                put_number(&mut out, *number);
                out.extend_from_slice(&channel.0);
                put_bytes(&mut out, key.as_bytes());
            }
        }
        out
    }

    /// Reads one record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take::new(bytes);
        let version = take.byte()?;
        match version {
            0 => return Err(Malformed("a record of unknown version 0")),
            1..=VERSION => {}
            _ => return Err(Malformed("a record of a newer version of this program")),
        }
        let record = match take.byte()? {
            0 => Self::Snapshot(Box::new(State::decode(&mut take, version)?)),
            1 => Self::Sealed(Arc::new(Cut::decode(&mut take, version)?), Attempt::decode(&mut take)?),
            2 => Self::Attempt(take.number()?, Attempt::decode(&mut take)?),
            3 => Self::Upload(take.number()?, take.text()?),
            4 => Self::Done(take.number()?, take.number()?),
            5 => Self::Dead(take.number()?, Attempt::decode(&mut take)?, take.text()?),
            6 => Self::Replay(take.number()?),
            7 => Self::Drop(take.number()?),
            8 => Self::Damaged(take.number()?, take.number()?),
            9 => Self::Moved(take.number()?, ChannelId(take.array()?), take.text()?),
            _ => return Err(Malformed("a record of an unknown kind")),
        };
        take.end()?;
        Ok(record)
    }
}

impl State {
    /// The bytes of a snapshot record.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0];
        self.encode(&mut out);
        out
    }
}

#[cfg(test)]
mod tests;
