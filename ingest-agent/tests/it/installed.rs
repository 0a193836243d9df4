//! The program as it is installed: under another name, with the configuration that packages bring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contract::exit;
use tempfile::tempdir;

use crate::program::{assert_exit, run, write_config};

const BROUGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/etc/agent.toml");

/// Everything that the program prints for these arguments, called as `name`.
fn said(name: &Path, args: &[&str]) -> String {
    let output = Command::new(name).args(args).env_clear().output().expect("the program starts");
    let Output { stdout, stderr, .. } = output;
    format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
}

/// The commands below `command` that its help lists, and itself.
fn commands(name: &Path, command: &[String], found: &mut Vec<Vec<String>>) {
    found.push(command.to_vec());
    let args: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
    let help = said(name, &args);
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = listed.lines().take_while(|line| !line.is_empty());
    for word in lines.filter_map(|line| line.split_whitespace().next()).filter(|word| *word != "help") {
        commands(name, &[command, &[word.to_owned()]].concat(), found);
    }
}

#[test]
fn help_version_and_errors_have_the_name_that_it_was_called_by() {
    let dir = tempdir().unwrap();
    let name = dir.path().join("installed-agent");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ingest-agent"), &name).unwrap();
    let mut all = Vec::new();
    commands(&name, &[], &mut all);
    assert!(all.len() > 8, "only {all:?}");
    for command in all {
        let args: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let text = said(&name, &args);
        let usage = format!("Usage: {}", [&["installed-agent".to_owned()], &command[..]].concat().join(" "));
        assert!(text.contains(&usage) && !text.contains("ingest-agent"), "{usage}: {text}");
    }
    assert!(said(&name, &["--version"]).starts_with("installed-agent "));
    // A reader that nobody claims, and a folder that is no channel: errors that say what to type.
    let config = write_config(dir.path(), crate::program::LINES_TO_NULL);
    let other = fs::read_to_string(&config).unwrap().replace("sinks.one", "sinks.two");
    let running = crate::program::Running::start(dir.path(), &config);
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(i32::from(exit::OK)));
    fs::write(&config, other).unwrap();
    let text = said(&name, &["--config", config.to_str().unwrap()]);
    assert!(text.contains("with: installed-agent channel retire "), "{text}");
    assert!(text.contains("\ninstalled-agent: "), "{text}");
}

#[test]
fn the_configuration_that_packages_bring_lacks_a_bucket_and_nothing_else() {
    let unchanged = run(&["--config", BROUGHT, "--check-config"]);
    assert_exit(&unchanged, exit::CONFIG);
    let text = String::from_utf8(unchanged.stderr).unwrap();
    assert!(text.contains("sinks.s3.bucket") && text.lines().count() == 1, "{text}");
    let dir = tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    // With what is commented out for other stores as well: it says how the keys are written.
    let filled = fs::read_to_string(BROUGHT).unwrap().replace("bucket = \"\"", "bucket = \"mine\"");
    let filled = filled.replace("\n# region", "\nregion").replace("\n# endpoint", "\nendpoint");
    fs::write(&file, filled.replace("\n# path_style", "\npath_style")).unwrap();
    let printed = run(&["--config", file.to_str().unwrap(), "--print-config"]);
    assert_exit(&printed, exit::OK);
    let text = String::from_utf8(printed.stdout).unwrap();
    for line in ["bucket = \"mine\"", "region = \"eu-central-1\"", "path_style = true"] {
        assert!(text.contains(line), "no {line} in {text}");
    }
}

#[test]
fn a_folder_that_may_not_be_written_exits_77_and_names_the_setting_and_the_user() {
    let dir = tempdir().unwrap();
    let config = write_config(dir.path(), crate::program::LINES_TO_NULL);
    let text = fs::read_to_string(&config).unwrap();
    // Nobody makes folders there, root neither.
    let refused = PathBuf::from("/sys/sluicegate");
    let data = dir.path().join("data");
    fs::write(&config, text.replace(data.to_str().unwrap(), refused.to_str().unwrap())).unwrap();
    let output = run(&["--config", config.to_str().unwrap()]);
    assert_exit(&output, exit::PERMISSION);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/sys/sluicegate") && text.contains("data_dir (--dir)"), "{text}");
}
