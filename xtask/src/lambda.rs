//! The notifier as users deploy it: its package in Lambda environments that are not ours.

use std::process::Command;

use crate::package;
use crate::stage::{Context, Outcome};
use crate::tools::{Server, venv};
use crate::workspace::{cargo, root};

/// The stage: cargo-lambda's emulator and MiniStack run the package.
pub(crate) fn run(_: &Context) -> Outcome {
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
        .arg(package::notifier_zip())
        .arg("--cargo-lambda")
        .arg(tools.join("cargo-lambda"))
        .args(["--ministack", &ministack.endpoint]);
    Outcome::of([cargo(&["xtask", "package", "--programs"]), script])
}
