//! The server's OpenAPI document held against the server, by schemathesis.

use std::process::Command;

use crate::stage::{Context, Outcome};
use crate::tools::venv;
use crate::workspace::{root, target};

pub(crate) fn run(_: &Context) -> Outcome {
    let tools = match venv("schemathesis", &["schemathesis==4.32.5"]) {
        Ok(tools) => tools,
        Err(error) => return Outcome::NotRun(format!("schemathesis from PyPI: {error:#}")),
    };
    let mut script = Command::new("python3");
    script
        .current_dir(root())
        .arg("downstream-server/tests/openapi/run.py")
        .arg("--server")
        .arg(target().join("release/downstream-server"))
        .arg("--schemathesis")
        .arg(tools.join("schemathesis"));
    Outcome::of([script])
}
