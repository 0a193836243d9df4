//! What the sinks of a channel know of it, whatever is left of its log: for an operator's commands.

use std::path::Path;

use durable_channel::JournalError;

use super::error::S3SinkError;
use super::ledger::Ledger;

/// The position below which the sinks of the channel in `dir` know of events. None of these may be given again: a
/// sink would take the new event for the one that it has. A journal that is damaged says nothing.
pub fn used_below(dir: &Path) -> Result<u64, S3SinkError> {
    let entries = match std::fs::read_dir(dir.join("readers")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(S3SinkError::io("listing the channel's readers"))?,
    };
    let mut used = 0;
    for entry in entries {
        let entry = entry.map_err(S3SinkError::io("listing the channel's readers"))?;
        match Ledger::look(&entry.path()) {
            Ok(state) => used = used.max(state.held.end()),
            Err(S3SinkError::Journal(JournalError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(used)
}
