//! One invocation: every notice of the event goes out, and what could not go fails loudly (I7).
//!
//! The notices of one object go out one after the other, in the event's order; those of different
//! objects at once, up to `concurrency`. In a FIFO queue the messages of one group count as one object.
//! After a failure the rest of that line is held back, so that nothing overtakes what comes back.

use std::collections::HashMap;
use std::fmt::Write as _;

use contract::Notice;
use futures_util::StreamExt as _;
use lambda_runtime::Diagnostic;
use s3_event::{Event, EventError, Ignored, Message, QueuedMessage, RecordError};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::filter::Filter;
use crate::relay::{OpenError, Relay, chain};

/// Reasons that an invocation's error repeats; the log has all of them.
const REASONS_TOLD: usize = 10;

/// What every invocation of one process shares.
#[derive(Debug)]
pub struct Notifier {
    relay: Relay,
    filter: Filter,
    concurrency: usize,
}

/// What the function answers to Lambda.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// All of the event is done.
    Whole(Summary),
    /// A batch of SQS messages: these come back, the others are deleted from the queue.
    Batch(BatchAnswer),
}

/// What became of an event. Counts are in records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The server has these.
    pub relayed: usize,
    /// The server does not want these.
    pub filtered: usize,
    /// These are not about a new object.
    pub ignored: Ignored,
}

/// The answer of which Lambda's event source mapping with `ReportBatchItemFailures` makes use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchAnswer {
    /// The messages that failed.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
}

/// One message that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    /// Its `messageId`.
    #[serde(rename = "itemIdentifier")]
    pub id: String,
}

/// Why an invocation failed. Lambda tries the whole event again; a notice that the server already has
/// changes nothing there.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event is not one that S3 sends.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Of so many parts of the event that had to be relayed, these were not; each with its reason.
    #[error("{} of {parts} {what} were not relayed: {}", reasons.len(), told(reasons))]
    NotRelayed {
        /// `records`, or `messages` where a whole batch of them failed.
        what: &'static str,
        /// How many there were.
        parts: usize,
        /// One reason each.
        reasons: Vec<String>,
    },
}

/// The work of an event, in lines.
#[derive(Default)]
struct Lines<'a> {
    lines: Vec<Vec<Step<'a>>>,
    by_name: HashMap<LineName<'a>, usize>,
}

/// What keeps an order within itself.
#[derive(PartialEq, Eq, Hash)]
enum LineName<'a> {
    Group(&'a str),
    Object(&'a str, &'a str),
}

/// One step of a line: a notice to send, or the reason why there is none. It belongs to the `part`th
/// part of the event.
struct Step<'a> {
    part: usize,
    work: Result<&'a Notice, String>,
}

/// A step that failed.
struct Failure {
    part: usize,
    reason: String,
}

