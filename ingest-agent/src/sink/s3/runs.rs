//! Positions in ascending order as runs, two bytes a run: what an open cut remembers and a sealed one records.
//!
//! Encoded: the number of runs, then for each the gap since the end of the one before (for the first: since 0) and the
//! length, all as numbers. One partition among many gets a run for nearly every event, so a run must be small.

use std::ops::Range;

use super::wire::{Malformed, Take, put_number};

/// An ascending sequence of positions. Appending is the only change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// All runs but the last.
    packed: Vec<u8>,
    /// How many runs are packed.
    packed_count: u64,
    /// One past the last packed position.
    packed_end: u64,
    /// The last run, which may still grow.
    last: Range<u64>,
    first: u64,
    count: u64,
}

/// Where an iteration over some [`Runs`] stands; it borrows nothing, so that it can live beside them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunsPlace {
    at: usize,
    end: u64,
    last_given: bool,
}

impl Runs {
    /// Adds one position.
    ///
    /// # Panics
    /// If it is not beyond every position that is there already.
    #[inline]
    pub(crate) fn push(&mut self, position: u64) {
        self.push_run(position..position + 1);
    }

    /// Adds adjacent positions.
    ///
    /// # Panics
    /// If they are not beyond every position that is there already.
    #[inline]
    pub(crate) fn push_run(&mut self, run: Range<u64>) {
        if run.is_empty() {
            return;
        }
        if self.count == 0 {
            self.first = run.start;
        } else if run.start == self.last.end {
            self.last.end = run.end;
            self.count += run.end - run.start;
            return;
        } else {
            assert!(run.start > self.last.end, "positions of a cut are taken in order");
            self.pack_last();
        }
        self.count += run.end - run.start;
        self.last = run;
    }

    /// How many positions.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The lowest position; 0 if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The highest position; 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        self.last.end.saturating_sub(1)
    }

    /// The runs in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut place = RunsPlace::default();
        std::iter::from_fn(move || place.next(self))
    }

    /// Bytes of memory that it holds.
    pub(crate) fn heap_bytes(&self) -> u64 {
        self.packed.capacity() as u64
    }

    /// Bytes of memory that it fills.
    pub(crate) fn packed_bytes(&self) -> u64 {
        self.packed.len() as u64
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let runs = self.packed_count + u64::from(self.count > 0);
        put_number(out, runs);
        out.extend_from_slice(&self.packed);
        if runs > 0 {
            put_number(out, self.last.start - self.packed_end);
            put_number(out, self.last.end - self.last.start);
        }
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let mut runs = Self::default();
        let mut end = 0u64;
        for index in 0..take.number()? {
            let gap = take.number()?;
            let start = end.checked_add(gap).ok_or(Malformed("a run of positions"))?;
            end = start.checked_add(take.number()?).ok_or(Malformed("a run of positions"))?;
            if start == end || (index > 0 && gap == 0) {
                return Err(Malformed("a run of positions"));
            }
            runs.push_run(start..end);
        }
        Ok(runs)
    }

    fn pack_last(&mut self) {
        put_number(&mut self.packed, self.last.start - self.packed_end);
        put_number(&mut self.packed, self.last.end - self.last.start);
        self.packed_end = self.last.end;
        self.packed_count += 1;
    }
}

impl FromIterator<Range<u64>> for Runs {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut runs = Self::default();
        ranges.into_iter().for_each(|run| runs.push_run(run));
        runs
    }
}

impl RunsPlace {
    /// The next run of `runs`, which must be the same at every call.
    pub(crate) fn next(&mut self, runs: &Runs) -> Option<Range<u64>> {
        if self.at < runs.packed.len() {
            let mut take = Take::new(&runs.packed[self.at..]);
            let mut number = || take.number().expect("packed by this module");
            let start = self.end + number();
            let end = start + number();
            self.at = runs.packed.len() - take.left();
            self.end = end;
            Some(start..end)
        } else if !self.last_given && runs.count > 0 {
            self.last_given = true;
            Some(runs.last.clone())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ascending() -> impl Strategy<Value = Vec<u64>> {
        (0u64..1000, prop::collection::vec(prop_oneof![3 => Just(1u64), 1 => 2u64..100_000], 0..200))
            .prop_map(|(start, steps)| {
                let mut at = start;
                let next = |step| {
                    at += step;
                    at - step
                };
                steps.into_iter().map(next).collect()
            })
    }

    proptest! {
        #[test]
        fn runs_are_the_positions_that_were_pushed_and_read_back_from_their_bytes(positions in ascending()) {
            let mut runs = Runs::default();
            for &position in &positions {
                runs.push(position);
            }
            prop_assert_eq!(runs.iter().flatten().collect::<Vec<_>>(), positions.clone());
            prop_assert_eq!(runs.count(), positions.len() as u64);
            if let (Some(first), Some(last)) = (positions.first(), positions.last()) {
                prop_assert_eq!((runs.first(), runs.last()), (*first, *last));
            }
            let mut bytes = Vec::new();
            runs.encode(&mut bytes);
            let mut take = Take::new(&bytes);
            prop_assert_eq!(Runs::decode(&mut take), Ok(runs));
            prop_assert_eq!(take.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Runs::decode(&mut Take::new(&bytes));
        }
    }

    #[test]
    fn a_run_that_is_one_of_many_takes_two_bytes() {
        let runs: Runs = (0..1000).map(|index| index * 50..index * 50 + 1).collect();
        let mut bytes = Vec::new();
        runs.encode(&mut bytes);
        assert!(bytes.len() <= 2 * 1000 + 2, "{}", bytes.len());
    }
}
