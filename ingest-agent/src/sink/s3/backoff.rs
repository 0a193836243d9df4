//! Pauses between tries, with jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::config::RetryConfig;

/// How often something was tried.
#[derive(Debug)]
pub(crate) struct Backoff {
    config: RetryConfig,
    tries: u32,
    random: RandomState,
}

impl Backoff {
    /// No try yet.
    pub(crate) fn new(config: RetryConfig) -> Self {
        Self { config, tries: 0, random: RandomState::new() }
    }

    /// Forgets the tries: something went well.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// How long to wait before the next try.
    pub(crate) fn pause(&mut self) -> Duration {
        let doubled = self.config.base.saturating_mul(1 << self.tries.min(20));
        self.tries = self.tries.saturating_add(1);
        // Between half and all of it, so that many sinks do not come back at the same moment.
        let share = 0.5 + (self.random.hash_one(self.tries) >> 11) as f64 / (1u64 << 54) as f64;
        doubled.min(self.config.max).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_lose_at_most_half() {
        let config = RetryConfig { base: Duration::from_millis(100), max: Duration::from_secs(3) };
        let mut backoff = Backoff::new(config);
        for expected in [100, 200, 400, 800, 1600, 3000, 3000] {
            let (pause, expected) = (backoff.pause(), Duration::from_millis(expected));
            assert!(expected / 2 <= pause && pause <= expected, "{pause:?} of {expected:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= config.base);
    }
}
