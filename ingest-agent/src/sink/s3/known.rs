//! What the sinks of a channel know of it, whatever is left of its log: for an operator's commands.

use std::path::Path;

use durable_channel::JournalError;

use super::error::S3SinkError;
use super::ledger::Ledger;

/// What the sinks of a channel know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The position below which they know of events. None of these may be given again: a sink would take the new
    /// event for the one that it has.
    pub used_below: u64,
    /// The name of each that has sealed a cut, and the lowest number that its next object may have.
    pub next_objects: Vec<(String, u64)>,
}

/// What the sinks of the channel in `dir` know. A journal that is damaged says nothing.
pub fn known(dir: &Path) -> Result<Known, S3SinkError> {
    let mut known = Known::default();
    let entries = match std::fs::read_dir(dir.join("readers")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(known),
        entries => entries.map_err(S3SinkError::io("listing the channel's readers"))?,
    };
    for entry in entries {
        let entry = entry.map_err(S3SinkError::io("listing the channel's readers"))?;
        match Ledger::look(&entry.path()) {
            Ok(state) => {
                known.used_below = known.used_below.max(state.held.end());
                let next = state.pending.keys().next().copied().unwrap_or(state.next_cut);
                if state.next_cut > 1 {
                    known.next_objects.push((entry.file_name().to_string_lossy().into_owned(), next));
                }
            }
            Err(S3SinkError::Journal(JournalError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    known.next_objects.sort();
    Ok(known)
}
