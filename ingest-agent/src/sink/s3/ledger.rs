//! The state and its journal together: a change is synced first, then taken in.

use std::path::Path;

use durable_channel::Journal;

use super::error::S3SinkError;
use super::state::{Record, State};

/// The sink's state, durable where the channel is.
pub(crate) struct Ledger {
    state: State,
    /// None beside a memory channel: then the state ends with the process, as the channel does.
    journal: Option<Journal>,
}

/// The journal's files, allocated ahead, so that a full disk never stops the drain.
const JOURNAL_BYTES: u64 = 16 << 20;

/// What the state may take of memory, and a snapshot of the journal. A sink that holds more reads no further.
pub(crate) const STATE_BYTES: u64 = JOURNAL_BYTES / 4;

impl Ledger {
    /// Opens the journal in `dir`. A sink that has none yet starts at `origin`.
    pub(crate) fn open(dir: Option<&Path>, origin: u64) -> Result<Self, S3SinkError> {
        let mut state = State::new(origin);
        let Some(dir) = dir else {
            return Ok(Self { state, journal: None });
        };
        let (mut journal, records) = Journal::open(dir, "cuts", JOURNAL_BYTES)?;
        for record in &records {
            state.apply(Record::decode(record)?)?;
        }
        if records.is_empty() {
            journal.snapshot(&state.snapshot())?;
        }
        Ok(Self { state, journal: Some(journal) })
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
