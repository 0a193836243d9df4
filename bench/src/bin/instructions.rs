//! `instructions PART RUNS`: does one part of the agent some times and says how many events that were.
//!
//! It is run under callgrind with two numbers of runs. Start-up, and all that only happens once, costs the same
//! in both, so that the difference is what the events of the further runs cost.

use std::env;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let usage = "usage: instructions PART RUNS";
    let name = args.next().context(usage)?;
    let runs: u32 = args.next().context(usage)?.parse().context(usage)?;
    let part = bench::COUNTED.iter().find(|(counted, _)| *counted == name);
    let (_, part) = part.with_context(|| format!("no part is called {name}"))?;
    let mut part = part();
    println!("{}", (0..runs).map(|_| part()).sum::<u64>());
    Ok(())
}
