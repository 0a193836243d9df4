//! Our signatures held against the libraries of Standard Webhooks that receivers and senders use.

use std::process::Command;

use crate::stage::{Context, Outcome};
use crate::tools::{self, npm, venv};
use crate::workspace::{root, target};

pub(crate) fn run(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "npm", &["npm"]) {
        return Outcome::NotRun(why);
    }
    let python = match venv("standardwebhooks-py", &["standardwebhooks==1.1.0"]) {
        Ok(tools) => tools.join("python"),
        Err(error) => return Outcome::NotRun(format!("standardwebhooks from PyPI: {error:#}")),
    };
    let library = match npm("standardwebhooks", "1.1.1") {
        Ok(folder) => folder,
        Err(error) => return Outcome::NotRun(format!("standardwebhooks from npm: {error:#}")),
    };
    let programs = target().join("release");
    let mut script = Command::new(python);
    script.current_dir(root()).arg("downstream-server/tests/webhooks/run.py").arg("--npm").arg(library);
    script.arg("--server").arg(programs.join("downstream-server"));
    script.arg("--notifier").arg(programs.join("notifier-lambda"));
    Outcome::of([script])
}
