//! Syncs that take longer than any time-out of a sender or a source.

use std::time::Duration;

use crate::host::sync::slow;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_of_45_seconds_holds_answers_back_and_breaks_no_connection_i1() {
    slow(Duration::from_secs(45)).await;
}
