//! File descriptors: how many this process may have, and how the connections share what its own files leave.
//!
//! Every connection takes one. A program that lets in as many as its limits say, and then cannot open the next file of
//! its own, has failed for the sake of clients that may be silent. So it knows at its start how many it may have.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit is raised as far as the system lets us, and not beyond this: some programs that we may start look at each
/// descriptor that they could have.
const ENOUGH: u64 = 1 << 20;

/// The part of all descriptors that connections get at the least, however much a program would keep for itself.
const LEAST_SHARE: u64 = 4;

/// Raises this process's limit of open files (`RLIMIT_NOFILE`) to the hard limit, and says what it is then.
pub fn raise() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let (current, most) = (limits.current.unwrap_or(u64::MAX), limits.maximum.unwrap_or(u64::MAX));
    let wanted = most.min(ENOUGH);
    if wanted > current
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limits.maximum })
    {
        tracing::warn!(%error, current, wanted, "the limit of open files cannot be raised");
    }
    limit()
}

/// Whether this process, or the whole system, has as many files and connections open as it may.
pub fn are_used_up(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// How many files and connections this process may have open.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lowers the numbers of connections that listeners `want`, so that `kept` of the `limit` descriptors are left for
/// everything else: all by the same share, and none below 1.
pub fn share(limit: u64, kept: u64, want: &[usize]) -> Vec<usize> {
    let wanted: u64 = want.iter().map(|want| *want as u64).fold(0, u64::saturating_add);
    let room = limit.saturating_sub(kept).max(limit / LEAST_SHARE);
    if wanted <= room {
        return want.to_vec();
    }
    let share = |want: &usize| (*want as u128 * u128::from(room) / u128::from(wanted)).max(1) as usize;
    want.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_share_what_is_not_kept_and_never_get_less_than_a_quarter() {
        assert_eq!(share(1 << 20, 100, &[1024, 1024, 64]), [1024, 1024, 64], "there is enough");
        assert_eq!(share(1024, 112, &[1024, 1024]), [456, 456]);
        assert_eq!(share(1024, 112, &[1024, 0, 1024]).len(), 3);
        assert_eq!(share(64, 112, &[1024, 1024, 64]), [7, 7, 1], "more would be kept than there is");
        assert_eq!(share(u64::MAX, 1, &[usize::MAX >> 1]), [usize::MAX >> 1]);
        assert_eq!(share(4, 100, &[1, 1, 1]), [1, 1, 1], "each lets somebody in");
    }

    #[test]
    fn the_limit_is_raised_to_what_the_system_allows() {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise(), most.min(ENOUGH).max(limit()));
    }
}
