//! Where things lie: the checkout, the target folder, the programs built in it.

use std::path::PathBuf;
use std::process::Command;

/// The root of the checkout that cargo runs us in. Asked at run time: two checkouts that share a
/// target folder share this very program.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.expect("xtask is started by cargo: `cargo xtask`");
    manifest.parent().expect("xtask lies one level below the root").to_owned()
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target/` in the checkout.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The cargo that started us, run in the root of the checkout. What it builds knows the commit.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    if let Some(commit) = git(&["describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]) {
        command.env("SLUICEGATE_COMMIT", commit);
    }
    command
}

/// What git says about the checkout, if there is a git and it is one.
pub(crate) fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root()).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
