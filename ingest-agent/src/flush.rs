//! Flush: everything accepted so far, out of the agent now.
//!
//! One flush asks every sink to settle what its channel had synced when the flush began, and waits for all of them.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::channel::ChannelHandle;
use crate::sink::{FlushReport, FlushRequest};

/// Reaches every sink of an agent; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Flusher {
    sinks: Vec<(String, ChannelHandle, mpsc::Sender<FlushRequest>)>,
}

/// What a flush came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Flushed {
    /// Whether every event accepted before the flush is in the store or dead-lettered.
    pub complete: bool,
    /// The keys of the objects that the flush waited for, by sink and in the order of their cuts.
    pub keys: Vec<String>,
    /// Sinks that did not finish in time. Their events are safe, and still on their way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<String>,
    /// Sinks that have ended; the agent is about to stop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
}

// === impl Flusher ===

impl Flusher {
    /// Adds a sink that reads `channel` and takes requests from the returned end.
    pub(crate) fn add(&mut self, sink: &str, channel: &ChannelHandle) -> mpsc::Receiver<FlushRequest> {
        let (requests, receiver) = mpsc::channel(REQUESTS_WAITING);
        self.sinks.push((sink.to_owned(), channel.clone(), requests));
        receiver
    }

    /// Flushes every sink at once, and waits at most `timeout` for all of them.
    pub async fn flush(&self, timeout: Duration) -> Flushed {
        let deadline = Instant::now() + timeout;
        let waits = self.sinks.iter().map(|(_, channel, requests)| {
            let upto = channel.synced_end();
            timeout_at(deadline, ask(upto, requests))
        });
        // Collected first, so that all sinks work at the same time and `upto` is taken now.
        let answers = futures_util::future::join_all(waits).await;
        let mut flushed = Flushed { complete: true, ..Flushed::default() };
        for ((name, ..), answer) in self.sinks.iter().zip(answers) {
            match answer {
                Ok(Some(report)) => flushed.keys.extend(report.keys),
                Ok(None) => flushed.ended.push(name.clone()),
                Err(_) => flushed.late.push(name.clone()),
            }
        }
        flushed.complete = flushed.late.is_empty() && flushed.ended.is_empty();
        flushed
    }
}

/// Flushes that a sink has not looked at yet; the next one waits, within its own time.
const REQUESTS_WAITING: usize = 16;

/// `None` if the sink has ended.
async fn ask(upto: u64, requests: &mpsc::Sender<FlushRequest>) -> Option<FlushReport> {
    let (reply, answer) = oneshot::channel();
    requests.send(FlushRequest { upto, reply }).await.ok()?;
    answer.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use durable_channel::MemoryChannel;

    use super::*;

    #[tokio::test]
    async fn a_flush_names_who_was_late_and_who_has_ended_and_keeps_the_keys_of_the_others() {
        let channel = MemoryChannel::new(10, 10, 1 << 20).expect("its limits make sense");
        let channel = ChannelHandle::new("c", Arc::new(channel), 1 << 20);
        let mut flusher = Flusher::default();
        let (mut quick, _late, ended) =
            (flusher.add("quick", &channel), flusher.add("late", &channel), flusher.add("ended", &channel));
        drop(ended);
        tokio::spawn(async move {
            let request = quick.recv().await.expect("a flush");
            let _ = request.reply.send(FlushReport { keys: vec!["k".to_owned()] });
        });
        let flushed = flusher.flush(Duration::from_millis(50)).await;
        let expected = Flushed {
            complete: false,
            keys: vec!["k".to_owned()],
            late: vec!["late".to_owned()],
            ended: vec!["ended".to_owned()],
        };
        assert_eq!(flushed, expected);
    }
}
