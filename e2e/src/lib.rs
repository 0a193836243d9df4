//! What the whole-process tests stand on: the pipeline as its user starts it, producers that
//! record what was answered, and the oracle that compares it with what came out.
//!
//! The programs are the ones of the target folder that this test itself was built into, or of the
//! folder that `SLUICEGATE_PROGRAMS` names; `cargo xtask test` builds them first.

pub mod door;
pub mod faults;
pub mod fidelity;
pub mod front;
pub mod host;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod oracle;
pub mod parts;
pub mod pipeline;
pub mod process;
pub mod producer;
pub mod random;
pub mod soak;
pub mod tally;
pub mod trace;
pub mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program of this workspace, as built.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows where it is");
    let built = own.parent().expect("a program lies in a folder");
    // Tests are built into target/PROFILE/deps, programs one level above.
    let built = if built.ends_with("deps") { built.parent().unwrap_or(built) } else { built };
    let folder = std::env::var_os("SLUICEGATE_PROGRAMS").map_or_else(|| built.to_owned(), PathBuf::from);
    let program = folder.join(name);
    assert!(program.exists(), "{} is not built: cargo xtask test --only build", program.display());
    program
}

/// Looks again and again until there is something, and fails with `what` after `limit`.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
