//! `cargo xtask test`: which stages run, and what is said at the end. A stage that did not run is named
//! and counted, never silent.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::schedule;
use crate::stages::{LONG, STAGES};

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Print the stages and what each proves
    #[arg(long)]
    list: bool,
    /// Run the long stages instead: about half an hour of crowds, standstills, steady load and kills
    #[arg(long)]
    long: bool,
    /// Run this stage alone, whether long or not (may be repeated)
    #[arg(long, value_name = "STAGE")]
    pub(crate) only: Vec<String>,
    /// Install the Debian packages that a stage needs (CI=true does so too)
    #[arg(long)]
    install: bool,
    /// Writes the outcome of the one stage as JSON: how a run of many stages hears of each
    #[arg(long, hide = true, requires = "only")]
    outcome: Option<PathBuf>,
}

/// One stage: its name on the command line, what it proves, and how it runs.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) proves: &'static str,
    /// With which others it takes turns.
    pub(crate) lane: Lane,
    /// Stages of the same run that have passed before it begins.
    pub(crate) needs: &'static [&'static str],
    pub(crate) run: fn(&Context) -> Outcome,
}

/// Stages of one lane run one after the other, the two lanes side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Compiles, or keeps a processor busy.
    Computes,
    /// Mostly waits: for programs that are killed and started, for emulators, for downloads.
    Waits,
}

/// What a stage may ask of its surroundings.
pub(crate) struct Context {
    /// Debian packages may be installed.
    pub(crate) install: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    /// Something that the stage needs is missing here: what, and the command that installs it.
    NotRun(String),
}

/// How a stage ended, and how long it took.
pub(crate) struct Ended {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
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
        for (heading, stages) in [("", STAGES), ("\nwith --long:\n", LONG)] {
            print!("{heading}");
            for stage in stages {
                println!("{:<16} {}", stage.name, stage.proves);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let every = || STAGES.iter().chain(LONG.iter().filter(|long| STAGES.iter().all(|s| s.name != long.name)));
    if let Some(unknown) = args.only.iter().find(|name| every().all(|stage| stage.name != **name)) {
        anyhow::bail!("no stage is named {unknown}: `cargo xtask test --list` names them");
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let install = args.install || ci;
    let chosen: Vec<&'static Stage> = if args.only.is_empty() {
        (if args.long { LONG } else { STAGES }).iter().collect()
    } else {
        every().filter(|stage| args.only.iter().any(|name| name == stage.name)).collect()
    };
    let ended = match &chosen[..] {
        [stage] => vec![schedule::here(stage, &Context { install })],
        stages => schedule::side_by_side(stages, install)?,
    };
    if let (Some(file), [one]) = (&args.outcome, &ended[..]) {
        let text = serde_json::to_string(&one.outcome).context("writing an outcome")?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let code = report(&ended, ci);
    if args.only.is_empty() && !args.long {
        println!("apart from these, `cargo xtask test --long` runs the long ones");
    }
    Ok(code)
}

fn report(ended: &[Ended], ci: bool) -> ExitCode {
    println!("\n=== stages");
    let (mut passed, mut failed, mut not_run) = (0, Vec::new(), Vec::new());
    for Ended { name, outcome, took } in ended {
        let word = match outcome {
            Outcome::Passed => {
                passed += 1;
                "passed"
            }
            Outcome::Failed(why) => {
                failed.push((name, why));
                "FAILED"
            }
            Outcome::NotRun(why) => {
                not_run.push((name, why));
                "NOT RUN"
            }
        };
        println!("{name:<16} {word:<8} {:>7.1} s", took.as_secs_f64());
    }
    for (word, stages) in [("FAILED", &failed), ("NOT RUN", &not_run)] {
        for (name, why) in stages {
            println!("{word}: {name} ({why})");
        }
    }
    println!("stages: {passed} passed, {} failed, {} not run", failed.len(), not_run.len());
    // In CI a stage that could not run is a hole in the proof, not a detail.
    if !failed.is_empty() || (ci && !not_run.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
