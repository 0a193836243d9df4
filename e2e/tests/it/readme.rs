//! README's commands, run as they stand, only on free ports.

use std::process::Stdio;
use std::time::Duration;

use e2e::pipeline::Pipeline;
use e2e::{producer, until};
use tokio::process::Command;

const README: &str = include_str!("../../../README.md");

/// Every command line in a `sh` block, continuation lines joined.
fn commands() -> Vec<String> {
    let blocks = README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text = blocks.collect::<String>().replace("\\\n", " ");
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// As README has it by default, on the ports of this pipeline.
fn on_ports_of(pipeline: &Pipeline, command: &str) -> String {
    let netcat = pipeline.addr("netcat");
    command
        .replace("127.0.0.1:8080", &pipeline.addr("http").to_string())
        .replace("127.0.0.1:8081", &pipeline.addr("admin").to_string())
        .replace("127.0.0.1:8090", &pipeline.addr("page").to_string())
        .replace("127.0.0.1 4444", &format!("{} {}", netcat.ip(), netcat.port()))
}

async fn shell(command: &str) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    shell.stdin(Stdio::null()).output().await.expect("a shell is there")
}

#[tokio::test]
async fn every_line_that_readme_says_to_paste_works() {
    let pipeline = Pipeline::start().await;
    let mut pasted = 0;
    for command in commands().iter().filter(|command| command.contains("curl ") || command.contains("nc -w"))
    {
        let output = shell(&on_ports_of(&pipeline, command)).await;
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !text.contains("error"), "{command}: {text}");
        pasted += 1;
    }
    assert!(pasted >= 3, "README says to paste only {pasted} lines");
    let client = producer::client();
    for line in ["hello over http", "hello over netcat"] {
        until("the pasted line on the page", Duration::from_secs(3), async || {
            let recent =
                client.get(pipeline.url("page", "/v1/recent")).send().await.ok()?.text().await.ok()?;
            recent.contains(line).then_some(())
        })
        .await;
    }
}

#[test]
fn every_cargo_command_of_readme_names_what_exists() {
    for command in commands().iter().filter(|command| command.starts_with("cargo ")) {
        let words: Vec<&str> = command.split_whitespace().take_while(|word| *word != "#").collect();
        let known = ["cargo run --release", "cargo build --release", "cargo xtask test", "cargo xtask bench"];
        let command = words.join(" ");
        assert!(known.iter().any(|known| command.starts_with(known)), "{command} is not run by any test");
    }
}
