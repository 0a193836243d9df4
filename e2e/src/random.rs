//! Random numbers that can be had again: the same seed gives the same numbers.

use std::time::Duration;

/// SplitMix64: small, and good enough to choose faults by.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed; `stream` keeps several of one seed apart.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed) ^ mix(!stream))
    }

    /// Another one of the same beginning, kept apart from this one and its other streams.
    #[must_use]
    pub fn stream(&self, stream: u64) -> Self {
        Self(mix(self.0) ^ mix(!stream))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One of so many, at least two; the first as often as all others together.
    pub fn first_or_other(&mut self, count: usize) -> usize {
        let others = count as u64 - 1;
        self.below(others * 2).saturating_sub(others - 1) as usize
    }

    /// Whether something happens that happens `times` times in a thousand.
    pub fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// A time of at most `longest`.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.below(longest.as_micros() as u64 + 1))
    }
}

/// Spreads a number over all 64 bits.
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What `SLUICEGATE_SEED` says, else one of the clock; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed =
        std::env::var("SLUICEGATE_SEED").ok().map(|text| text.parse().expect("SLUICEGATE_SEED is a number"));
    let clock = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        mix(now.map_or(0, |now| now.as_nanos() as u64)) % 1_000_000
    };
    let seed = seed.unwrap_or_else(clock);
    println!("SLUICEGATE_SEED={seed}");
    seed
}
