//! The programs and the tests, each built once: every stage selects the same packages with the same
//! features, so that none compiles a library another time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde::Deserialize;

use crate::stage::Outcome;
use crate::workspace::{cargo, target};

/// Features that add tests, and nothing else: what needs a server or rights that not every machine has.
pub(crate) const FEATURES: &str = "foreign-s3,foreign-postgres,foreign-sqs,host,long";

/// Tests that need a server which is not ours, by program and by parts of their names: the stages that have
/// such a server run these, the stage `unit` all others.
const NEEDY: &[(&str, &[&str])] = &[
    ("blob-store it", &["foreign::"]),
    (
        "downstream-server downstream_server",
        &["::postgres::", "inbox::tests::shared::", "in_postgres_", "that_shares_the_inbox", "pull::tests::"],
    ),
    ("downstream-server it", &["shared::"]),
];

/// `cargo build` of the programs, as users build them: without what tests add.
pub(crate) fn programs() -> Command {
    cargo(&["build", "--release", "--workspace", "--bins", "--locked"])
}

/// The tests of whole processes.
const PROCESSES: &str = "e2e processes";

/// A program that holds tests.
#[derive(Debug)]
pub(crate) struct Tests {
    /// The package and the target in it: `e2e processes`.
    name: String,
    file: PathBuf,
    /// The package's folder, where cargo runs it.
    folder: PathBuf,
}

/// A message of cargo, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Every program that holds tests, built if it is not.
pub(crate) fn tests() -> Result<Vec<Tests>, String> {
    let mut build = cargo(&["test", "--no-run", "--workspace", "--locked", "--features", FEATURES]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().map_err(|error| format!("starting {build:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{build:?} ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let tests = text.lines().filter_map(|line| {
        let message: Message = serde_json::from_str(line).ok()?;
        let folder = message.manifest_path?.parent()?.to_owned();
        let package = folder.file_name()?.to_string_lossy().into_owned();
        let file = message.executable.filter(|_| message.profile.is_some_and(|profile| profile.test))?;
        Some(Tests { name: format!("{package} {}", message.target?.name), file, folder })
    });
    Ok(tests.collect())
}

impl Tests {
    /// The program with these arguments.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.file);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder).args(arguments);
        // Tests of whole processes run the programs that users get.
        command.env("SLUICEGATE_PROGRAMS", target().join("release"));
        command
    }

    /// The arguments that leave out what needs a server.
    fn needs_nothing(&self) -> Vec<&'static str> {
        let needy = NEEDY.iter().filter(|(name, _)| *name == self.name).flat_map(|(_, parts)| *parts);
        needy.flat_map(|part| ["--skip", part]).collect()
    }
}

/// The tests of whole processes, with these filters and arguments.
pub(crate) fn processes(arguments: &[&str]) -> Result<Command, String> {
    let found = tests()?.into_iter().find(|tests| tests.name == PROCESSES);
    found
        .map(|tests| tests.command(arguments))
        .ok_or_else(|| format!("there are no tests called {PROCESSES}"))
}

/// The tests of a package that need a server.
pub(crate) fn needy(package: &str) -> Result<Vec<Command>, String> {
    let tests = tests()?;
    let of_package = NEEDY.iter().filter(|(name, _)| name.split(' ').next() == Some(package));
    of_package
        .map(|(name, filters)| {
            let found = tests.iter().find(|tests| tests.name == *name);
            found
                .map(|tests| tests.command(filters))
                .ok_or_else(|| format!("there are no tests called {name}"))
        })
        .collect()
}

/// Runs every test but those of whole processes and those that need a server, as many at a time as there are
/// processors: some of them mostly wait.
pub(crate) fn all_but_processes() -> Outcome {
    let tests = match tests() {
        Ok(tests) => tests,
        Err(why) => return Outcome::Failed(why),
    };
    let waiting: VecDeque<Tests> = tests.into_iter().filter(|tests| tests.name != PROCESSES).collect();
    let (waiting, failed) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let one_after_the_other = || {
        while let Some(tests) = next() {
            let started = Instant::now();
            let output = tests.command(&tests.needs_nothing()).stdin(Stdio::null()).output();
            let (ended, said) = match output {
                Ok(output) if output.status.success() => (None, output.stdout),
                Ok(output) => (Some(output.status.to_string()), [output.stdout, output.stderr].concat()),
                Err(error) => (Some(error.to_string()), Vec::new()),
            };
            println!(
                "--- {} ({:.1} s)\n{}",
                tests.name,
                started.elapsed().as_secs_f64(),
                String::from_utf8_lossy(&said).trim()
            );
            if let Some(ended) = ended {
                failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{}: {ended}", tests.name));
            }
        }
    };
    let lanes = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(one_after_the_other))));
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() { Outcome::Passed } else { Outcome::Failed(failed.join("; ")) }
}
