//! `cargo xtask aws-smoke`: the minimal example in an account of yours, for as long as it takes to send
//! events, kill the agent's instance and see each event arrive once. It asks before it makes anything.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::ensure;
use clap::Args;

use crate::terraform::{AWS, terraform_is_here, with_mirror};
use crate::tools::{self, Server};
use crate::workspace::{cargo, root, target};

#[derive(Args)]
pub(crate) struct SmokeArgs {
    /// Region of everything
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// x86_64, or arm64, which needs what `cargo xtask package --arch arm64` needs
    #[arg(long, default_value = "x86_64", value_parser = ["x86_64", "arm64"])]
    architecture: String,
    /// US dollars that it may cost at most; if the estimate is higher, nothing is made
    #[arg(long, default_value_t = 1.0)]
    max_usd: f64,
    /// Minutes after which it gives up and destroys what it made
    #[arg(long, default_value_t = 90)]
    minutes: u32,
    /// Events in all
    #[arg(long, default_value_t = 20_000)]
    events: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// On MiniStack and this machine instead: the instances are processes then, since it boots none
    #[arg(long, conflicts_with_all = ["region", "architecture", "max_usd", "yes"])]
    emulator: bool,
}

pub(crate) fn run(args: &SmokeArgs) -> anyhow::Result<ExitCode> {
    terraform_is_here().map_err(anyhow::Error::msg)?;
    let mut package = cargo(&["xtask", "package", "--programs"]);
    if !args.emulator {
        package.args(["--arch", &args.architecture]);
    }
    ensure!(package.status()?.success(), "building the programs failed");
    // Stopped when it is dropped, after the run.
    let server = if args.emulator { Some(Server::ministack()?) } else { None };
    let mut command = match &server {
        Some(server) => on_emulator(server)?,
        None => in_account(args)?,
    };
    command.args(["--minutes", &args.minutes.to_string(), "--events", &args.events.to_string()]);
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_account(args: &SmokeArgs) -> anyhow::Result<Command> {
    let mut command = script("smoke", "aws-smoke")?;
    command.args(["--region", &args.region, "--architecture", &args.architecture]);
    command.args(["--max-usd", &args.max_usd.to_string()]);
    if args.yes {
        command.arg("--yes");
    }
    Ok(command)
}

/// The same on an emulator, with what can be looked at there alone.
pub(crate) fn on_emulator(server: &Server) -> anyhow::Result<Command> {
    let mut command = script("apply", "terraform-apply")?;
    command.args(["--endpoint", &server.endpoint]);
    Ok(command)
}

/// A script of terraform/tests with `aws` on its PATH, and a folder of its own.
fn script(name: &str, folder: &str) -> anyhow::Result<Command> {
    let aws = tools::venv("aws", &[AWS])?;
    let mut command = Command::new(aws.join("python"));
    let script: PathBuf = ["terraform/tests", &format!("{name}.py")].iter().collect();
    command.current_dir(root()).arg(script).arg("--work").arg(target().join("tools").join(folder));
    command.env("PATH", tools::path_with(&aws)).env("PYTHONDONTWRITEBYTECODE", "1");
    with_mirror(&mut command);
    Ok(command)
}
