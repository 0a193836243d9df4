//! The command line: arguments to configuration, to a running agent or one of the operator's commands, to an exit code.

mod channel;
mod connect;
mod cost;
mod dead;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use command_line::AGENT;
use contract::exit;

use crate::agent::{Agent, Outcome};
use crate::config::{Config, Flags, Mistakes};
use crate::error::{AgentError, StartError};
use crate::logging::{self, LogControl};
use crate::signals::{self, StopSignals};

/// Takes events by HTTP and TCP, makes them durable, and ships them as whole S3 objects.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file, TOML
    #[arg(long, value_name = "FILE", env = "SLUICEGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Report every mistake of the configuration, and do nothing else
    #[arg(long)]
    check_config: bool,
    /// With --check-config: try the bucket, a put and a conditional put, and name what is missing
    #[arg(long, requires = "check_config")]
    connect: bool,
    /// Print the configuration in force with every default and its meaning, without secrets
    #[arg(long, conflicts_with = "check_config")]
    print_config: bool,
    /// Ask the agent that runs with this configuration whether it is ready, and do nothing else
    #[arg(long, conflicts_with_all = ["check_config", "print_config"])]
    health: bool,
    /// Write man pages and shell completions below DIR, such as ~/.local/share, and do nothing else
    #[arg(long, value_name = "DIR")]
    generate: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look after the folder of a durable channel, while no agent runs on it
    #[command(subcommand)]
    Channel(channel::ChannelCommand),
    /// Decide on cuts that the store would never take, while no agent runs
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    /// What a month on AWS costs, beside Amazon Data Firehose and Apache Flume
    Cost(cost::CostArgs),
}

/// What a command ends with that did not succeed: the exit code, and the text for stderr.
#[derive(Debug)]
struct Failure {
    code: u8,
    text: String,
}

/// Runs the program with the arguments and environment of this process; `commit` is that of the build.
pub fn main(commit: Option<&str>) -> ExitCode {
    AGENT.runs_as(std::env::args_os().next().as_deref());
    let cli = match command(commit).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::CONFIG } else { exit::OK });
        }
    };
    match execute(cli, commit) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Failure { code, text }) => {
            eprintln!("{text}");
            ExitCode::from(code)
        }
    }
}

/// The command line, under the name by which this program was called.
fn command(commit: Option<&str>) -> clap::Command {
    Cli::command().name(AGENT.to_string()).version(command_line::version(commit, &formats()))
}

/// Runs an agent until a signal stops it; what the agent's child of another program does, too.
pub async fn serve(config: Config, log: LogControl) -> Result<Outcome, AgentError> {
    let stop = StopSignals::listen().map_err(AgentError::Signals)?;
    let usr1 = signals::usr1().map_err(AgentError::Signals)?;
    let flush_timeout = config.flush_timeout;
    entrance::descriptors::raise();
    let agent = Agent::start(config, Some(log)).await?;
    let flushing = tokio::spawn(signals::flush_on_usr1(usr1, agent.flusher().clone(), flush_timeout));
    let outcome = agent.run(stop.stop()).await;
    flushing.abort();
    outcome
}

fn execute(cli: Cli, commit: Option<&str>) -> Result<(), Failure> {
    if let Some(share) = &cli.generate {
        let done = command_line::generate(command(commit), &AGENT.to_string(), share);
        return done
            .map_err(|error| Failure::new(exit::IO, &format!("writing below {}", share.display()), &error));
    }
    if let Some(command) = cli.command {
        return match command {
            Command::Channel(command) => channel::execute(command),
            Command::Dead(command) => dead::execute(command),
            Command::Cost(args) => cost::execute(&args),
        };
    }
    if cli.health {
        let admin = admin_address(&cli)?;
        return command_line::healthy(admin).map_err(|text| Failure { code: exit::UNAVAILABLE, text });
    }
    if cli.print_config && cli.config.is_none() && cli.flags.pipeline.bucket.is_none() {
        print!("{}", Config::outline(&cli.flags));
        return Ok(());
    }
    let config = load(&cli)?;
    if cli.print_config {
        print!("{}", config.effective);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(exit::UNAVAILABLE, "starting the runtime", &error))?;
    if cli.check_config {
        println!("the configuration is right");
        for note in &config.notes {
            println!("note: {note}");
        }
        return if cli.connect { runtime.block_on(connect::check(&config)) } else { Ok(()) };
    }
    let log = logging::init(&config.log_level, config.log_format);
    let log = log.map_err(|error| Failure::new(exit::SOFTWARE, "starting the log", &error))?;
    let outcome = runtime.block_on(serve(config, log));
    let outcome = outcome.map_err(|error| {
        let mut failure = Failure::new(error.exit_code(), &AGENT.to_string(), &error);
        if let AgentError::Start(StartError::Channel { .. }) = error
            && failure.code == exit::PERMISSION
        {
            let user = rustix::process::geteuid().as_raw();
            failure.text.push_str("; ");
            failure.text.push_str(&command_line::folder_help("data_dir (--dir)", user));
        }
        failure
    })?;
    tracing::info!("stopped");
    let left = outcome.left.iter().filter(|(_, events)| **events > 0);
    let left: Vec<_> = left.map(|(sink, events)| format!("{events} events of the sink {sink}")).collect();
    if left.is_empty() {
        return Ok(());
    }
    let text = format!("stopped before all was shipped: {} wait for the next start", left.join(", "));
    Err(Failure { code: exit::TEMPFAIL, text })
}

/// Where the agent that runs with this configuration answers. An address that stands in a flag or in
/// the environment is all that is needed: images have one, and are asked often.
fn admin_address(cli: &Cli) -> Result<SocketAddr, Failure> {
    let Some(address) = &cli.flags.admin else {
        let text = "the admin server is switched off (admin.enabled): there is nobody to ask".to_owned();
        return load(cli)?.admin.ok_or(Failure { code: exit::CONFIG, text });
    };
    address.parse().map_err(|error| Failure::new(exit::CONFIG, &format!("--admin {address}"), &error))
}

fn load(cli: &Cli) -> Result<Config, Failure> {
    let config = match &cli.config {
        Some(file) => {
            let text = fs::read_to_string(file);
            let text = text.map_err(|error| {
                Failure::new(exit::CONFIG, &format!("reading the configuration {}", file.display()), &error)
            })?;
            Config::parse(&file.display().to_string(), &text, &cli.flags, &|name| std::env::var(name).ok())
        }
        None if cli.flags.pipeline.bucket.is_some() => Config::from_flags(&cli.flags),
        None => {
            let text = "nothing to do: give --config FILE or --bucket NAME (see --help)".to_owned();
            return Err(Failure { code: exit::CONFIG, text });
        }
    };
    config.map_err(|mistakes: Mistakes| Failure { code: exit::CONFIG, text: mistakes.to_string() })
}

/// The versions of everything that the agent keeps or sends.
pub fn formats() -> String {
    format!(
        "configuration {}, channel format {}, object metadata {}",
        crate::config::CONFIG_VERSION,
        durable_channel::FORMAT_VERSION,
        contract::ObjectMetadata::VERSION,
    )
}

// === impl Failure ===

impl Failure {
    /// The error with everything that caused it, in one line.
    fn new(code: u8, doing: &str, error: &dyn std::error::Error) -> Self {
        let mut text = format!("{doing}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self { code, text }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
