//! What the system refuses at a start: that does not pass by waiting, so it has an exit code of its
//! own, and a word on how to mend it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Whether the system refused for want of a right, and will refuse again.
pub fn refused(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// What to say behind "listening on `address`" when that failed; empty where nothing helps.
pub fn port_help(address: SocketAddr, error: &io::Error) -> &'static str {
    if error.kind() == ErrorKind::PermissionDenied && address.port() < 1024 {
        " (a port below 1024 needs the capability CAP_NET_BIND_SERVICE)"
    } else {
        ""
    }
}

/// What to say behind a failure to use the folder that the setting `setting` names.
pub fn folder_help(setting: &str, user: u32) -> String {
    format!("this runs as the user {user}: let it write there, or name another folder with {setting}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_port_that_is_refused_says_which_capability_it_needs() {
        let low = SocketAddr::from(([127, 0, 0, 1], 80));
        let high = SocketAddr::from(([127, 0, 0, 1], 8080));
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        assert!(port_help(low, &denied).contains("CAP_NET_BIND_SERVICE"));
        assert_eq!(port_help(high, &denied), "");
        assert_eq!(port_help(low, &io::Error::from(ErrorKind::AddrInUse)), "");
    }

    #[test]
    fn what_may_pass_by_itself_is_no_refusal() {
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            assert!(refused(&io::Error::from(kind)));
        }
        for kind in [ErrorKind::StorageFull, ErrorKind::AddrInUse, ErrorKind::Other] {
            assert!(!refused(&io::Error::from(kind)));
        }
    }
}
