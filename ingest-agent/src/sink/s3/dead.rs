//! Cuts that the store will never take: listed, sent again or given up by an operator, while the agent is stopped.
//!
//! The channel's folder is locked meanwhile, so this never meets a running agent. Replaying only marks a cut: the
//! agent sends it at its next start, under the same key, so that it still cannot be stored twice. Single
//! events that could not go where they belonged are not here: they are objects of the `_dead` partition.

use std::path::Path;

use contract::SinkName;
use durable_channel::disk::OsDisk;
use durable_channel::{Channel, DurableChannel, Options, Reader, Start};

use super::error::S3SinkError;
use super::ledger::{DEFAULT_JOURNAL_BYTES, Ledger};
use super::shared::kept_in;
use super::state::Record;

/// The dead cuts of one sink, while nobody else has its channel open.
pub struct DeadCuts {
    ledger: Ledger,
    reader: Reader,
    channel: DurableChannel,
}

/// A cut that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeadCut {
    /// Its number.
    pub number: u64,
    /// The bucket that would not take it.
    pub bucket: String,
    /// The key that it would have.
    pub key: String,
    /// Its events.
    pub events: u64,
    /// Bytes of its object.
    pub bytes: u64,
    /// The store's answer.
    pub reason: String,
    /// Where its object is kept.
    pub file: std::path::PathBuf,
}

/// Why dead cuts could not be looked at or decided on.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// The channel could not be opened, for instance because an agent runs.
    #[error("opening the channel")]
    Open(#[from] durable_channel::OpenError),
    /// The channel has no reader of this name.
    #[error("the channel has no sink {0}")]
    NoSink(SinkName),
    /// No dead cut has this number.
    #[error("no dead cut has the number {0}")]
    NoCut(u64),
    /// The sink's records or files failed.
    #[error(transparent)]
    Sink(#[from] S3SinkError),
    /// The channel could not be closed.
    #[error("closing the channel")]
    Close(#[from] durable_channel::CloseError),
}

impl DeadCuts {
    /// Opens the records of `sink` in the channel's folder `dir`.
    pub fn open(dir: &Path, sink: &SinkName) -> Result<Self, DeadError> {
        let (channel, _) = DurableChannel::open(dir, &Options::default())?;
        if !channel.readers().iter().any(|reader| reader.name == sink.as_str()) {
            return Err(DeadError::NoSink(sink.clone()));
        }
        let reader = channel.reader(sink.as_str(), Start::Oldest)?;
        let ledger = Ledger::open(&OsDisk, reader.dir(), DEFAULT_JOURNAL_BYTES, reader.released())?;
        Ok(Self { ledger, reader, channel })
    }

    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<DeadCut> {
        let dead = self.ledger.state().dead().map(|dead| DeadCut {
            number: dead.cut.number,
            bucket: dead.cut.bucket.clone(),
            key: dead.cut.key.clone(),
            events: dead.cut.runs.count(),
            bytes: dead.attempts.last().map_or(0, |attempt| attempt.length),
            reason: dead.dead.clone().unwrap_or_default(),
            file: self.file(dead.cut.number),
        });
        dead.collect()
    }

    /// Lets the agent send a cut again at its next start.
    pub fn replay(&mut self, number: u64) -> Result<(), DeadError> {
        self.find(number)?;
        Ok(self.ledger.commit(vec![Record::Replay(number)])?)
    }

    /// Gives a cut up. Its events stay counted as dead-lettered.
    pub fn drop_cut(&mut self, number: u64) -> Result<(), DeadError> {
        self.find(number)?;
        self.ledger.commit(vec![Record::Drop(number)])?;
        std::fs::remove_file(self.file(number))
            .map_err(|error| S3SinkError::io("deleting the bytes of a dead cut")(error).into())
    }

    /// Closes the channel.
    pub fn close(self) -> Result<(), DeadError> {
        drop(self.reader);
        Ok(self.channel.close()?)
    }

    fn find(&self, number: u64) -> Result<(), DeadError> {
        let found = self.ledger.state().dead().any(|dead| dead.cut.number == number);
        if found { Ok(()) } else { Err(DeadError::NoCut(number)) }
    }

    fn file(&self, number: u64) -> std::path::PathBuf {
        self.reader.dir().map(|dir| kept_in(dir, number)).unwrap_or_default()
    }
}
