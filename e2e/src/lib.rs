//! What the whole-process tests stand on: the pipeline as its user starts it, producers that
//! record what was answered, and the oracle that compares it with what came out.
//!
//! The programs are the ones of the target folder that this test itself was built into; `cargo
//! xtask test` builds them first.

pub mod oracle;
pub mod pipeline;
pub mod producer;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program of this workspace, as built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let target =
        test.parent().and_then(|deps| deps.parent()).expect("tests are built into target/PROFILE/deps");
    let program = target.join(name);
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
