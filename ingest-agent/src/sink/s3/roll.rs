//! When an open cut is full, and when it has waited long enough: pure rules over what it holds.

use tokio::time::Instant;

use super::config::RollConfig;

/// What the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filling {
    /// Events in the cut.
    pub events: u64,
    /// Bytes of the object as far as they are made.
    pub bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
    /// When it was opened.
    pub opened: Instant,
    /// When its last event came.
    pub touched: Instant,
}

impl RollConfig {
    /// Whether `event_bytes` more would go beyond a limit of bytes, so that the cut must be sealed first.
    ///
    /// `known_bytes` says whether `bytes` grows by what is added, which without compression it does: then an
    /// object exceeds its limit only by an event that alone is larger.
    pub(crate) fn overflows(&self, filling: &Filling, event_bytes: u64, known_bytes: bool) -> bool {
        let over = |limit: Option<u64>, bytes: u64| limit.is_some_and(|limit| bytes + event_bytes > limit);
        filling.events > 0
            && (over(self.uncompressed_bytes, filling.uncompressed_bytes)
                || (known_bytes && over(self.bytes, filling.bytes)))
    }

    /// Whether it has reached a limit.
    pub(crate) fn is_full(&self, filling: &Filling) -> bool {
        let reached = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
        reached(self.events, filling.events)
            || reached(self.bytes, filling.bytes)
            || reached(self.uncompressed_bytes, filling.uncompressed_bytes)
    }

    /// When it is to be sealed if nothing more comes; `None` for never.
    pub(crate) fn due(&self, filling: &Filling) -> Option<Instant> {
        let age = self.age.and_then(|age| filling.opened.checked_add(age));
        let idle = self.idle.and_then(|idle| filling.touched.checked_add(idle));
        [age, idle].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NONE: RollConfig =
        RollConfig { bytes: None, uncompressed_bytes: None, events: None, age: None, idle: None };

    fn filling(events: u64, bytes: u64, uncompressed_bytes: u64) -> Filling {
        let now = Instant::now();
        Filling { events, bytes, uncompressed_bytes, opened: now, touched: now }
    }

    #[test]
    fn an_object_exceeds_its_size_only_by_an_event_that_alone_is_larger() {
        let roll = RollConfig { bytes: Some(100), ..NONE };
        assert!(!roll.overflows(&filling(1, 60, 60), 40, true));
        assert!(roll.overflows(&filling(1, 60, 60), 41, true));
        assert!(!roll.overflows(&filling(0, 0, 0), 500, true), "an empty cut takes any event");
        assert!(!roll.overflows(&filling(1, 60, 600), 500, false), "compressed, nobody knows yet");
        let roll = RollConfig { uncompressed_bytes: Some(100), ..NONE };
        assert!(roll.overflows(&filling(1, 10, 60), 41, false));
    }

    #[test]
    fn each_limit_fills_a_cut_and_an_absent_one_never_does() {
        let almost = filling(9, 99, 999);
        for roll in [
            RollConfig { events: Some(9), ..NONE },
            RollConfig { bytes: Some(99), ..NONE },
            RollConfig { uncompressed_bytes: Some(999), ..NONE },
        ] {
            assert!(roll.is_full(&almost));
            assert!(!roll.is_full(&filling(8, 98, 998)));
        }
        assert!(!NONE.is_full(&filling(u64::MAX, u64::MAX, u64::MAX)));
    }

    #[test]
    fn age_counts_from_the_first_event_and_idle_from_the_last() {
        let (age, idle) = (Duration::from_secs(60), Duration::from_secs(7));
        let mut filling = filling(1, 1, 1);
        let opened = filling.opened;
        filling.touched += Duration::from_secs(20);
        let due = |age, idle| RollConfig { age, idle, ..NONE }.due(&filling).map(|due| due - opened);
        assert_eq!(due(Some(age), None), Some(age));
        assert_eq!(due(None, Some(idle)), Some(Duration::from_secs(27)));
        assert_eq!(due(Some(age), Some(idle)), Some(Duration::from_secs(27)));
        assert_eq!(due(None, None), None);
    }
}
