//! The delivery oracle for ten minutes, with everything that can go wrong.

use std::time::Duration;

use e2e::machine::Trouble;
use e2e::soak::Options;

use crate::oracle::{holds, short};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_ten_minutes_of_kills_and_faults_and_a_machine_in_every_trouble_no_promise_is_broken() {
    let troubles = Trouble::ALL.to_vec();
    holds(Options { troubles, kill_every: Some(Duration::from_millis(2500)), ..short(600) }).await;
}
