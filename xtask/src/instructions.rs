//! The stage that counts instructions: what the hot parts of the agent cost an event, beside a budget.
//!
//! Times drift by a factor of two on shared machines; the number of instructions of a deterministic program does
//! not. callgrind shows every program the same processor, whose features are those of x86-64 with AVX2.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::stage::{Context, Outcome};
use crate::workspace::{root, target};
use crate::{built, tools};

const BUDGETS: &str = "bench/instructions.toml";

/// How far a count may be from its budget.
const TOLERANCE: f64 = 0.03;

/// Runs that both counts have: what only happens once, and what is kept for the next run, has happened by then.
const WARM_UP: u32 = 2;

/// The budget of one part of the agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// How often the part runs between the two counts.
    runs: u32,
    /// Instructions of one event.
    instructions: f64,
}

pub(crate) fn run(context: &Context) -> Outcome {
    if !processor_is_known() {
        return Outcome::NotRun("the budgets are for x86-64 with AVX2".to_owned());
    }
    if let Err(why) = tools::debian(context, "valgrind", &["valgrind"]) {
        return Outcome::NotRun(why);
    }
    let built = Outcome::of([built::programs()]);
    if !matches!(built, Outcome::Passed) {
        return built;
    }
    match compare() {
        Ok(wrong) if wrong.is_empty() => Outcome::Passed,
        Ok(wrong) => Outcome::Failed(format!("{} ({BUDGETS})", wrong.join("; "))),
        Err(error) => Outcome::Failed(format!("counting instructions: {error:#}")),
    }
}

/// Counts each part that has a budget, and says of which the count is not within it.
fn compare() -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join(BUDGETS)).context(BUDGETS)?;
    let budgets: BTreeMap<String, Budget> = toml::from_str(&text).context(BUDGETS)?;
    let mut wrong = Vec::new();
    for (part, budget) in budgets {
        let (less, less_events) = count(&part, WARM_UP)?;
        let (more, more_events) = count(&part, WARM_UP + budget.runs)?;
        let found = (more - less) as f64 / (more_events - less_events) as f64;
        println!("{part:<18} {found:>8.1} instructions an event, budget {:>8.1}", budget.instructions);
        wrong.extend(judge(&part, found, budget.instructions));
    }
    Ok(wrong)
}

/// What is wrong with a count, and what to do about it.
fn judge(part: &str, found: f64, budget: f64) -> Option<String> {
    let away = found / budget - 1.0;
    let advice = match () {
        () if away > TOLERANCE => "make it cheaper again, or raise its budget and say in the commit why",
        () if away < -TOLERANCE => "lower its budget, so that the gain is kept",
        () => return None,
    };
    let percent = away * 100.0;
    Some(format!("{part} takes {found:.1} instructions an event, {percent:+.1} % of its budget: {advice}"))
}

/// Instructions of `runs` runs of a part with all that surrounds them, and the events of the runs.
fn count(part: &str, runs: u32) -> anyhow::Result<(u64, u64)> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(target().join("release/instructions")).args([part, &runs.to_string()]);
    let output = command.output().context("starting valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    let events = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    collected.zip(events).with_context(|| format!("{command:?} said no count: {said}"))
}

#[cfg(target_arch = "x86_64")]
fn processor_is_known() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor_is_known() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_held_to_its_budget_in_both_directions() {
        assert_eq!(judge("part", 1029.0, 1000.0), None);
        assert_eq!(judge("part", 971.0, 1000.0), None);
        assert!(judge("part", 1031.0, 1000.0).is_some_and(|wrong| wrong.contains("+3.1 %")));
        assert!(judge("part", 969.0, 1000.0).is_some_and(|wrong| wrong.contains("lower its budget")));
    }
}
