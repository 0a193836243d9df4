//! A set of positions, kept as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// Positions, each in it once, however often it was inserted.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// Start to end; never touching one another.
    ranges: BTreeMap<u64, u64>,
    /// Positions that were forgotten after they were counted.
    forgotten: u64,
}

// === impl Ranges ===

impl Ranges {
    pub(crate) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    /// Counts what lies below `position` for good, and keeps it no longer.
    pub(crate) fn forget_below(&mut self, position: u64) {
        let kept = self.ranges.split_off(&position);
        for (start, end) in std::mem::replace(&mut self.ranges, kept) {
            self.forgotten += end.min(position) - start;
            if end > position {
                self.insert(position..end);
            }
        }
    }

    /// How many positions were ever inserted.
    pub(crate) fn total(&self) -> u64 {
        self.forgotten + self.ranges.iter().map(|(start, end)| end - start).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_position_counts_once() {
        let mut ranges = Ranges::default();
        for range in [5..10, 20..30, 8..12, 12..14, 5..10, 3..4, 14..20] {
            ranges.insert(range);
        }
        assert_eq!(ranges.total(), 1 + 25);
        assert_eq!(ranges.ranges, BTreeMap::from([(3, 4), (5, 30)]));
        ranges.forget_below(10);
        assert_eq!(ranges.ranges, BTreeMap::from([(10, 30)]));
        assert_eq!(ranges.total(), 26);
    }
}
