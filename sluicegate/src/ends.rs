//! What the one command exits with: the code of whatever it was that could not go on.

use std::io;
use std::path::PathBuf;

use contract::exit;
use ingest_agent::AgentError;

/// A child that ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ChildEnded {
    /// What is said about it.
    pub(crate) text: String,
    /// What it exited with, if no signal ended it.
    pub(crate) code: Option<i32>,
}

/// A file of an earlier run that cannot be read as what it was.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is damaged: restore it, or delete it for new keys (nothing is lost with them)", path.display()
)]
pub(crate) struct Damaged {
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) error: serde_json::Error,
}

/// The exit code for an error, by the first of its causes that tells one.
pub(crate) fn code_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of_cause).unwrap_or(exit::UNAVAILABLE)
}

fn code_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(ChildEnded { code, .. }) = cause.downcast_ref() {
        return code.and_then(|code| u8::try_from(code).ok());
    }
    if let Some(error) = cause.downcast_ref::<AgentError>() {
        return Some(error.exit_code());
    }
    if let Some(error) = cause.downcast_ref::<downstream_server::RunError>() {
        return Some(error.exit_code());
    }
    if cause.is::<Damaged>() {
        return Some(exit::DATA);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::PermissionDenied => Some(exit::PERMISSION),
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => Some(exit::IO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_cause_or_of_the_child_that_could_not_be_kept_alive() {
        let of = |error: anyhow::Error| code_of(&error.context("doing something"));
        assert_eq!(of(anyhow!("a port is taken")), exit::UNAVAILABLE);
        assert_eq!(of(io::Error::from(io::ErrorKind::PermissionDenied).into()), exit::PERMISSION);
        assert_eq!(of(io::Error::from(io::ErrorKind::StorageFull).into()), exit::IO);
        assert_eq!(of(io::Error::from(io::ErrorKind::AddrInUse).into()), exit::UNAVAILABLE);
        let error = serde_json::from_str::<u8>("{").unwrap_err();
        assert_eq!(of(Damaged { path: "keys.json".into(), error }.into()), exit::DATA);
        let child = |code| ChildEnded { text: "agent keeps ending".to_owned(), code }.into();
        assert_eq!(of(child(Some(i32::from(exit::FORK)))), exit::FORK);
        assert_eq!(of(child(None)), exit::UNAVAILABLE);
    }
}
