//! The exit codes of all programs, after the numbers of `sysexits.h`.
//!
//! A supervisor needs one answer from a code: does starting again help, or is a person needed?

/// It did what it was asked to, or stopped in order.
pub const OK: u8 = 0;
/// The arguments or the configuration are wrong; every mistake was printed.
pub const CONFIG: u8 = 64;
/// What lies on disk cannot be used as it is: an unknown version, a reader or inbox that the
/// configuration no longer names. The message says with which command to go on.
pub const DATA: u8 = 65;
/// Something that is needed is not there: a port or folder is taken, an endpoint does not answer.
pub const UNAVAILABLE: u8 = 69;
/// A mistake in the program.
pub const SOFTWARE: u8 = 70;
/// The disk failed. Nothing that was acknowledged is lost; starting again recovers.
pub const IO: u8 = 74;
/// It stopped before all was done, for want of time. Nothing is lost; the next start goes on.
pub const TEMPFAIL: u8 = 75;
/// Somebody else writes under this identity (a cloned volume) or holds this cut's key with other content.
pub const FORK: u8 = 76;
/// A permission is missing; the message names it.
pub const PERMISSION: u8 = 77;
/// A second signal ended it at once. Nothing that was acknowledged is lost.
pub const KILLED: u8 = 130;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What the process exits with.
    pub code: u8,
    /// What it means, for people.
    pub meaning: &'static str,
    /// Whether starting again, with nothing changed, can help.
    pub restart_helps: bool,
}

/// All exit codes, lowest first; what the documents print.
pub fn table() -> &'static [Exit] {
    const fn line(code: u8, restart_helps: bool, meaning: &'static str) -> Exit {
        Exit { code, meaning, restart_helps }
    }
    const TABLE: &[Exit] = &[
        line(OK, false, "done, or stopped in order"),
        line(CONFIG, false, "wrong arguments or configuration; every mistake was printed"),
        line(DATA, false, "what lies on disk cannot be used as it is; the message says how to go on"),
        line(
            UNAVAILABLE,
            true,
            "a port or folder is taken, an endpoint does not answer, or file descriptors are used up",
        ),
        line(SOFTWARE, true, "a mistake in the program"),
        line(IO, true, "the disk failed; nothing that was acknowledged is lost"),
        line(TEMPFAIL, true, "stopped before all was done; the next start goes on"),
        line(FORK, false, "somebody else writes under this identity, or holds a key with other content"),
        line(PERMISSION, false, "a permission is missing; the message names it"),
        line(KILLED, true, "ended at once by a second signal; nothing that was acknowledged is lost"),
    ];
    TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_each_code_once_in_order() {
        assert!(table().is_sorted_by(|a, b| a.code < b.code));
        assert_eq!(table().len(), 10);
    }
}
