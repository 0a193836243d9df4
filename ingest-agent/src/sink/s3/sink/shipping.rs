//! Sealed cuts into the store, some at a time; and what came of them into the journal, several with one sync.

use std::collections::BTreeSet;
use std::time::Duration;

use command_line::AGENT;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::Sink;
use crate::sink::s3::cut::BytesAt;
use crate::sink::s3::error::S3SinkError;
use crate::sink::s3::state::Record;
use crate::sink::s3::upload::{Shipped, Upload};
use crate::sink::s3::wire::Malformed;

/// How many ends are recorded together at the most, and how long the first of them waits for others at the most.
/// An end that a crash takes costs one request: the store then says that it has the object.
const TOGETHER: usize = 64;
const WAIT: Duration = Duration::from_millis(20);

/// Cuts on their way into the store.
#[derive(Default)]
pub(super) struct Shipping {
    uploads: JoinSet<Result<(u64, Shipped), S3SinkError>>,
    /// The ends of uploads that are not recorded yet.
    ended: Vec<(u64, Shipped)>,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// The cuts of both.
    taken: BTreeSet<u64>,
}

type Ended = Result<Result<(u64, Shipped), S3SinkError>, JoinError>;

impl Shipping {
    /// Waits for an upload to end; `None` if there is none.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        self.uploads.join_next().await
    }

    /// Takes the end of an upload.
    pub(super) fn ended(&mut self, ended: Ended) -> Result<(), S3SinkError> {
        // An upload's panic is a bug; it goes on as this thread's own.
        let ended = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.ended.push(ended?);
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// When to record what has ended, if nothing else happens.
    pub(super) fn record_by(&self) -> Option<Instant> {
        self.since.map(|since| since + WAIT)
    }

    /// Whether nothing is gained by waiting longer.
    fn is_record_due(&self) -> bool {
        let late = self.record_by().is_some_and(|by| by <= Instant::now());
        late || self.ended.len() >= TOGETHER || self.uploads.is_empty()
    }
}

impl Sink {
    /// Takes what has ended, and records it when that is due.
    pub(super) fn collect(&mut self) -> Result<(), S3SinkError> {
        while let Some(ended) = self.shipping.uploads.try_join_next() {
            self.shipping.ended(ended)?;
        }
        if self.shipping.is_record_due() { self.record() } else { Ok(()) }
    }

    /// Starts the oldest cuts that wait, as many as may be sent at a time.
    pub(super) fn start_uploads(&mut self) {
        let most = self.shared.config.upload_concurrency.max(1);
        while self.shipping.uploads.len() < most {
            let next = {
                let ledger = self.shared.ledger();
                ledger.state().to_ship().find(|number| !self.shipping.taken.contains(number))
            };
            let Some(number) = next else { break };
            let Some(upload) = Upload::new(&self.shared, number) else { break };
            self.shipping.taken.insert(number);
            self.shipping.uploads.spawn(async move { Ok((number, upload.ship().await?)) });
        }
    }

    /// Records what uploads have come to, with one sync for all of them, and releases what is done.
    pub(super) fn record(&mut self) -> Result<(), S3SinkError> {
        self.shipping.since = None;
        let (mut records, mut freed) = (Vec::new(), Vec::new());
        for (number, shipped) in std::mem::take(&mut self.shipping.ended) {
            self.shipping.taken.remove(&number);
            let pending = self.shared.ledger().state().pending.get(&number).cloned();
            let pending = pending.ok_or(Malformed("a cut that ended twice"))?;
            let stored = matches!(shipped, Shipped::Stored { .. });
            match shipped {
                Shipped::Stored { attempt } => {
                    let bytes = pending.attempts.get(attempt as usize).map_or(0, |attempt| attempt.length);
                    tracing::info!(cut = %pending.cut.id(&self.shared.name), key = %pending.cut.key, events = pending.cut.runs.count(), bytes, "shipped");
                    self.shared.metrics.objects.inc();
                    self.shared.metrics.object_bytes.inc_by(bytes);
                    for flush in &mut self.flushes {
                        flush.keys.push((number, pending.cut.key.clone()));
                    }
                    records.push(Record::Done(number, attempt));
                }
                Shipped::SetAside { attempt, reason } => {
                    tracing::error!(cut = %pending.cut.id(&self.shared.name), reason, "set a cut aside that the store will never take; see `{AGENT} dead list`");
                    records.push(Record::Dead(number, attempt, reason));
                    if self.shared.dir.is_none() {
                        tracing::error!(cut = number, "a memory channel keeps nothing of it");
                        records.push(Record::Drop(number));
                    }
                }
            }
            freed.push((pending, stored));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.shared.reach("before_done")?;
        self.shared.commit(records)?;
        self.shared.reach("after_done")?;
        for (pending, stored) in freed {
            for attempt in &pending.attempts {
                if let BytesAt::Staged(extents) = &attempt.bytes {
                    self.shared.packer().staging.free(extents);
                }
            }
            // A cut that was replayed and refused again has its only bytes there.
            if stored && pending.attempts.iter().any(|attempt| attempt.bytes == BytesAt::Kept) {
                self.shared.forget_kept(&pending.cut);
            }
        }
        self.shared.reach("before_release")?;
        self.release()
    }

    /// Tells the channel which positions it need not keep for this sink.
    pub(super) fn release(&self) -> Result<(), S3SinkError> {
        let released = self.shared.ledger().state().released();
        let reader = self.shared.reader();
        reader.release(released).map_err(S3SinkError::io("recording progress in the channel"))
    }
}
