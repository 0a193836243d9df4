//! The delivery oracle, in short: `cargo xtask soak` runs it for as long as one likes.

use std::time::Duration;

use e2e::machine::Trouble;
use e2e::random::seed;
use e2e::soak::{self, Options};

/// A run of so many seconds, in which something is killed every second or so.
pub(crate) fn short(seconds: u64) -> Options {
    Options {
        seed: seed(),
        time: Duration::from_secs(seconds),
        events: seconds * 5000,
        kill_every: Some(Duration::from_millis(900)),
        troubles: Vec::new(),
    }
}

/// Runs it; every promise is looked at there.
pub(crate) async fn holds(options: Options) {
    let report = Box::pin(soak::run(options)).await;
    println!("{report}");
    assert!(report.wrong.is_empty() && report.not_run.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_kills_and_faults_of_s3_every_answered_event_is_stored_and_handed_on_as_often_as_sent() {
    holds(short(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_parts_that_may_open_nothing_more_or_are_stopped_for_a_while_no_promise_is_broken() {
    holds(Options { troubles: vec![Trouble::NoDescriptors, Trouble::Frozen], ..short(20) }).await;
}
