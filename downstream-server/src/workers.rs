//! The workers: claim what is due, fetch it, hand it over, enter the outcome.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::ObjectKey;
use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::clock::now_ms;
use crate::config::{FetchConfig, RetryConfig};
use crate::fetch::{Content, FetchError, Stores, Verdict};
use crate::handler::{Delivery, Effect, Handler, HandlerError, NoEffect};
use crate::inbox::{Claim, Finished, Inbox, InboxError, Next, Report};
use crate::live::Live;
use crate::telemetry::Metrics;

/// Wait before the inbox is asked again after it failed.
const INBOX_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait before the inbox is asked again what is due.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the workers work with; shared by all attempts.
pub(crate) struct Workers {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stores: Stores,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) fetch: FetchConfig,
    pub(crate) retry: RetryConfig,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Workers {
    /// Works until `shutdown`, then waits `patience` for running attempts, and gives the others
    /// back uncounted.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken, patience: Duration) {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        let mut renewal = tokio::time::interval(self.inbox.renewal());
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let free = self.fetch.concurrency - running.len();
            let mut next_due_ms = None;
            if free > 0 {
                match self.inbox.claim(free, now_ms()).await {
                    Ok(claimed) => {
                        next_due_ms = claimed.next_due_ms;
                        for claim in claimed.claims {
                            running.spawn(self.clone().work(claim, stop.clone()));
                        }
                    }
                    Err(InboxError::Closed | InboxError::Poisoned(_)) => break,
                    Err(error) => {
                        tracing::error!(%error, "claiming objects");
                        next_due_ms = Some(now_ms() + INBOX_PAUSE.as_millis() as i64);
                    }
                }
            }
            if let Some(poll) = self.inbox.poll() {
                let poll_ms = now_ms() + poll.as_millis() as i64;
                next_due_ms = Some(next_due_ms.map_or(poll_ms, |due_ms| due_ms.min(poll_ms)));
            }
            let full = running.len() == self.fetch.concurrency;
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = running.join_next(), if !running.is_empty() => {}
                () = self.inbox.owed(), if !full => {}
                () = due(next_due_ms), if !full => {}
                _ = renewal.tick(), if !running.is_empty() => self.renew().await,
            }
        }
        let rest = async {
            loop {
                tokio::select! {
                    ended = running.join_next() => if ended.is_none() { break },
                    _ = renewal.tick() => self.renew().await,
                }
            }
        };
        if tokio::time::timeout(patience, rest).await.is_err() {
            tracing::warn!(attempts = running.len(), "giving running attempts back to the inbox");
            stop.cancel();
            while running.join_next().await.is_some() {}
        }
    }

    async fn renew(&self) {
        if let Err(error) = self.inbox.renew(now_ms()).await {
            tracing::warn!(%error, "saying that the running attempts go on");
        }
    }

    /// Makes one attempt and enters how it ended. A panic of the handler is a failure like others.
    async fn work(self: Arc<Self>, claim: Claim, stop: CancellationToken) {
        let span = tracing::info_span!(
            "object",
            notice_id = claim.notice_id,
            bucket = claim.place().bucket,
            key = claim.place().key,
            cut = ObjectKey::cut_of(&claim.place().key).map(tracing::field::display)
        );
        async {
            let started = Instant::now();
            let ended = tokio::select! {
                ended = AssertUnwindSafe(self.attempt(&claim)).catch_unwind() => {
                    ended.unwrap_or_else(|panic| Err(AttemptError::Panicked(words(&*panic))))
                }
                () = stop.cancelled() => {
                    if let Err(error) = self.inbox.release(&claim).await {
                        tracing::error!(%error, "giving the attempt back; the next start will count it");
                    }
                    return;
                }
            };
            self.metrics.attempt_seconds.observe(started.elapsed().as_secs_f64());
            if let Err(error) = ended {
                self.failed(&claim, &error, &stop).await;
            }
        }
        .instrument(span)
        .await;
    }

    async fn attempt(&self, claim: &Claim) -> Result<(), AttemptError> {
        if claim.attempt - claim.deferrals > self.retry.attempts {
            return Err(AttemptError::Exhausted(self.retry.attempts));
        }
        let place = claim.place();
        let store = self
            .stores
            .get(&place.bucket)
            .ok_or_else(|| HandlerError::from(FetchError::Bucket(place.bucket.clone())))?;
        let mut content =
            Content::open(store.clone(), place, &self.fetch).await.map_err(HandlerError::from)?;
        content.expect_etag(claim.etag.as_deref()).map_err(HandlerError::from)?;
        if content.is_control() {
            tracing::debug!("an object of an agent's own is nothing to hand over");
            while content.next().await.map_err(HandlerError::from)?.is_some() {}
            let report = Report { events: 0, ..Report::of(&content, now_ms()) };
            return self.finish(claim, content, report, Box::new(NoEffect)).await;
        }
        let delivery = Delivery {
            id: content.identity().as_str().to_owned(),
            attempt: claim.attempt,
            notice_id: claim.notice_id.clone(),
            bucket: place.bucket.clone(),
            key: place.key.clone(),
            version_id: content.info().version_id.clone(),
            metadata: content.metadata().cloned(),
        };
        let effect = self.handler.handle(&delivery, &mut content).await?;
        // A handler may stop early; nothing is done before the whole is checked.
        while content.next().await.map_err(HandlerError::from)?.is_some() {}
        let report = Report::of(&content, now_ms());
        self.finish(claim, content, report, effect).await
    }

    async fn finish(
        &self,
        claim: &Claim,
        content: Content,
        report: Report,
        effect: Box<dyn Effect>,
    ) -> Result<(), AttemptError> {
        let (events, bytes) = (report.events, report.bytes);
        let outcome = match self.inbox.finish(claim, report, effect).await? {
            Finished::Done => {
                let lag_ms = u64::try_from(now_ms() - claim.since_ms).unwrap_or_default();
                tracing::info!(attempt = claim.attempt, events, bytes, lag_ms, "the object is done");
                self.metrics.events.inc_by(events);
                self.metrics.stored_bytes.inc_by(bytes);
                self.metrics.decoded_bytes.inc_by(content.decoded_bytes());
                self.metrics.lag_seconds.observe(Duration::from_millis(lag_ms).as_secs_f64());
                if !content.is_control() {
                    self.live.arrived(claim.id, lag_ms, &content);
                }
                "done"
            }
            Finished::Repeat => {
                tracing::info!("the object was done before; nothing was applied");
                "repeat"
            }
            Finished::Lost => {
                tracing::warn!(
                    "the attempt took longer than its lease, and another has begun; nothing was applied"
                );
                "lost"
            }
        };
        self.metrics.attempts.get_or_create(&[("outcome", outcome)]).inc();
        Ok(())
    }

    async fn failed(&self, claim: &Claim, error: &AttemptError, stop: &CancellationToken) {
        let (next, outcome) = self.next(claim, error);
        let text = with_causes(error);
        match next {
            Next::At(due_ms) | Next::Later(due_ms) => {
                let wait_ms = due_ms - now_ms();
                tracing::warn!(
                    attempt = claim.attempt,
                    error = text,
                    wait_ms,
                    "the attempt failed; it is tried again"
                );
            }
            Next::Dead => {
                tracing::error!(attempt = claim.attempt, error = text, "the object is a dead letter");
            }
            Next::Gone => {
                tracing::warn!(attempt = claim.attempt, error = text, "the store holds the object no more");
            }
        }
        self.metrics.attempts.get_or_create(&[("outcome", outcome)]).inc();
        self.enter_failed(claim, &text, next, stop).await;
    }

    /// Asks the inbox until it takes the failure: an object left as being fetched would not be
    /// tried again before a restart.
    async fn enter_failed(&self, claim: &Claim, text: &str, next: Next, stop: &CancellationToken) {
        while let Err(error) = self.inbox.fail(claim, text.to_owned(), next, now_ms()).await {
            let over = matches!(error, InboxError::Closed | InboxError::Poisoned(_));
            if over || stop.is_cancelled() {
                tracing::error!(%error, "entering the failed attempt; the next start will count it");
                return;
            }
            tracing::error!(%error, "entering the failed attempt; it is entered later");
            tokio::select! {
                () = tokio::time::sleep(INBOX_PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn next(&self, claim: &Claim, error: &AttemptError) -> (Next, &'static str) {
        let backoff = self.backoff(claim.attempt);
        let after = |wait: Duration| now_ms() + wait.as_millis() as i64;
        let verdict = match error {
            // Whoever has the whole object and does not want it will not want it elsewhere.
            AttemptError::Exhausted(_) | AttemptError::Handler(HandlerError::Never(_)) => {
                return (Next::Dead, "dead");
            }
            AttemptError::Handler(HandlerError::Later { after: asked, .. }) => {
                let asked = asked.unwrap_or_default().min(self.retry.max_retry_after);
                return (Next::Later(after(backoff.max(asked))), "later");
            }
            AttemptError::Handler(HandlerError::Fetch(error)) => error.verdict(),
            AttemptError::Handler(HandlerError::Retry(_))
            | AttemptError::Inbox(_)
            | AttemptError::Panicked(_) => Verdict::Retry,
        };
        let again = Next::At(after(backoff));
        let counted = claim.attempt - claim.deferrals;
        // Each place is tried at least once before "never" and "missing" are believed.
        let untried = (claim.attempt as usize) < claim.places.len();
        match verdict {
            Verdict::Later => (Next::Later(after(backoff)), "later"),
            Verdict::Retry if counted < self.retry.attempts => (again, "retry"),
            Verdict::Missing if untried || counted < self.retry.missing_attempts => (again, "missing"),
            Verdict::Never if untried => (again, "retry"),
            Verdict::Missing | Verdict::Overwritten => (Next::Gone, "gone"),
            Verdict::Retry | Verdict::Never => (Next::Dead, "dead"),
        }
    }

    /// Doubles from the base to the maximum, less a random half, so that what failed together
    /// does not come back together.
    fn backoff(&self, attempt: u32) -> Duration {
        let whole = self.retry.base.saturating_mul(1 << (attempt - 1).min(20)).min(self.retry.max);
        whole.mul_f64(0.5 + 0.5 * random())
    }
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Handler(#[from] HandlerError),
    #[error(transparent)]
    Inbox(#[from] InboxError),
    #[error("the handler panicked: {0}")]
    Panicked(String),
    #[error("{0} attempts were counted, the last of them ended with the server")]
    Exhausted(u32),
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

async fn due(at_ms: Option<i64>) {
    match at_ms {
        Some(at_ms) => {
            let wait = u64::try_from(at_ms - now_ms()).unwrap_or_default();
            // Looked at again before that: the clock may have been set forward meanwhile.
            tokio::time::sleep(Duration::from_millis(wait).min(LOOK_AGAIN)).await;
        }
        None => std::future::pending().await,
    }
}

/// A number from 0 to 1; the standard library's hash keys are random enough for jitter.
fn random() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

/// An error with its causes, as far as its own text does not tell them.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
