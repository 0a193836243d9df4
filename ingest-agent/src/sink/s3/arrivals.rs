//! When the oldest event that is not settled arrived, for the metrics.
//!
//! The sink is done with positions in any order, and asks the channel for an old one only at the cost of a segment. So it
//! notes arrivals while it reads, coarsely: one a [`step`](Arrivals::step), which doubles where a long backlog would
//! make too many. What is told is therefore older than the truth by a step at most; what waits unread is as old as
//! it was seen to wait.

use std::collections::VecDeque;

/// Arrivals noted at most; 16 bytes each.
const MOST: usize = 1024;

/// Arrivals by position, both rising.
#[derive(Debug)]
pub(crate) struct Arrivals {
    noted: VecDeque<(u64, u64)>,
    /// Arrivals that are closer than this, in milliseconds, are taken for one.
    step: u64,
}

impl Arrivals {
    /// None noted.
    pub(crate) fn new() -> Self {
        Self { noted: VecDeque::new(), step: 1000 }
    }

    /// Nothing is waited for.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// What is at `position`, and perhaps more behind it, arrived at `arrival_ms`.
    pub(crate) fn note(&mut self, position: u64, arrival_ms: u64) {
        if self
            .noted
            .back()
            .is_some_and(|&(last, at)| position <= last || arrival_ms.abs_diff(at) < self.step)
        {
            return;
        }
        if self.noted.len() == MOST {
            self.step *= 2;
            let mut keep = false;
            self.noted.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.noted.push_back((position, arrival_ms));
    }

    /// When the event at `settled` arrived, below which all is done with. The sink has read as far as `read`.
    pub(crate) fn at(&mut self, settled: u64, read: u64, now_ms: u64) -> u64 {
        if settled >= read {
            // Nothing that was read is waited for. What is noted for `settled` itself stays.
            self.noted.retain(|&(position, _)| position == settled);
        }
        while self.noted.get(1).is_some_and(|&(position, _)| position <= settled) {
            self.noted.pop_front();
        }
        if self.noted.is_empty() {
            self.clear();
            self.note(settled, now_ms);
        }
        self.noted.front().map_or(now_ms, |&(_, arrival_ms)| arrival_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unsettled_arrival_is_told_and_follows_what_is_settled() {
        let mut arrivals = Arrivals::new();
        arrivals.note(0, 10_000);
        arrivals.note(5, 10_400);
        arrivals.note(9, 12_000);
        assert_eq!(arrivals.at(0, 20, 99_000), 10_000);
        assert_eq!(arrivals.at(8, 20, 99_000), 10_000, "never younger than the truth");
        assert_eq!(arrivals.at(9, 20, 99_000), 12_000);
        assert_eq!(arrivals.at(15, 20, 99_000), 12_000);
    }

    #[test]
    fn what_waits_unread_is_as_old_as_it_was_seen_to_wait() {
        let mut arrivals = Arrivals::new();
        arrivals.note(0, 10_000);
        assert_eq!(arrivals.at(20, 20, 70_000), 70_000, "what is settled has no say");
        assert_eq!(arrivals.at(20, 20, 90_000), 70_000, "and it ages");
        arrivals.note(20, 69_900);
        assert_eq!(arrivals.at(20, 21, 95_000), 70_000);
    }

    #[test]
    fn a_long_backlog_takes_bounded_memory_and_stays_true_to_a_step() {
        let mut arrivals = Arrivals::new();
        for second in 0..100_000 {
            arrivals.note(second, second * 1000);
        }
        assert!(arrivals.noted.len() <= MOST, "{}", arrivals.noted.len());
        for settled in [0, 1, 777, 50_000, 99_999] {
            let (told, truth) = (arrivals.at(settled, 100_000, 0), settled * 1000);
            assert!(told <= truth && truth - told <= arrivals.step, "{settled}: {told}");
        }
    }
}
