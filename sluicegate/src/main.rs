//! The whole pipeline on one machine, with no AWS account: `cargo run --release`.
//!
//! The parent starts each program as a child of itself, so that each has its own process,
//! memory and end: `pipeline` says in which order, `child` how one is kept alive, `parts` what
//! runs in it, `settings` what they agree on, `ends` what it exits with.

mod child;
mod ends;
mod parts;
mod pipeline;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use contract::exit;

/// Sluicegate: events in over HTTP and netcat, whole S3 objects, notices out. All on this machine.
#[derive(Parser)]
#[command(name = "sluicegate", args_conflicts_with_subcommands = true, args_override_self = true)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// A part by itself; its settings come in one line of JSON on standard input, and it ends
    /// when that input closes
    #[command(subcommand)]
    part: Option<Part>,
    /// Ask the pipeline that runs with these addresses whether it is ready, and do nothing else
    #[arg(long)]
    health: bool,
    /// Write man pages and shell completions below DIR, such as ~/.local/share, and do nothing else
    #[arg(long, value_name = "DIR")]
    generate: Option<PathBuf>,
}

/// Where the pipeline keeps its state and listens. Port 0 picks a free port.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder that holds all state; a later start goes on from it
    #[arg(long, default_value = "./sluicegate-data", value_name = "DIR")]
    dir: PathBuf,
    /// Agent: events over HTTP
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    http: SocketAddr,
    /// Agent: events over TCP, one a line
    #[arg(long, default_value = "127.0.0.1:4444", value_name = "ADDR")]
    netcat: SocketAddr,
    /// Agent: metrics, health, flush
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDR")]
    admin: SocketAddr,
    /// Server: the page, the API and the notices
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "ADDR")]
    page: SocketAddr,
    /// Local cloud: S3
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDR")]
    s3: SocketAddr,
    /// Local cloud: the Lambda Runtime API
    #[arg(long, default_value = "127.0.0.1:9001", value_name = "ADDR")]
    lambda: SocketAddr,
    /// Local cloud: how long the notifier may take over one try
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = duration)]
    lambda_timeout: Duration,
    /// Local cloud: wait before the second try of a failed invocation, twice that before the third (AWS: 1m)
    #[arg(long, default_value = "1s", value_name = "DURATION", value_parser = duration)]
    lambda_retry_delay: Duration,
    /// Write one JSON object with every address and the folder once all of it answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Nobody types them: hidden, so that no page of `sluicegate agent` takes the name of the agent's own.
#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// S3 and the Lambda Runtime API
    #[command(hide = true)]
    Cloud,
    /// The downstream server
    #[command(hide = true)]
    Server,
    /// The notifier Lambda
    #[command(hide = true)]
    Notifier,
    /// The ingest agent
    #[command(hide = true)]
    Agent,
}

fn main() -> ExitCode {
    let command = Cli::command().version(version());
    let cli = match command.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::CONFIG } else { exit::OK });
        }
    };
    let result = match cli {
        Cli { generate: Some(share), .. } => generate(command, &share),
        Cli { health: true, options, .. } => Ok(health(&options)),
        Cli { part: None, options, .. } => pipeline::run(&options),
        Cli { part: Some(part), .. } => parts::run(part),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sluicegate: {error:#}");
            ExitCode::from(ends::code_of(&error))
        }
    }
}

fn generate(command: clap::Command, share: &Path) -> anyhow::Result<ExitCode> {
    let called = std::env::args().next().unwrap_or_default();
    command_line::generate(command, &called, share)
        .with_context(|| format!("writing below {}", share.display()))?;
    Ok(ExitCode::from(exit::OK))
}

/// Whoever takes events and whoever takes notices: both have to be ready.
fn health(options: &Options) -> ExitCode {
    match command_line::healthy(options.admin).and_then(|()| command_line::healthy(options.page)) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(text) => {
            eprintln!("{text}");
            ExitCode::from(exit::UNAVAILABLE)
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    ingest_agent::config::parse_duration(text)
        .ok_or_else(|| "write a number and a unit: 50ms, 30s, 1m".to_owned())
}

/// The version, the commit of the build, and the versions of everything that is kept or sent.
fn version() -> String {
    let formats = format!("{}\n{}", ingest_agent::cli::formats(), downstream_server::formats());
    command_line::version(option_env!("SLUICEGATE_COMMIT"), &formats)
}
