//! Runs the stages of the tests one after the other, and says at the end what passed, what
//! failed and what did not run. A stage that did not run is named and counted, never silent.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args;

use crate::stages::STAGES;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Print the stages and what each proves
    #[arg(long)]
    list: bool,
    /// Run this stage alone (may be repeated)
    #[arg(long, value_name = "STAGE")]
    pub(crate) only: Vec<String>,
    /// Install the Debian packages that a stage needs (CI=true does so too)
    #[arg(long)]
    install: bool,
}

/// One stage: its name on the command line, what it proves, and how it runs.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) proves: &'static str,
    pub(crate) run: fn(&Context) -> Outcome,
}

/// What a stage may ask of its surroundings.
pub(crate) struct Context {
    /// Debian packages may be installed.
    pub(crate) install: bool,
}

pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Something that the stage needs is missing here: what, and the command that installs it.
    NotRun(String),
}

impl Outcome {
    /// Runs each command in turn and stops at the first that fails.
    pub(crate) fn of(commands: impl IntoIterator<Item = Command>) -> Self {
        for mut command in commands {
            match command.status() {
                Ok(status) if status.success() => {}
                Ok(status) => return Self::Failed(format!("{command:?} ended with {status}")),
                Err(error) => return Self::Failed(format!("starting {command:?}: {error}")),
            }
        }
        Self::Passed
    }
}

pub(crate) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        for stage in STAGES {
            println!("{:<16} {}", stage.name, stage.proves);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = args.only.iter().find(|name| STAGES.iter().all(|stage| stage.name != **name)) {
        anyhow::bail!("no stage is named {unknown}: `cargo xtask test --list` names them");
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let context = Context { install: args.install || ci };
    let chosen =
        STAGES.iter().filter(|stage| args.only.is_empty() || args.only.iter().any(|n| n == stage.name));

    let mut results = Vec::new();
    for stage in chosen {
        println!("\n=== {}: {}", stage.name, stage.proves);
        let started = Instant::now();
        let outcome = (stage.run)(&context);
        if let Outcome::Failed(why) = &outcome {
            println!("=== {} FAILED: {why}", stage.name);
        }
        results.push((stage.name, outcome, started.elapsed()));
    }
    Ok(report(&results, ci))
}

fn report(results: &[(&str, Outcome, Duration)], ci: bool) -> ExitCode {
    println!("\n=== stages");
    let (mut passed, mut failed, mut not_run) = (0, 0, Vec::new());
    for (name, outcome, took) in results {
        let word = match outcome {
            Outcome::Passed => {
                passed += 1;
                "passed"
            }
            Outcome::Failed(_) => {
                failed += 1;
                "FAILED"
            }
            Outcome::NotRun(why) => {
                not_run.push((name, why));
                "NOT RUN"
            }
        };
        println!("{name:<16} {word:<8} {:>7.1} s", took.as_secs_f64());
    }
    for (name, why) in &not_run {
        println!("NOT RUN: {name} ({why})");
    }
    println!("stages: {passed} passed, {failed} failed, {} not run", not_run.len());
    // In CI a stage that could not run is a hole in the proof, not a detail.
    if failed > 0 || (ci && !not_run.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
