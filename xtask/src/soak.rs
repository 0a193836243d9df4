//! Builds the programs as users build them and starts the delivery oracle (`e2e/src/soak.rs`).

use std::process::{Command, ExitCode};

use anyhow::ensure;
use clap::Args;

use crate::built;
use crate::workspace::{root, target};

#[derive(Args)]
pub(crate) struct SoakArgs {
    /// How long producers send and things go wrong
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Events in all, evenly over the time [default: 300000 a minute]
    #[arg(long)]
    events: Option<u64>,
    /// Repeats the choices of an earlier run, which printed it
    #[arg(long)]
    seed: Option<u64>,
    /// How long on average from one kill to the next, in milliseconds
    #[arg(long, default_value_t = 2500)]
    kill_every_ms: u64,
}

pub(crate) fn run(args: &SoakArgs) -> anyhow::Result<ExitCode> {
    ensure!(built::programs().status()?.success(), "building the programs failed");
    let mut soak = Command::new(target().join("release/sluicegate-soak"));
    soak.current_dir(root());
    let optional = [("--events", args.events), ("--seed", args.seed)];
    let flags = [("--minutes", Some(args.minutes)), ("--kill-every-ms", Some(args.kill_every_ms))];
    for (flag, value) in flags.into_iter().chain(optional) {
        if let Some(value) = value {
            soak.args([flag, &value.to_string()]);
        }
    }
    Ok(if soak.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
