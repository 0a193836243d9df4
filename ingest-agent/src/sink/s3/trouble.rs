//! What keeps a piece of the sink's work from getting on: waited out, told at a rate, and an alarm.
//!
//! It is an alarm at once if time alone is not expected to help, and after `alarm_after` whatever it is: a state that
//! comes back for ever is one that somebody has to look at. The alarm is raised while any work is in such trouble.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::shared::Shared;
use crate::telemetry::SinkMetrics;

/// The least and the most between two lines of the log about the same work.
const LINES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// The trouble of one piece of work; none at first.
pub(crate) struct Trouble {
    metrics: Arc<SinkMetrics>,
    backoff: Backoff,
    alarm_after: Duration,
    since: Option<Instant>,
    raised: bool,
    /// When the next line is due, and how long after it the one after that.
    line: Option<(Instant, Duration)>,
}

impl Trouble {
    pub(crate) fn new(shared: &Shared) -> Self {
        Self::of(&shared.metrics, Backoff::new(shared.config.retry), shared.config.alarm_after)
    }

    fn of(metrics: &Arc<SinkMetrics>, backoff: Backoff, alarm_after: Duration) -> Self {
        let metrics = Arc::clone(metrics);
        Self { metrics, backoff, alarm_after, since: None, raised: false, line: None }
    }

    /// Waits before the next try. `alarm`: somebody has to act.
    pub(crate) async fn pause(&mut self, alarm: bool) {
        self.metrics.retries.inc();
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.raised && (alarm || since.elapsed() >= self.alarm_after) {
            self.raised = true;
            self.metrics.alarm.inc();
        }
        tokio::time::sleep(self.backoff.pause()).await;
    }

    /// Whether what has just happened is worth a line of the log: the first time, and then ever more rarely, but never
    /// more rarely than every ten minutes.
    pub(crate) fn is_worth_a_line(&mut self) -> bool {
        let now = Instant::now();
        let gap = match self.line {
            None => LINES.0,
            Some((due, gap)) if due <= now => (gap * 2).min(LINES.1),
            Some(_) => return false,
        };
        self.line = Some((now + gap, gap));
        true
    }

    /// The work got on.
    pub(crate) fn over(&mut self) {
        self.since = None;
        self.backoff.reset();
        if std::mem::take(&mut self.raised) {
            self.metrics.alarm.dec();
        }
    }
}

/// Work that ends, however it ends, is in no trouble.
impl Drop for Trouble {
    fn drop(&mut self) {
        self.over();
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::RetryConfig;
    use super::*;

    fn trouble(metrics: &Arc<SinkMetrics>) -> Trouble {
        let retry = RetryConfig { base: Duration::from_secs(1), max: Duration::from_secs(30) };
        Trouble::of(metrics, Backoff::new(retry), Duration::from_mins(5))
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_an_alarm_after_a_time_and_what_needs_somebody_at_once() {
        let metrics = Arc::<SinkMetrics>::default();
        let (mut passing, mut standing) = (trouble(&metrics), trouble(&metrics));
        passing.pause(false).await;
        assert_eq!(metrics.alarm.get(), 0);
        standing.pause(true).await;
        assert_eq!(metrics.alarm.get(), 1);
        let began = Instant::now();
        while metrics.alarm.get() == 1 {
            passing.pause(false).await;
        }
        let after = began.elapsed();
        assert!(Duration::from_mins(4) < after && after < Duration::from_mins(6), "{after:?}");
        standing.over();
        assert_eq!(metrics.alarm.get(), 1, "the other one still is");
        drop(passing);
        assert_eq!(metrics.alarm.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_repeats_for_ever_is_told_at_once_and_then_at_a_rate_that_never_ends() {
        let mut trouble = trouble(&Arc::default());
        let mut told = Vec::new();
        let began = Instant::now();
        while began.elapsed() < Duration::from_hours(3) {
            if trouble.is_worth_a_line() {
                told.push(began.elapsed().as_secs());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(told[..4], [0, 10, 30, 70]);
        assert!(told.len() < 25, "{told:?}");
        assert!(told.windows(2).all(|two| two[1] - two[0] <= 601), "{told:?}");
    }
}
