//! Large crowds.

use crate::crowds::{idle, unwanted};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    Box::pin(idle(10_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_notices_at_once_for_unknown_buckets_are_refused_and_a_wanted_one_among_them_is_taken()
{
    Box::pin(unwanted(50_000, 1000)).await;
}
