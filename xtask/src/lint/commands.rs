//! What workflows, compose.yaml and Dockerfiles name exists in the tree: ordinary tests.

use std::collections::BTreeSet;
use std::fs;

use clap::Parser as _;

use crate::stages::STAGES;
use crate::workspace::root;
use crate::{Cli, Command};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Name and text of every workflow.
fn workflows() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join(".github/workflows")).expect("there are workflows");
    let paths = folder.map(|entry| entry.expect("an entry can be read").path());
    paths
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a workflow is text"))
        })
        .collect()
}

/// The words after `start` on every line that has it, up to what ends a command.
fn commands<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    text.lines()
        // Comments and names of steps are for people.
        .filter(|line| !line.trim_start().starts_with(['#', '-']))
        .flat_map(move |line| line.split(start).skip(1))
        .map(|rest| rest.split(['|', '>', ';', '&']).next().unwrap_or_default())
        .map(|rest| rest.split_whitespace().map(|word| word.trim_matches(['`', '"', '\''])).collect())
}

#[test]
fn every_cargo_xtask_of_a_workflow_is_one_that_xtask_takes() {
    let mut seen = 0;
    for (name, text) in workflows() {
        for words in commands(&text, "cargo xtask ") {
            seen += 1;
            let cli = Cli::try_parse_from(std::iter::once("xtask").chain(words.iter().copied()));
            let cli = cli.unwrap_or_else(|error| panic!("{name}: cargo xtask {}: {error}", words.join(" ")));
            if let Command::Test(args) = cli.command {
                for stage in &args.only {
                    assert!(
                        STAGES.iter().any(|known| known.name == *stage),
                        "{name}: no stage is named {stage}"
                    );
                }
            }
        }
    }
    assert!(seen >= 4, "only {seen} commands were found");
}

#[test]
fn every_package_that_a_workflow_builds_is_a_member() {
    let members = read("Cargo.toml");
    let mut seen = 0;
    for (name, text) in workflows() {
        for words in commands(&text, "cargo build ") {
            for package in
                words.iter().skip_while(|word| **word != "--package").filter(|word| !word.starts_with('-'))
            {
                seen += 1;
                assert!(members.contains(&format!("\"{package}\"")), "{name}: there is no package {package}");
            }
        }
    }
    assert!(seen > 0, "no package was found");
}

#[test]
fn every_file_that_a_workflow_runs_or_reads_exists() {
    let mut absent = Vec::new();
    let mut seen = 0;
    for (name, text) in workflows() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for word in line.split(|c: char| c.is_whitespace() || "\"'[],=".contains(c)) {
                let ours = [".ci/", ".github/", "docker/", "terraform/", "packaging/", "xtask/"];
                let path = word.trim_end_matches("**").trim_end_matches('/');
                // Not what has a name like ours elsewhere: an action, a registry.
                if ours.iter().any(|folder| word.starts_with(folder))
                    && !word.contains('@')
                    && !word.contains('$')
                {
                    seen += 1;
                    if !root().join(path).exists() {
                        absent.push(format!("{name}: {word}"));
                    }
                }
            }
        }
    }
    assert!(absent.is_empty(), "workflows name what does not exist: {absent:#?}");
    assert!(seen >= 8, "only {seen} files were found");
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_its_version() {
    for (name, text) in workflows() {
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let (action, version) = line.split_once(" # ").unwrap_or((line, ""));
            let commit = action.rsplit('@').next().unwrap_or_default();
            assert!(
                commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{name}: {line}: not pinned by a commit"
            );
            assert!(version.starts_with('v'), "{name}: {line}: which version is it?");
        }
    }
}

#[test]
fn the_one_required_job_waits_for_every_other() {
    let text = read(".github/workflows/ci.yml");
    let (_, jobs) = text.split_once("\njobs:\n").expect("it has jobs");
    let names: BTreeSet<&str> = jobs
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':'))
        .map(|line| line.trim().trim_end_matches(':'))
        .filter(|name| *name != "required")
        .collect();
    let needs =
        text.lines().find_map(|line| line.trim().strip_prefix("needs: [")).expect("it waits for jobs");
    assert_eq!(needs.trim_end_matches(']').split(", ").collect::<BTreeSet<_>>(), names);
}

#[test]
fn every_image_that_compose_and_the_release_build_is_a_target_of_the_dockerfile() {
    let dockerfile = read("docker/Dockerfile");
    let targets: BTreeSet<&str> =
        dockerfile.lines().filter_map(|line| line.strip_prefix("FROM scratch AS ")).collect();
    let compose = read("compose.yaml");
    let built: BTreeSet<&str> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("target: ")).collect();
    assert_eq!(built, targets);
    let release = read(".github/workflows/release.yml");
    let matrix =
        release.lines().find_map(|line| line.trim().strip_prefix("target: [")).expect("it has a matrix");
    assert_eq!(matrix.trim_end_matches(']').split(", ").collect::<BTreeSet<_>>(), targets);
}