impl Notifier {
    /// Makes the connection pool and reads the secret.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let relay = Relay::open(config).await?;
        info!(server = relay.server(), "ready to relay notices");
        Ok(Self { relay, filter: config.filter.clone(), concurrency: config.concurrency })
    }

    /// Relays all of `event` that is about a new object, and answers or fails before `deadline`.
    pub async fn handle(&self, event: Value, deadline: Instant) -> Result<Answer, InvocationError> {
        let event = s3_event::read(event).inspect_err(|error| {
            error!(reason = chain(error), "the event cannot be relayed");
        })?;
        match event {
            Event::Whole(message) => self.whole(&message, deadline).await.map(Answer::Whole),
            Event::Batch(messages) => self.batch(&messages, deadline).await.map(Answer::Batch),
        }
    }

    /// Its parts are its records; each that fails fails the invocation.
    async fn whole(&self, message: &Message, deadline: Instant) -> Result<Summary, InvocationError> {
        let mut summary = Summary { ignored: message.ignored, ..Summary::default() };
        let mut lines = Lines::default();
        for (part, record) in message.records.iter().enumerate() {
            self.line_up(&mut lines, part, None, record, &mut summary);
        }
        let failures = self.relay_all(lines, deadline, &mut summary).await;
        summary.log();
        if failures.is_empty() {
            return Ok(summary);
        }
        let reasons: Vec<_> = failures.into_iter().map(|failure| failure.reason).collect();
        Err(InvocationError::NotRelayed { what: "records", parts: summary.relayed + reasons.len(), reasons })
    }

    /// Its parts are its messages; each fails by itself. The invocation fails if all of them did, so
    /// that its metric shows it.
    async fn batch(
        &self,
        messages: &[QueuedMessage],
        deadline: Instant,
    ) -> Result<BatchAnswer, InvocationError> {
        let mut summary = Summary::default();
        let mut lines = Lines::default();
        for (part, queued) in messages.iter().enumerate() {
            let group = queued.group.as_deref();
            match &queued.message {
                Ok(message) => {
                    for record in &message.records {
                        self.line_up(&mut lines, part, group, record, &mut summary);
                    }
                    summary.ignored.test_events += message.ignored.test_events;
                    summary.ignored.not_created += message.ignored.not_created;
                }
                Err(error) => {
                    let reason = chain(error);
                    error!(message_id = queued.id, reason, "a message cannot be relayed");
                    lines.add(group.map(LineName::Group), Step { part, work: Err(reason) });
                }
            }
        }
        let mut reasons = vec![None; messages.len()];
        for Failure { part, reason } in self.relay_all(lines, deadline, &mut summary).await {
            reasons[part].get_or_insert(reason);
        }
        summary.log();
        let failures: Vec<_> = messages
            .iter()
            .zip(&reasons)
            .filter(|(_, reason)| reason.is_some())
            .map(|(queued, _)| ItemFailure { id: queued.id.clone() })
            .collect();
        if failures.is_empty() {
            return Ok(BatchAnswer { failures });
        }
        if failures.len() == messages.len() {
            let reasons = reasons.into_iter().flatten().collect();
            return Err(InvocationError::NotRelayed { what: "messages", parts: messages.len(), reasons });
        }
        warn!(failed = failures.len(), of = messages.len(), "messages go back to the queue");
        Ok(BatchAnswer { failures })
    }

    /// Puts one record into the line where it belongs, unless nobody wants it.
    fn line_up<'a>(
        &self,
        lines: &mut Lines<'a>,
        part: usize,
        group: Option<&'a str>,
        record: &'a Result<Notice, RecordError>,
        summary: &mut Summary,
    ) {
        let group = group.map(LineName::Group);
        match record {
            Ok(notice) if self.filter.passes(notice) => {
                let name = group.unwrap_or(LineName::Object(&notice.bucket, &notice.key));
                lines.add(Some(name), Step { part, work: Ok(notice) });
            }
            Ok(Notice { id, bucket, key, .. }) => {
                debug!(notice_id = id, bucket, key, "filtered");
                summary.filtered += 1;
            }
            Err(error) => {
                let reason = error.to_string();
                error!(reason, "a record cannot be relayed");
                lines.add(group, Step { part, work: Err(reason) });
            }
        }
    }

    /// Goes through all lines, several at once; answers with the steps that failed.
    async fn relay_all(&self, lines: Lines<'_>, deadline: Instant, summary: &mut Summary) -> Vec<Failure> {
        let mut going = futures_util::stream::iter(lines.lines)
            .map(|line| self.relay_line(line, deadline))
            .buffer_unordered(self.concurrency);
        let mut failures = Vec::new();
        while let Some((relayed, failed)) = going.next().await {
            summary.relayed += relayed;
            failures.extend(failed);
        }
        failures
    }

    async fn relay_line(&self, line: Vec<Step<'_>>, deadline: Instant) -> (usize, Vec<Failure>) {
        let mut relayed = 0;
        let mut failures = Vec::new();
        for Step { part, work } in line {
            let result = match work {
                Ok(Notice { id, .. }) if !failures.is_empty() => {
                    Err(format!("{id}: held back, because what has to go before it was not relayed"))
                }
                Ok(notice) => self
                    .relay
                    .send(notice, deadline)
                    .await
                    .map_err(|error| format!("{}: {}", notice.id, chain(&error))),
                Err(reason) => Err(reason),
            };
            match result {
                Ok(()) => relayed += 1,
                Err(reason) => failures.push(Failure { part, reason }),
            }
        }
        (relayed, failures)
    }
}

impl<'a> Lines<'a> {
    /// What has no name is a line by itself.
    fn add(&mut self, name: Option<LineName<'a>>, step: Step<'a>) {
        let next = self.lines.len();
        let line = name.map_or(next, |name| *self.by_name.entry(name).or_insert(next));
        if line == next {
            self.lines.push(Vec::new());
        }
        self.lines[line].push(step);
    }
}

impl Summary {
    fn log(&self) {
        let Self { relayed, filtered, ignored: Ignored { test_events, not_created } } = *self;
        info!(relayed, filtered, test_events, not_created, "invocation ended");
    }
}

fn told(reasons: &[String]) -> String {
    let mut text = reasons[..reasons.len().min(REASONS_TOLD)].join("; ");
    if reasons.len() > REASONS_TOLD {
        let _ = write!(text, "; and {} more, in the log", reasons.len() - REASONS_TOLD);
    }
    text
}

impl From<InvocationError> for Diagnostic {
    /// The type is what an operator filters the failure queue by.
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::Event(_) => "UnknownEvent",
            InvocationError::NotRelayed { .. } => "NotRelayed",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
