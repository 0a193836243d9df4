//! `cargo xtask test | package | bench | soak | aws-smoke`: the commands that CI and people share.

mod bench;
mod built;
mod group;
mod images;
mod inbox;
mod instructions;
mod lambda;
mod lint;
mod openapi;
mod package;
mod schedule;
mod smoke;
mod soak;
mod stage;
mod stages;
mod terraform;
#[cfg(test)]
mod tidy;
mod tools;
mod webhooks;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Test and measure Sluicegate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every stage of the tests and print the time that each took
    Test(stage::TestArgs),
    /// Build the programs as they are deployed, into dist/
    Package(package::PackageArgs),
    /// Look whether anything that is linked has a known hole (needs the network)
    Advisories,
    /// Measure the agent, with the baseline of the same bytes in the same run
    Bench(bench::BenchArgs),
    /// Try it in an AWS account of yours: apply, kill the agent's instance, look at each event, destroy
    AwsSmoke(smoke::SmokeArgs),
    /// Kill everything at random for some minutes, then look whether each event is where it should be
    Soak(soak::SoakArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Test(args) => stage::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Advisories => lint::advisories(),
        Command::Bench(args) => bench::run(&args),
        Command::AwsSmoke(args) => smoke::run(&args),
        Command::Soak(args) => soak::run(&args),
    }
}
