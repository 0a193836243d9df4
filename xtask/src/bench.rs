//! Builds the programs as users build them and starts the measurement (`bench/`).

use std::process::{Command, ExitCode};

use anyhow::ensure;
use clap::Args;

use crate::built;
use crate::workspace::{root, target};

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Measure what an event costs as rate, connections, partitions, backlog and overload grow
    #[arg(long)]
    scaling: bool,
    /// Passed on to the measurement: --events N, --rounds N, --only CASE, --json FILE ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    ensure!(built::programs().status()?.success(), "building the programs failed");
    let bin = target().join("release");
    let status = Command::new(bin.join("sluicegate-bench"))
        .current_dir(root())
        .args([if args.scaling { "scaling" } else { "run" }, "--agent"])
        .arg(bin.join("ingest-agent"))
        .args(&args.arguments)
        .status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
