//! The name by which people call a program.
//!
//! A program is installed under another name than it is built by: `ingest-agent` becomes
//! `sluicegate-agent`. A hint that names `ingest-agent` is of no use where no such program
//! is, so whatever a message or a page tells people to type takes the name from here.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

/// What the running process was called; unknown in a test, and to a library that runs inside
/// another program.
static CALLED: OnceLock<String> = OnceLock::new();

/// The ingest agent.
pub const AGENT: Program = Program { installed: "sluicegate-agent" };
/// The downstream server.
pub const SERVER: Program = Program { installed: "sluicegate-server" };

/// One of our programs. It is shown as people call it here: as this process was called if it is
/// that program, else by the name that it is installed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    installed: &'static str,
}

impl Program {
    /// Says that this process is this program, and by which first argument it was called. Whoever
    /// says so first is believed.
    pub fn runs_as(self, first_argument: Option<&OsStr>) {
        if let Some(name) = first_argument.and_then(file_name) {
            let _ = CALLED.set(name);
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CALLED.get().map_or(self.installed, String::as_str))
    }
}

fn file_name(argument: &OsStr) -> Option<String> {
    let name = Path::new(argument).file_name()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_its_installed_name_until_it_is_known_how_it_was_called() {
        assert_eq!(AGENT.to_string(), "sluicegate-agent");
        AGENT.runs_as(None);
        assert_eq!(AGENT.to_string(), "sluicegate-agent");
        AGENT.runs_as(Some(OsStr::new("/opt/x/my-agent")));
        assert_eq!(AGENT.to_string(), "my-agent");
        AGENT.runs_as(Some(OsStr::new("later")));
        assert_eq!(AGENT.to_string(), "my-agent");
    }
}
