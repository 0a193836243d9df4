//! The bytes of a cut made from the channel again: its events, read in order and encoded as the cut says.

use std::ops::Range;
use std::sync::Arc;

use durable_channel::{Cursor, Item, ReadError};
use object_format::dead_letters;

use super::cut::{Cut, Reason};
use super::error::S3SinkError;
use super::form::Form;
use super::runs::{Runs, RunsPlace};
use crate::event::EventRef;

/// Walks over the events of one cut.
pub(crate) struct Rows {
    cursor: Cursor,
    cut: Arc<Cut>,
    lost: Arc<Runs>,
    gone_is_lost: bool,
    place: RowsPlace,
}

/// Where a walk stands, to begin another one there.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowsPlace {
    runs: RunsPlace,
    run: Range<u64>,
    lost: RunsPlace,
    lost_run: Range<u64>,
    /// Where in the frame that holds the next position that event begins: frame, index, byte.
    within: (u64, u32, usize),
}

/// What [`Rows::fill`] met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is more to come.
    More,
    /// That was the last event.
    End,
    /// The channel has lost these positions of the cut since it was sealed.
    Damaged(Range<u64>),
}

impl Rows {
    /// The events of `cut` without those of `lost`.
    pub(crate) fn new(cursor: Cursor, cut: Arc<Cut>, lost: Arc<Runs>) -> Self {
        Self { cursor, cut, lost, gone_is_lost: false, place: RowsPlace::default() }
    }

    /// The channel may have let go of the cut: what is not there any more is lost, instead of a mistake.
    pub(crate) fn take_gone_for_lost(&mut self) {
        self.gone_is_lost = true;
    }

    /// Whose events these are.
    pub(crate) fn cut(&self) -> &Cut {
        &self.cut
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> RowsPlace {
        self.place.clone()
    }

    /// Goes on at `place`, which is of the same cut.
    pub(crate) fn go_to(&mut self, place: RowsPlace) {
        self.place = place;
    }

    /// Appends encoded events to `out` until that holds at least `enough` bytes.
    pub(crate) fn fill(&mut self, out: &mut Vec<u8>, enough: usize) -> Result<Filled, S3SinkError> {
        while out.len() < enough {
            if !self.place.turn(&self.cut.runs, &self.lost) {
                return Ok(Filled::End);
            }
            let from = self.place.run.start;
            let there_from = match self.cursor.read(from) {
                Err(ReadError::Released { oldest, .. }) => oldest,
                item => match item? {
                    Some(Item::Frame { first, count, arrival_ms, payload }) if first <= from => {
                        let frame = (first, count, payload);
                        let arrival_ms = arrival_ms.cast_signed();
                        self.place.take_from(
                            frame,
                            &self.cut,
                            &self.lost,
                            out,
                            enough,
                            |position, reason, event, out| match &self.cut.form {
                                Form::Events { layout, .. } => layout.write(&event.arrived(arrival_ms), out),
                                Form::Dead => encode_dead(position, reason, event, arrival_ms, out),
                            },
                        )?;
                        continue;
                    }
                    Some(Item::Damaged { first, count }) if first <= from => {
                        return Ok(Filled::Damaged(from..self.place.run.end.min(first + count)));
                    }
                    Some(Item::Frame { first, .. } | Item::Damaged { first, .. }) => first,
                    None => u64::MAX,
                },
            };
            if !self.gone_is_lost {
                return Err(S3SinkError::Gone { number: self.cut.number, from });
            }
            return Ok(Filled::Damaged(from..self.place.run.end.min(there_from)));
        }
        Ok(Filled::More)
    }
}

impl RowsPlace {
    /// Makes `run` begin with the next position that is wanted; false if there is none.
    fn turn(&mut self, runs: &Runs, lost: &Runs) -> bool {
        loop {
            if self.run.is_empty() {
                match self.runs.next(runs) {
                    Some(run) => self.run = run,
                    None => return false,
                }
            }
            while self.lost_run.end <= self.run.start {
                match self.lost.next(lost) {
                    Some(run) => self.lost_run = run,
                    None => return true,
                }
            }
            if self.run.start < self.lost_run.start {
                return true;
            }
            self.run.start = self.run.end.min(self.lost_run.end);
        }
    }

    /// Takes what is wanted of one frame, until `out` holds `enough`.
    fn take_from(
        &mut self,
        (first, count, payload): (u64, u32, &[u8]),
        cut: &Cut,
        lost: &Runs,
        out: &mut Vec<u8>,
        enough: usize,
        mut each: impl FnMut(u64, Option<Reason>, &EventRef<'_>, &mut Vec<u8>),
    ) -> Result<(), S3SinkError> {
        let (index, offset) = match self.within {
            (frame, index, offset) if frame == first => (index, offset),
            _ => (0, 0),
        };
        let events = cut.form.events(&payload[offset..], count - index);
        for (position, event) in (first + u64::from(index)..).zip(events) {
            let event = event?;
            if position != self.run.start {
                continue;
            }
            each(position, cut.reason_of(position), &event, out);
            self.run.start += 1;
            let more = self.turn(&cut.runs, lost);
            if !more || self.run.start >= first + u64::from(count) {
                break;
            }
            if out.len() >= enough {
                // The body is what an event's encoding ends with.
                let end = event.body.as_ptr_range().end as usize - payload.as_ptr() as usize;
                self.within = (first, (position + 1 - first) as u32, end);
                break;
            }
        }
        Ok(())
    }
}

/// One line of an object of dead letters.
pub(crate) fn encode_dead(
    position: u64,
    reason: Option<Reason>,
    event: &EventRef<'_>,
    arrival_ms: i64,
    out: &mut Vec<u8>,
) {
    dead_letters::write(position, reason.map_or("unknown", Reason::name), &event.arrived(arrival_ms), out);
}
