//! A wall clock that jumps back and forth by seconds, minutes and days.

use e2e::machine::Trouble;
use e2e::soak::Options;

use crate::oracle::{holds, short};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_while_the_agents_clock_jumps() {
    holds(Options { troubles: vec![Trouble::ClockSet], ..short(12) }).await;
}
