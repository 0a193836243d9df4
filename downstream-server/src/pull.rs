//! Pull mode: notices that this server fetches itself, straight from the SQS queue that S3 (or SNS,
//! or EventBridge) writes to, without a function or an open port in between.
//!
//! A message leaves the queue only when all that it tells of is synced in the inbox, or, if so
//! configured, when its objects are done (I8). Until then its visibility is prolonged, so that no
//! other server gets it meanwhile. What cannot be taken stays: the queue's redrive policy counts
//! how often it came and moves it to the dead-letter queue.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use contract::Notice;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::config::{DeleteWhen, PullConfig};
use crate::inbox::{Inbox, InboxError, Origin, State, Taken};
use crate::telemetry::Metrics;
use crate::workers::with_causes;
use queue::Message;
pub(crate) use queue::Queue;

/// Messages that one request brings at most; SQS gives no more.
const BATCH: usize = 10;

/// Wait before the next request after one failed.
const PAUSE: Duration = Duration::from_secs(2);

/// Wait before the inbox is asked again.
const LOOK: Duration = Duration::from_millis(200);

/// What pulls, and into what.
pub(crate) struct Puller {
    pub(crate) queue: Queue,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) buckets: Vec<String>,
    pub(crate) config: PullConfig,
    pub(crate) metrics: Arc<Metrics>,
}

impl Puller {
    /// Pulls until `shutdown`; messages that are not through by then come again.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let batches = Arc::new(Semaphore::new(self.config.in_flight.div_ceil(BATCH)));
        let mut running = JoinSet::new();
        loop {
            while running.try_join_next().is_some() {}
            let received = async {
                let permit = batches.clone().acquire_owned().await.expect("the semaphore is never closed");
                (permit, self.queue.receive(BATCH, self.config.visibility).await)
            };
            let (permit, received) = tokio::select! {
                () = shutdown.cancelled() => break,
                received = received => received,
            };
            match received {
                Ok(messages) if messages.is_empty() => {}
                Ok(messages) => {
                    let (puller, shutdown) = (self.clone(), shutdown.clone());
                    running.spawn(async move {
                        puller.handle(messages, &shutdown).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    self.metrics.pull_errors.inc();
                    tracing::warn!(error = with_causes(&error), "receiving from the queue");
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// Takes messages in and deletes those of which nothing is left to do.
    async fn handle(&self, messages: Vec<Message>, shutdown: &CancellationToken) {
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt.clone()).collect();
        let work = join_all(messages.into_iter().map(|message| async move {
            let through = self.take(&message).await;
            through.then_some(message.receipt)
        }));
        let mut work = std::pin::pin!(work);
        let beat = self.config.visibility / 3;
        let through = loop {
            tokio::select! {
                through = &mut work => break through,
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(beat) => {
                    self.metrics.pull_prolonged.inc_by(receipts.len() as u64);
                    if let Err(error) = self.queue.prolong(&receipts, self.config.visibility).await {
                        tracing::warn!(error = with_causes(&error), "keeping messages from other servers");
                    }
                }
            }
        };
        let through: Vec<String> = through.into_iter().flatten().collect();
        if let Err(error) = self.queue.delete(&through).await {
            // They come again, and are repeats then.
            self.metrics.pull_errors.inc();
            tracing::warn!(error = with_causes(&error), "deleting messages from the queue");
        }
    }

    /// Takes one message in. Says whether it may be forgotten.
    async fn take(&self, message: &Message) -> bool {
        let refused = |reason: String| self.refuse(message, &reason);
        let event = match s3_event::read_body(&message.body) {
            Ok(event) => event,
            Err(error) => return refused(with_causes(&error)),
        };
        let mut through = true;
        for record in event.records {
            through &= match record {
                Ok(notice) if !self.buckets.contains(&notice.bucket) => {
                    refused(format!("notices of bucket {:?} are not taken here", notice.bucket))
                }
                Ok(notice) => self.enter(notice, message).await,
                Err(error) => refused(with_causes(&error)),
            };
        }
        if event.ignored.test_events + event.ignored.not_created > 0 {
            self.count("ignored");
        }
        through
    }

    /// Enters a notice, however long the inbox does not take it: the message is ours meanwhile.
    async fn enter(&self, notice: Notice, message: &Message) -> bool {
        let id = notice.idempotency_id();
        loop {
            match self.inbox.take(notice.clone(), id.clone(), Origin::Queue, now_ms()).await {
                Ok(taken) => {
                    self.count(if taken == Taken::New { "taken" } else { "repeated" });
                    tracing::info!(notice_id = id, bucket = notice.bucket, key = notice.key, "notice pulled");
                    break;
                }
                Err(InboxError::Closed | InboxError::Poisoned(_)) => return false,
                Err(error @ InboxError::Refused(_)) => return self.refuse(message, &error.to_string()),
                Err(error) => {
                    tracing::warn!(%error, notice_id = id, "entering a pulled notice; it is entered later");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        match self.config.delete_when {
            DeleteWhen::Taken => true,
            DeleteWhen::Done => self.is_done(&notice).await,
        }
    }

    /// Waits until the object is done, or given up: then its message stays for the redrive policy.
    async fn is_done(&self, notice: &Notice) -> bool {
        loop {
            match self.inbox.state_of(notice.clone()).await {
                Ok(Some(State::Done)) => return true,
                Ok(Some(State::Owed | State::Fetching)) => {}
                Ok(Some(State::Dead | State::Gone) | None) | Err(InboxError::Closed) => return false,
                Err(error) => tracing::warn!(%error, "asking how a pulled notice stands"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Leaves a message to the queue's redrive policy.
    fn refuse(&self, message: &Message, reason: &str) -> bool {
        self.count("refused");
        tracing::warn!(
            message_id = message.id,
            received = message.received,
            reason,
            "a message is left in the queue"
        );
        false
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.pulled.get_or_create(&[("outcome", outcome)]).inc();
    }
}

#[cfg(test)]
mod tests;
