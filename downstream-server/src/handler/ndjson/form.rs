//! How events stand in a file: two forms of one handler.
//!
//! The inbox keeps the form of each file beside its length. A file that holds anything keeps its
//! form to its end, whatever the handler is asked for by now; an empty one takes the form that is
//! asked for. Both the first file's form and the next file's are committed while that file is
//! empty, in one transaction with its length of 0 (and, at a rotation, with its number). So
//! whatever is killed in between, a start finds a file that holds nothing that counts and has
//! either form, or the file before it with the form before it; no file ever holds both.

use super::files::OutputError;

/// How events stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The rows byte for byte as they are in the objects: kind `lines`, and every file of a server
    /// that knew no forms.
    Lines,
    /// A JSON value for each row: kind `ndjson`.
    Json,
}

impl Form {
    /// The kind of handler that writes it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Json => "ndjson",
        }
    }

    /// The number that the inbox keeps.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Lines => 1,
            Self::Json => 2,
        }
    }

    /// The form of that number.
    pub(super) fn of_number(number: u64) -> Result<Self, OutputError> {
        let known = [Self::Lines, Self::Json].into_iter().find(|form| form.number() == number);
        known.ok_or(OutputError::Form(number))
    }
}
