//! Measures the agent as a whole process, beside the baseline: the plainest program that receives,
//! syncs and puts the same bytes. Every figure of one table comes from the same run, because
//! machines differ from hour to hour by more than programs do.
//!
//! The orchestrator starts three kinds of children: the counting endpoint and the baseline (this
//! program again) and the agent. Load comes from threads of the orchestrator itself.

mod backlog;
mod baseline;
mod case;
mod contestant;
mod cores;
mod endpoint;
mod event;
mod latency;
mod load;
mod notices;
mod outside;
mod peer;
mod plot;
mod process;
mod relay;
mod round;
mod scaling;
mod table;
mod tls;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "sluicegate-bench", about = "Measure the ingest agent beside the baseline", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the cases and print a table
    Run(RunArgs),
    /// Measure what an event costs as the load grows
    Scaling(scaling::ScalingArgs),
    /// Start the agent on a long backlog, cold, with a store that does not answer
    Backlog(backlog::BacklogArgs),
    /// Measure how many notices a second the downstream server answers
    Notices(notices::NoticesArgs),
    /// Measure how long an event takes from the agent's 200 to the handler, through the whole pipeline
    Relay(relay::RelayArgs),
    /// The counting S3 endpoint (started by `run`)
    Endpoint {
        #[arg(long)]
        ready_file: PathBuf,
        /// Count the bytes and keep none
        #[arg(long)]
        discard: bool,
    },
    /// The baseline (started by `run`)
    Baseline {
        #[arg(long)]
        ready_file: PathBuf,
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        endpoint: SocketAddr,
        #[arg(long)]
        sync_mib: u16,
    },
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The `ingest-agent` program to measure
    #[arg(long)]
    pub(crate) agent: PathBuf,
    /// Events sent in each round of each case
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) events: u32,
    /// Events sent, and answered, before each round's clocks are read
    #[arg(long, default_value_t = 0)]
    pub(crate) warm_up: u32,
    /// Interleaved rounds; the table shows medians
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Another S3 endpoint for the agent, with a bucket `bench`; credentials are those of AWS_ACCESS_KEY_ID
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// How often the baseline syncs
    #[arg(long, value_name = "MIB", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) baseline_sync_mib: u16,
    /// Connections that send
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: u32,
    /// The cases to run, with commas between; `all` is every one (default: netcat,http). The baseline always runs.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Then offer half of what was accepted in an open loop, and tell how long acknowledgements took
    #[arg(long)]
    pub(crate) latency: bool,
    /// Also write every round as JSON lines
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Also write the multiples of the baseline as a plot
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(args) => round::run(&args),
        Command::Scaling(args) => scaling::run(&args),
        Command::Backlog(args) => backlog::run(&args),
        Command::Notices(args) => notices::run(&args),
        Command::Relay(args) => relay::run(&args),
        Command::Endpoint { ready_file, discard } => endpoint::run(&ready_file, discard),
        Command::Baseline { ready_file, dir, endpoint, sync_mib } => {
            baseline::run(&ready_file, &dir, endpoint, sync_mib)
        }
    }
}
