//! The delivery oracle for as long as one likes: `cargo xtask soak`.

use std::process::ExitCode;
use std::time::Duration;

use e2e::machine::Trouble;
use e2e::random;
use e2e::soak::{self, Options};

const USAGE: &str = "usage: sluicegate-soak [--minutes N] [--events N] [--seed N] [--kill-every-ms N]";

#[tokio::main]
async fn main() -> ExitCode {
    let (mut minutes, mut events, mut seed, mut kill_every) = (5, None, None, 2500);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (flag.as_str(), value) {
            ("--minutes", Some(value)) => minutes = value,
            ("--events", Some(value)) => events = Some(value),
            ("--seed", Some(value)) => seed = Some(value),
            ("--kill-every-ms", Some(value)) => kill_every = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(contract::exit::CONFIG);
            }
        }
    }
    let options = Options {
        seed: seed.unwrap_or_else(random::seed),
        time: Duration::from_secs(60 * minutes),
        events: events.unwrap_or(300_000 * minutes),
        kill_every: Some(Duration::from_millis(kill_every)),
        troubles: Trouble::ALL.to_vec(),
    };
    let report = Box::pin(soak::run(options)).await;
    println!("{report}");
    if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
