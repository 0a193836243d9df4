//! The wall clock, which people and time servers set: forwards, and back.
//!
//! What is kept on a disk can only be told by it. Whoever waits uses the monotonic clock instead, or asks for no more than
//! the configuration allows from now; and whoever is alarmed by an [`Age`] is not silenced by a clock that was set back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How old the oldest of something is, of which the wall clock's time is kept.
///
/// While it is the same one that is the oldest it grows by what passes on the monotonic clock, whatever the wall clock
/// does meanwhile; and it is never negative.
#[derive(Debug, Default)]
pub struct Age(Mutex<Option<Seen>>);

/// The oldest one as it was first seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    since_ms: u64,
    age: Duration,
    at: Instant,
}

impl Age {
    /// How old that is which has been there since `since_ms`, in milliseconds since 1970; nothing, if there is none.
    pub fn of(&self, since_ms: Option<u64>) -> Duration {
        self.at(since_ms, now_ms(), Instant::now())
    }

    fn at(&self, since_ms: Option<u64>, now_ms: u64, now: Instant) -> Duration {
        let mut oldest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since_ms) = since_ms else {
            *oldest = None;
            return Duration::ZERO;
        };
        let age = Duration::from_millis(now_ms.saturating_sub(since_ms));
        match *oldest {
            Some(seen) if seen.since_ms == since_ms => {
                age.max(seen.age + now.saturating_duration_since(seen.at))
            }
            _ => {
                *oldest = Some(Seen { since_ms, age, at: now });
                age
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_grows_while_the_clock_is_set_back_and_is_never_negative() {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let (age, began) = (Age::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        let seconds = Duration::from_secs;
        let since = Some(10 * DAY_MS);
        assert_eq!(age.at(since, 10 * DAY_MS + 5_000, after(0)), seconds(5));
        assert_eq!(age.at(since, 8 * DAY_MS, after(10)), seconds(15), "set back by two days");
        assert_eq!(age.at(since, 10 * DAY_MS + 30_000, after(25)), seconds(30), "set right again");
        assert_eq!(
            age.at(Some(12 * DAY_MS), 10 * DAY_MS, after(30)),
            seconds(0),
            "another one, from the future"
        );
        assert_eq!(age.at(Some(12 * DAY_MS), 10 * DAY_MS, after(90)), seconds(60), "and it ages");
        assert_eq!(age.at(None, 10 * DAY_MS, after(91)), seconds(0));
        assert_eq!(
            age.at(Some(12 * DAY_MS), 10 * DAY_MS, after(92)),
            seconds(0),
            "what was gone begins anew"
        );
    }
}
