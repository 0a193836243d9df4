//! One event in, one event out, whatever its bytes are (I10).

use std::time::Duration;

use e2e::fidelity::run::{Options, run};
use e2e::fidelity::views::Format;
use e2e::random::seed;

async fn holds(format: Format) {
    let (time, kill_every) = (Duration::from_secs(8), Duration::from_millis(900));
    let report = Box::pin(run(Options { seed: seed(), format, time, kill_every })).await;
    println!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ndjson_gives_every_event_of_every_shape_to_every_consumer_as_one_event_i10() {
    holds(Format::Ndjson).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_gives_every_line_of_every_shape_to_every_consumer_i10() {
    holds(Format::Text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_gives_every_byte_of_every_shape_to_every_consumer_i10() {
    holds(Format::Raw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_lines_gives_every_event_of_every_shape_with_its_headers_to_every_consumer_i10() {
    holds(Format::JsonLines).await;
}
