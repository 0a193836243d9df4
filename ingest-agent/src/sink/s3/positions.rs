//! The set of positions that sealed cuts hold: a watermark, and a bitmap of what lies above it.
//!
//! Many partitions that seal at different times leave a gap for nearly every event, so runs would take
//! megabytes where one bit a position does: the set grows with the span between the oldest
//! open event and the newest sealed one, one bit each, and whole blocks of 4,096 shrink to nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use super::runs::Runs;

/// Which positions are held. Everything below the watermark is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PositionSet {
    watermark: u64,
    /// By index of the block; an absent block holds nothing, none lies below the watermark's.
    blocks: BTreeMap<u64, Block>,
}

const BLOCK: u64 = 4096;
const WORDS: usize = BLOCK as usize / 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Block {
    Full,
    Some(Box<[u64; WORDS]>),
}

impl PositionSet {
    /// A set that holds everything below `watermark`, and nothing else.
    pub(crate) fn new(watermark: u64) -> Self {
        Self { watermark, blocks: BTreeMap::new() }
    }

    /// The lowest position that is not held.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// One past the highest position that is held.
    pub(crate) fn end(&self) -> u64 {
        let highest = |words: &[u64; WORDS]| (0..BLOCK).rev().find(|&bit| is_set(words, bit));
        let end = self.blocks.last_key_value().and_then(|(index, block)| match block {
            Block::Full => Some((index + 1) * BLOCK),
            Block::Some(words) => highest(words).map(|bit| index * BLOCK + bit + 1),
        });
        self.watermark.max(end.unwrap_or_default())
    }

    /// Adds adjacent positions.
    pub(crate) fn insert(&mut self, run: Range<u64>) {
        let mut start = run.start.max(self.watermark);
        if start == self.watermark && start < run.end {
            self.watermark = run.end;
            self.settle();
        } else {
            while start < run.end {
                let index = start / BLOCK;
                let end = run.end.min((index + 1) * BLOCK);
                let block = self.blocks.entry(index).or_insert_with(Block::empty);
                block.fill(start % BLOCK, end - index * BLOCK);
                start = end;
            }
        }
    }

    /// Whether `position` is held.
    pub(crate) fn contains(&self, position: u64) -> bool {
        self.next_absent(position) != position
    }

    /// The lowest position from `from` on that is not held.
    pub(crate) fn next_absent(&self, from: u64) -> u64 {
        let mut at = from.max(self.watermark);
        loop {
            let index = at / BLOCK;
            let absent = match self.blocks.get(&index) {
                None => return at,
                Some(Block::Full) => BLOCK,
                Some(Block::Some(words)) => first_clear(words, at % BLOCK),
            };
            at = index * BLOCK + absent;
            if absent < BLOCK {
                return at;
            }
        }
    }

    /// What is held above the watermark.
    pub(crate) fn above(&self) -> Runs {
        let mut runs = Runs::default();
        for (&index, block) in &self.blocks {
            let base = index * BLOCK;
            match block {
                Block::Full => runs.push_run(self.watermark.max(base)..base + BLOCK),
                Block::Some(words) => {
                    let low = self.watermark.saturating_sub(base);
                    (low..BLOCK).filter(|&bit| is_set(words, bit)).for_each(|bit| runs.push(base + bit));
                }
            }
        }
        runs
    }

    /// About how many bytes of memory it holds.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let block = |block: &Block| if *block == Block::Full { 32 } else { 32 + BLOCK / 8 };
        self.blocks.values().map(block).sum()
    }

    /// Raises the watermark over what is held, and forgets the blocks below it.
    fn settle(&mut self) {
        self.watermark = self.next_absent(self.watermark);
        while let Some(entry) = self.blocks.first_entry()
            && *entry.key() < self.watermark / BLOCK
        {
            entry.remove();
        }
        // One form for one set: bits below the watermark say nothing, so they are clear.
        let index = self.watermark / BLOCK;
        if let Some(Block::Some(words)) = self.blocks.get_mut(&index) {
            clear_below(words, self.watermark % BLOCK);
            if words.iter().all(|&word| word == 0) {
                self.blocks.remove(&index);
            }
        }
    }
}

impl Block {
    fn empty() -> Self {
        Self::Some(Box::new([0; WORDS]))
    }

    fn fill(&mut self, start: u64, end: u64) {
        let Self::Some(words) = self else { return };
        // Most runs are one position: a look at every word would be what sealing costs.
        for index in start / 64..end.div_ceil(64) {
            let base = index * 64;
            let (low, high) = (start.max(base), end.min(base + 64));
            words[index as usize] |= (u64::MAX >> (64 - (high - low))) << (low - base);
        }
        if words.iter().all(|&word| word == u64::MAX) {
            *self = Self::Full;
        }
    }
}

fn is_set(words: &[u64; WORDS], bit: u64) -> bool {
    words[bit as usize / 64] >> (bit % 64) & 1 == 1
}

fn clear_below(words: &mut [u64; WORDS], bit: u64) {
    let word = bit as usize / 64;
    words[..word].fill(0);
    words[word] &= u64::MAX << (bit % 64);
}

/// The first bit from `from` on that is not set; `BLOCK` if there is none.
fn first_clear(words: &[u64; WORDS], from: u64) -> u64 {
    let first = from as usize / 64;
    for (index, &word) in words.iter().enumerate().skip(first) {
        let below = if index == first { (1u64 << (from % 64)) - 1 } else { 0 };
        let clear = !(word | below);
        if clear != 0 {
            return index as u64 * 64 + u64::from(clear.trailing_zeros());
        }
    }
    BLOCK
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn it_is_the_set_of_what_was_inserted(
            origin in 0u64..10_000,
            runs in prop::collection::vec((0u64..20_000, prop_oneof![1u64..4, 1u64..9000]), 0..16),
            probes in prop::collection::vec(0u64..40_000, 6),
        ) {
            let mut set = PositionSet::new(origin);
            let mut model: BTreeSet<u64> = (0..origin).collect();
            for (start, length) in runs {
                set.insert(start..start + length);
                model.extend(start..start + length);
                let absent = |from| (from..100_000).find(|position| !model.contains(position)).unwrap();
                prop_assert_eq!(set.watermark(), absent(0));
                prop_assert_eq!(set.end(), model.last().map_or(0, |last| last + 1));
                for &probe in &probes {
                    prop_assert_eq!(set.contains(probe), model.contains(&probe));
                    prop_assert_eq!(set.next_absent(probe), absent(probe).max(set.watermark()));
                }
                let above: Vec<u64> = set.above().iter().flatten().collect();
                prop_assert_eq!(above, model.range(set.watermark()..).copied().collect::<Vec<_>>());
                let mut again = PositionSet::new(set.watermark());
                set.above().iter().for_each(|run| again.insert(run));
                prop_assert_eq!(&again, &set);
            }
        }
    }

    #[test]
    fn a_gap_for_every_second_event_takes_a_bit_a_position() {
        let mut set = PositionSet::new(0);
        (0..500_000).for_each(|index| set.insert(2 * index + 1..2 * index + 2));
        assert!(set.heap_bytes() < 1_000_000 / 8 * 5 / 4, "{}", set.heap_bytes());
        (0..500_000).for_each(|index| set.insert(2 * index..2 * index + 1));
        assert_eq!((set.watermark(), set.heap_bytes()), (1_000_000, 0));
    }
}
