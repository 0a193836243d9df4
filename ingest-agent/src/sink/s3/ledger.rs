//! The state and its journal together: a change is synced first, then taken in.

use std::path::Path;

use durable_channel::Journal;
use durable_channel::disk::Disk;

use super::error::S3SinkError;
use super::state::{Record, State};

/// The sink's state, durable where the channel is.
pub(crate) struct Ledger {
    state: State,
    /// None beside a memory channel: then the state ends with the process, as the channel does.
    journal: Option<Journal>,
}

const JOURNAL: &str = "cuts";

/// What each of the journal's two files takes unless configured. Allocated ahead, so that a full disk never stops
/// the drain.
pub(crate) const DEFAULT_JOURNAL_BYTES: u64 = 16 << 20;

/// The part of a journal's file that the state may take, in memory and as a snapshot. A sink that holds more reads
/// no further.
pub(crate) const STATE_SHARE: u64 = 4;

impl Ledger {
    /// Opens the journal in `dir`, of two files with `bytes` each. A sink that has none yet starts at `origin`.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: Option<&Path>,
        bytes: u64,
        origin: u64,
    ) -> Result<Self, S3SinkError> {
        let mut state = State::new(origin);
        let Some(dir) = dir else {
            return Ok(Self { state, journal: None });
        };
        let (mut journal, records) = Journal::open_on(disk, dir, JOURNAL, bytes)?;
        for record in &records {
            state.apply(Record::decode(record)?)?;
        }
        if records.is_empty() {
            journal.snapshot(&state.snapshot())?;
        }
        Ok(Self { state, journal: Some(journal) })
    }

    /// What the journal in `dir` says, changing nothing; nothing if there is none.
    pub(crate) fn look(dir: &Path) -> Result<State, S3SinkError> {
        let mut state = State::new(0);
        for record in &Journal::look(dir, JOURNAL)?.records {
            state.apply(Record::decode(record)?)?;
        }
        Ok(state)
    }

    /// What is known for good.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Syncs `records`, all or none of them, and takes them in.
    pub(crate) fn commit(&mut self, records: Vec<Record>) -> Result<(), S3SinkError> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(journal) = &mut self.journal {
            let bytes: Vec<_> = records.iter().map(Record::encode).collect();
            journal.append_all(&bytes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        }
        for record in records {
            self.state.apply(record)?;
        }
        if let Some(journal) = &mut self.journal
            && journal.snapshot_due()
        {
            journal.snapshot(&self.state.snapshot())?;
        }
        Ok(())
    }
}
