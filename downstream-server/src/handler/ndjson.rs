//! The handlers `ndjson` and `lines`: every event of every object appended to a file, exactly once.
//!
//! Events are streamed past the file's committed length, the file is synced, and then its new
//! length is committed in the transaction that marks the object done. At start, and after a
//! failure, the file is cut back to the committed length. So at any moment the committed part
//! of the file holds each done object once, whatever was killed when. What follows it belongs
//! to an object that is not done yet and may be taken back.
//!
//! A file that is large or old enough is left for the next one, between two objects: see
//! [`Rotation`]. Which file is written to is committed as well.
//!
//! `ndjson` writes each event as one JSON value on a line ([`json`]). `lines` writes the object's
//! rows byte for byte; only an object that does not end in a newline gets one. A file that was
//! begun in one form is ended in it: see [`Form`]. Objects of set-aside events are left out: they
//! are dead letters.

mod files;
mod form;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};

use files::Output;
pub use files::{OutputError, Rotation};
pub use form::Form;

use super::rows::{ObjectRows, RowLimit};
use super::{Delivery, Effect, Handler, HandlerError, NoEffect, Outcome, json};
use crate::fetch::Content;
use crate::inbox::{Database, DatabaseError, Inbox};

/// Bytes that are collected before they are written.
const WRITE: usize = 256 << 10;

/// What is written where, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputConfig {
    /// The first file.
    pub path: PathBuf,
    /// When the next one begins.
    pub rotation: Rotation,
    /// How events stand in a file that begins now.
    pub form: Form,
    /// Bytes in an event at most that becomes JSON; an object that holds a larger one is a dead
    /// letter. Up to six times as many are in memory for it.
    pub max_event_bytes: usize,
}

/// Appends events to a file.
#[derive(Debug)]
pub struct Ndjson {
    output: Arc<Mutex<Output>>,
    form: Form,
    max_event_bytes: usize,
    /// Rotates a file that grows old while nothing arrives.
    aging: Option<tokio::task::JoinHandle<()>>,
}

impl Ndjson {
    /// Opens the file, making it where absent, and cuts off what was never committed.
    pub async fn open(config: &OutputConfig, inbox: &Arc<Inbox>) -> Result<Self, OutputError> {
        let OutputConfig { path, rotation, form, max_event_bytes } = config;
        let output = Arc::new(Mutex::new(Output::open(path, *rotation, *form, inbox.clone()).await?));
        let aging = rotation.age.map(|_| tokio::spawn(files::age(Arc::downgrade(&output))));
        Ok(Self { output, form: *form, max_event_bytes: *max_event_bytes, aging })
    }
}

impl Drop for Ndjson {
    fn drop(&mut self) {
        if let Some(aging) = &self.aging {
            aging.abort();
        }
    }
}

#[async_trait]
impl Handler for Ndjson {
    fn name(&self) -> &'static str {
        self.form.kind()
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        if delivery.is_set_aside() {
            tracing::warn!(
                delivery_id = delivery.id,
                "events that the agent set aside are not written to the file"
            );
            while content.next().await?.is_some() {}
            return Ok(Box::new(NoEffect));
        }
        let mut turn = Turn::take(&self.output).await;
        turn.output.rotate_if_due().await.map_err(HandlerError::later)?;
        turn.output.check().map_err(HandlerError::later)?;
        let turn = match turn.output.form {
            Form::Lines => turn.lines(content).await?,
            Form::Json => turn.json(content, self.max_event_bytes).await?,
        };
        let turn = turn.sync().await.map_err(HandlerError::later)?;
        Ok(Box::new(turn))
    }
}

/// One object's turn at the file, from its first byte to the commit. Dropped without a
/// commit, it cuts the file back, unless nobody knows how far.
struct Turn {
    output: OwnedMutexGuard<Output>,
    /// The new length is in a transaction, and nobody has said yet what became of that.
    applied: bool,
}

impl Turn {
    async fn take(output: &Arc<Mutex<Output>>) -> Self {
        Self { output: output.clone().lock_owned().await, applied: false }
    }

    /// Writes the object as it is.
    async fn lines(mut self, content: &mut Content) -> Result<Self, HandlerError> {
        content.reading().rows()?;
        let mut ends_in_newline = true;
        while let Some(piece) = content.next().await? {
            ends_in_newline = piece.last() == Some(&b'\n');
            self = self.append(piece).await.map_err(HandlerError::later)?;
        }
        if !ends_in_newline {
            self = self.append(Bytes::from_static(b"\n")).await.map_err(HandlerError::later)?;
        }
        Ok(self)
    }

    /// Writes a JSON value for each row.
    async fn json(mut self, content: &mut Content, max_event_bytes: usize) -> Result<Self, HandlerError> {
        let reading = content.reading().clone();
        let limit = RowLimit { bytes: max_event_bytes, setting: "handler.max_event_bytes" };
        let mut rows = ObjectRows::new(content, &reading, limit)?;
        let mut lines = Vec::new();
        while let Some(row) = rows.next().await? {
            json::put(&row, &mut lines);
            lines.push(b'\n');
            if lines.len() >= WRITE {
                let full = Bytes::from(std::mem::take(&mut lines));
                self = self.append(full).await.map_err(HandlerError::later)?;
            }
        }
        self.append(Bytes::from(lines)).await.map_err(HandlerError::later)
    }

    async fn append(self, piece: Bytes) -> Result<Self, OutputError> {
        self.off_the_async_threads(move |output| output.file.append(&piece)).await
    }

    async fn sync(self) -> Result<Self, OutputError> {
        let turn = self.off_the_async_threads(|output| output.file.sync()).await?;
        turn.output.file.check()?;
        Ok(turn)
    }

    /// The turn goes along into the blocking call: if the handler is cancelled meanwhile, the
    /// file is cut back after the call, never during it.
    async fn off_the_async_threads(
        mut self,
        work: impl FnOnce(&mut Output) -> io::Result<()> + Send + 'static,
    ) -> Result<Self, OutputError> {
        let path = self.output.file.path().to_owned();
        let done = tokio::task::spawn_blocking(move || work(&mut self.output).map(|()| self)).await;
        done.map_err(io::Error::other).flatten().map_err(|source| OutputError::Io { path, source })
    }
}

impl Effect for Turn {
    fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError> {
        // The last moment at which an outsider's hand can be found without anything committed.
        self.output
            .file
            .check()
            .map_err(|error| DatabaseError::Refused(OutputError::from(error).to_string()))?;
        let length = self.output.file.end();
        let changed = transaction.execute(
            "UPDATE outputs SET length = ?2 WHERE name = ?1",
            &[(&self.output.name).into(), length.into()],
        )?;
        self.applied = true;
        if changed == 1 {
            return Ok(());
        }
        Err(DatabaseError::Refused(format!("the inbox does not know the output {}", self.output.name)))
    }

    fn settle(mut self: Box<Self>, outcome: Outcome) {
        self.applied = false;
        match outcome {
            Outcome::Committed => self.output.committed = self.output.file.end(),
            Outcome::Undone => {}
            // The restart compares the file with what the inbox turns out to hold.
            Outcome::Unknown => self.output.unknown = true,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Whoever panicked in between may have committed: cutting could take committed lines.
        self.output.unknown |= self.applied;
        if self.output.unknown {
            return;
        }
        let committed = self.output.committed;
        if let Err(error) = self.output.file.cut_back(committed)
            && !self.output.disturbed
        {
            // The next turn tries to cut again, and writes nothing as long as it cannot.
            tracing::error!(%error, "cutting the file back");
        }
    }
}

#[cfg(test)]
mod tests;
