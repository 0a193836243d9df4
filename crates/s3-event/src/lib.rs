//! What a message about S3 objects is about: the notices to relay, and what was looked at and left alone.
//!
//! S3 tells of a new object in many wrappings. Each is opened until S3's own record is reached:
//!
//! | shape | how it is known |
//! |---|---|
//! | an S3 event, version 2.x | `Records` with `eventSource` `aws:s3`, `minio:s3` and the like, or none |
//! | a batch of SQS messages | `Records` with `eventSource` `aws:sqs`; in each `body` any other shape |
//! | an SNS notification | `Records` with `EventSource` `aws:sns`, or `Type` `Notification`; any other shape in its `Message` |
//! | an EventBridge event | `detail-type` and `source` `aws.s3` |
//! | the event that S3 sends when it is configured | `Event` `s3:TestEvent` |
//!
//! [`read`] takes what Lambda hands to a function, [`read_body`] the body of one SQS message, [`read_posted`]
//! what a store other than AWS posts to a webhook. Any other
//! shape is an error and not nothing, for behind it may be an object that the server must hear of (I7).
//! Of a record bucket and key are needed, and nothing else: the other members may be absent, null or of
//! another type than S3 gives them.
//! No network and no Lambda runtime here: whoever gets such a message reads it with this.

mod bridge;
mod record;

use contract::{Notice, without_mark};
use serde::Serialize;
use serde_json::Value;

use record::Writer;
pub use record::{Keys, RecordError, RecordFault, decode_key};

/// How many wrappings are opened: SQS around SNS around S3, and one to spare.
const DEEPEST: usize = 4;

/// What Lambda hands to a function, read.
#[derive(Debug)]
pub enum Event {
    /// The event as a whole ends well or badly.
    Whole(Message),
    /// A batch of SQS messages, in the batch's order; each ends well or badly by itself.
    Batch(Vec<QueuedMessage>),
}

/// One SQS message of a batch.
#[derive(Debug)]
pub struct QueuedMessage {
    /// Its `messageId`, by which a batch item is reported as failed.
    pub id: String,
    /// Its `MessageGroupId`, in a FIFO queue. Messages of one group must be finished in their order.
    pub group: Option<String>,
    /// What its body is about.
    pub message: Result<Message, EventError>,
}

/// One message, read. Every record is in exactly one of these.
#[derive(Debug, Default)]
pub struct Message {
    /// The records about new objects in the message's order, those included that cannot be read.
    pub records: Vec<Result<Notice, RecordError>>,
    /// Looked at and left alone.
    pub ignored: Ignored,
}

/// Counts of what needs no notice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// `s3:TestEvent`, which S3 sends when notifications are configured.
    pub test_events: usize,
    /// Records about anything but a new object: removed, tagged, restored, expired.
    pub not_created: usize,
}

/// Why a message as a whole cannot be read. No retry changes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not JSON at all.
    #[error("the message is not JSON ({0})")]
    Json(#[from] serde_json::Error),
    /// JSON of a shape that nothing sends that we know of.
    #[error(
        "the message has no \"Records\", is no SNS notification and no EventBridge event: \
         it was not sent by S3"
    )]
    Unknown,
    /// An SNS notification whose `Message` is not there.
    #[error("the SNS notification has no \"Message\"")]
    NoMessage,
    /// An SQS message that could not be reported as failed.
    #[error("record {index}: the SQS message has no \"messageId\"")]
    NoMessageId {
        /// Its place in `Records`, from 0.
        index: usize,
    },
    /// Wrapped again and again.
    #[error("the message is wrapped more than {DEEPEST} times")]
    TooDeep,
}

/// Sorts an event as Lambda hands it over.
pub fn read(event: Value) -> Result<Event, EventError> {
    let is_queue = |record: &Value| record["eventSource"] == "aws:sqs";
    match event.get("Records") {
        Some(Value::Array(records)) if records.first().is_some_and(is_queue) => {
            let messages = records.iter().enumerate();
            Ok(Event::Batch(messages.map(|(index, record)| queued(index, record)).collect::<Result<_, _>>()?))
        }
        _ => {
            let mut message = Message::default();
            message.open(event, Writer::S3, 0)?;
            Ok(Event::Whole(message))
        }
    }
}

/// Sorts what the body of one SQS message is about, whatever S3 reached the queue through.
pub fn read_body(body: &str) -> Result<Message, EventError> {
    let mut message = Message::default();
    message.open(parse(body)?, Writer::S3, 0)?;
    Ok(message)
}

/// Sorts what a store other than AWS posts about its objects. It looks like S3's own event, and differs: keys
/// may not be encoded (`keys` says whether; where it is `None` the record shows it, as far as it can), sizes
/// may be 0, and sequencers may begin again when the store does, so that a short one is not told on.
pub fn read_posted(body: &str, keys: Option<Keys>) -> Result<Message, EventError> {
    let mut message = Message::default();
    message.open(parse(body)?, Writer::Store(keys), 0)?;
    Ok(message)
}

/// A byte order mark is no part of the text that it stands before.
fn parse(text: &str) -> Result<Value, EventError> {
    Ok(serde_json::from_str(without_mark(text))?)
}

fn queued(index: usize, record: &Value) -> Result<QueuedMessage, EventError> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    // A message that cannot be named cannot come back alone, so the whole batch has to.
    let id = text(&record["messageId"]).ok_or(EventError::NoMessageId { index })?;
    let group = text(&record["attributes"]["MessageGroupId"]);
    let message = read_body(record["body"].as_str().unwrap_or_default());
    Ok(QueuedMessage { id, group, message })
}

impl Message {
    /// The notices of the records that can be read.
    pub fn notices(&self) -> impl Iterator<Item = &Notice> {
        self.records.iter().flatten()
    }

    fn open(&mut self, mut value: Value, writer: Writer, depth: usize) -> Result<(), EventError> {
        if depth > DEEPEST {
            return Err(EventError::TooDeep);
        }
        if value["Event"] == "s3:TestEvent" {
            self.ignored.test_events += 1;
            return Ok(());
        }
        if value["Type"] == "Notification" {
            return self.open_notification(&value, writer, depth);
        }
        if value["source"] == "aws.s3" && value["detail-type"].is_string() {
            self.take(0, bridge::notice(&value));
            return Ok(());
        }
        let Some(Value::Array(records)) = value.get_mut("Records").map(Value::take) else {
            return Err(EventError::Unknown);
        };
        for (index, record) in records.into_iter().enumerate() {
            if record["EventSource"] == "aws:sns" {
                self.open_notification(&record["Sns"], writer, depth)?;
            } else {
                self.take(index, record::notice(&record, writer));
            }
        }
        Ok(())
    }

    fn open_notification(
        &mut self,
        notification: &Value,
        writer: Writer,
        depth: usize,
    ) -> Result<(), EventError> {
        let text = notification["Message"].as_str().ok_or(EventError::NoMessage)?;
        self.open(parse(text)?, writer, depth + 1)
    }

    fn take(&mut self, index: usize, notice: Result<Option<Notice>, RecordFault>) {
        match notice {
            Ok(Some(notice)) => self.records.push(Ok(notice)),
            Ok(None) => self.ignored.not_created += 1,
            Err(reason) => self.records.push(Err(RecordError { index, reason })),
        }
    }
}

#[cfg(test)]
mod tests;
