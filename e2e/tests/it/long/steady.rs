//! Ten minutes of mixed load, and memory that stays as it is.

use std::time::Duration;

use e2e::soak::{self, Options, Sample};

use crate::oracle::short;

/// How much more than before a part may hold at the end, in KiB: what allocators keep for later.
const MARGIN_KIB: u64 = 8 << 10;

/// The highest of a part's samples in a part of the time, in per cent.
fn highest(samples: &[Sample], from: usize, to: usize, of: impl Fn(&Sample) -> u64) -> u64 {
    let part = &samples[samples.len() * from / 100..samples.len() * to / 100];
    part.iter().map(of).max().expect("there are samples of every part of the time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_ten_minutes_of_mixed_load_no_part_takes_more_memory_or_descriptors_than_at_first() {
    // Nothing is killed, so that each part is one process; S3 fails all the same.
    let options = Options { kill_every: None, time: Duration::from_secs(600), ..short(600) };
    let report = Box::pin(soak::run(options)).await;
    println!("{report}");
    assert!(report.wrong.is_empty(), "{report}");
    for (part, samples) in &report.samples {
        assert!(samples.len() > 300, "{part} was looked at {} times", samples.len());
        let [early, late] = [(20, 50), (70, 100)].map(|(from, to)| {
            let memory = highest(samples, from, to, |sample| sample.memory_kib);
            (memory, highest(samples, from, to, |sample| sample.descriptors))
        });
        println!("{part}: KiB and descriptors at most {early:?}, later {late:?}");
        assert!(late.0 <= early.0 + early.0 / 10 + MARGIN_KIB, "{part}: {early:?}, then {late:?}");
        assert!(late.1 <= early.1 + 16, "{part}: {early:?}, then {late:?}");
    }
}
