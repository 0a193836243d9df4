//! Runs the stages: one alone here, several in two lanes side by side. What a stage says is printed in
//! one piece when it has ended; each of several is a process of its own, so that they share no output.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::stage::{Context, Ended, Lane, Outcome, Stage};
use crate::workspace::target;

/// One stage, in this process.
pub(crate) fn here(stage: &Stage, context: &Context) -> Ended {
    println!("\n=== {}: {}", stage.name, stage.proves);
    let started = Instant::now();
    let outcome = (stage.run)(context);
    Ended { name: stage.name, outcome, took: started.elapsed() }
}

/// Each lane's stages in their order, each once what it needs has passed.
pub(crate) fn side_by_side(stages: &[&'static Stage], install: bool) -> anyhow::Result<Vec<Ended>> {
    let logs = target().join("stages");
    fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
    println!("each stage says what it has to say when it has ended; until then see {}", logs.display());
    let run = |stage: &Stage| in_a_process(stage, install, &logs);
    let mut ended = lanes(stages, &run);
    ended.sort_by_key(|one| stages.iter().position(|stage| stage.name == one.name));
    Ok(ended)
}

/// What has ended so far, and who waits for it.
#[derive(Default)]
struct Board {
    ended: Mutex<BTreeMap<&'static str, Outcome>>,
    news: Condvar,
}

impl Board {
    /// Waits until all that a stage needs has ended; what of it has not passed.
    fn awaits(&self, needs: &[&'static str]) -> Option<&'static str> {
        let missing = |ended: &mut BTreeMap<_, _>| needs.iter().any(|need| !ended.contains_key(need));
        let ended = self.news.wait_while(self.ended(), missing).unwrap_or_else(PoisonError::into_inner);
        needs.iter().copied().find(|need| !matches!(ended[need], Outcome::Passed))
    }

    fn ended(&self) -> MutexGuard<'_, BTreeMap<&'static str, Outcome>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, stage: &Stage, outcome: &Outcome) {
        self.ended().insert(stage.name, outcome.clone());
        self.news.notify_all();
    }
}

/// Every stage, as `run` runs it. Needs that are not among the stages count as met.
fn lanes(stages: &[&'static Stage], run: &(impl Fn(&Stage) -> Ended + Sync)) -> Vec<Ended> {
    let board = Board::default();
    let lane = |lane: Lane| {
        let own = stages.iter().filter(|stage| stage.lane == lane);
        own.map(|stage| {
            let needs: Vec<_> = stage.needs.iter().copied().filter(|need| names(stages, need)).collect();
            let ended = match board.awaits(&needs) {
                None => run(stage),
                Some(need) => {
                    let outcome = Outcome::NotRun(format!("{need} has not passed"));
                    Ended { name: stage.name, outcome, took: Duration::ZERO }
                }
            };
            board.tell(stage, &ended.outcome);
            ended
        })
        .collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let computes = scope.spawn(|| lane(Lane::Computes));
        let mut ended = lane(Lane::Waits);
        ended.extend(computes.join().expect("no stage panics in this process"));
        ended
    })
}

fn names(stages: &[&'static Stage], name: &str) -> bool {
    stages.iter().any(|stage| stage.name == name)
}

/// This program once more, for one stage, which says everything into a file.
fn in_a_process(stage: &Stage, install: bool, logs: &Path) -> Ended {
    println!("... {} begins", stage.name);
    let started = Instant::now();
    let log = logs.join(format!("{}.log", stage.name));
    let outcome =
        spoken_into(stage, install, &log).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    let took = started.elapsed();
    // In one piece, whatever the other lane says.
    let mut out = io::stdout().lock();
    let _ = out.write_all(&fs::read(&log).unwrap_or_default());
    let word = match &outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(why) => format!("FAILED: {why}"),
        Outcome::NotRun(why) => format!("NOT RUN: {why}"),
    };
    let _ = writeln!(out, "=== {} {word} ({:.1} s)", stage.name, took.as_secs_f64());
    Ended { name: stage.name, outcome, took }
}

fn spoken_into(stage: &Stage, install: bool, log: &Path) -> anyhow::Result<Outcome> {
    let told = log.with_extension("json");
    let _ = fs::remove_file(&told);
    let file = File::create(log).with_context(|| format!("making {}", log.display()))?;
    let mut again = Command::new(std::env::current_exe().context("finding this program")?);
    again.args(["test", "--only", stage.name, "--outcome"]).arg(&told);
    again.args(install.then_some("--install"));
    again.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = again.status().with_context(|| format!("starting {again:?}"))?;
    let text = fs::read_to_string(&told).with_context(|| format!("the stage ended with {status}"))?;
    serde_json::from_str(&text).context("reading how the stage ended")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::stages::{LONG, STAGES};

    const fn stage(name: &'static str, lane: Lane, needs: &'static [&'static str]) -> Stage {
        Stage { name, proves: "", lane, needs, run: |_| Outcome::Passed }
    }

    const TABLE: &[Stage] = &[
        stage("build", Lane::Computes, &[]),
        stage("lint", Lane::Waits, &[]),
        stage("unit", Lane::Computes, &["build"]),
        stage("e2e", Lane::Waits, &["build", "absent"]),
    ];

    fn ended(fails: &'static str) -> Vec<(&'static str, bool)> {
        let stages: Vec<&'static Stage> = TABLE.iter().collect();
        let at_once = AtomicUsize::new(0);
        let run = |stage: &Stage| {
            assert!(at_once.fetch_add(1, Ordering::SeqCst) < 2, "more than two stages run at a time");
            let failed = stage.name == fails;
            let outcome = if failed { Outcome::Failed("so".to_owned()) } else { Outcome::Passed };
            at_once.fetch_sub(1, Ordering::SeqCst);
            Ended {
                name: TABLE.iter().find(|one| one.name == stage.name).expect("it is of the table").name,
                outcome,
                took: Duration::ZERO,
            }
        };
        let mut ended: Vec<_> = lanes(&stages, &run)
            .into_iter()
            .map(|one| (one.name, matches!(one.outcome, Outcome::Passed)))
            .collect();
        ended.sort_unstable();
        ended
    }

    #[test]
    fn each_stage_runs_once_what_it_needs_has_passed_and_else_it_is_said_not_to_have_run() {
        assert_eq!(ended(""), [("build", true), ("e2e", true), ("lint", true), ("unit", true)]);
        assert_eq!(ended("build"), [("build", false), ("e2e", false), ("lint", true), ("unit", false)]);
        assert_eq!(ended("lint"), [("build", true), ("e2e", true), ("lint", false), ("unit", true)]);
    }

    #[test]
    fn no_stage_needs_one_that_comes_after_it() {
        for table in [STAGES, LONG] {
            for (at, stage) in table.iter().enumerate() {
                for need in stage.needs {
                    assert!(table[..at].iter().any(|before| before.name == *need), "{}: {need}", stage.name);
                }
            }
        }
    }
}
