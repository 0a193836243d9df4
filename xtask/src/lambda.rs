//! The notifier as users deploy it: its package, and the package in Lambda environments that are not ours.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::stage::{Context, Outcome};
use crate::tools::{Server, venv};
use crate::workspace::{cargo, root, target};

/// What the package may have at most. Lambda takes ten times as much; a larger one starts later.
const MAX_PACKAGE_BYTES: u64 = 5_000_000;

/// Builds the notifier as users build it and zips it as Lambda takes it: one file, `bootstrap`.
pub(crate) fn package() -> anyhow::Result<PathBuf> {
    let build = ["build", "--release", "--package", "notifier-lambda", "--locked"];
    ensure!(cargo(&build).status()?.success(), "building the notifier failed");
    let folder = target().join("package");
    fs::create_dir_all(&folder)?;
    let package = folder.join("notifier-lambda.zip");
    crate::package::zip(&target().join("release/notifier-lambda"), &package)?;
    let bytes = fs::metadata(&package)?.len();
    println!("--- {}: {bytes} bytes", package.display());
    ensure!(
        bytes < MAX_PACKAGE_BYTES,
        "the package has {bytes} bytes; at most {MAX_PACKAGE_BYTES} are meant"
    );
    Ok(package)
}

/// The stage: cargo-lambda's emulator and MiniStack run the package.
pub(crate) fn run(_: &Context) -> Outcome {
    let package = match package() {
        Ok(package) => package,
        Err(error) => return Outcome::Failed(format!("{error:#}")),
    };
    let tools = match venv("lambda", &["cargo-lambda==1.9.2", "boto3==1.44.5"]) {
        Ok(tools) => tools,
        Err(error) => return Outcome::NotRun(format!("cargo-lambda and boto3 from PyPI: {error:#}")),
    };
    let ministack = match Server::ministack() {
        Ok(ministack) => ministack,
        Err(error) => return Outcome::NotRun(format!("MiniStack from PyPI: {error:#}")),
    };
    let mut script = Command::new(tools.join("python"));
    script
        .current_dir(root())
        .arg("notifier-lambda/tests/environments/run.py")
        .arg("--package")
        .arg(package)
        .arg("--cargo-lambda")
        .arg(tools.join("cargo-lambda"))
        .args(["--ministack", &ministack.endpoint]);
    Outcome::of([script])
}
