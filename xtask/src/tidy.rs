//! Documents say what is true: what they name exists in the tree. These are ordinary tests, so
//! that `cargo xtask test` and an editor run them alike.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::root;

/// "Files under about 400 lines, one idea each."
const LONGEST_FILE: usize = 450;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below the root with one of these extensions.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let has =
        |path: &PathBuf| path.extension().is_some_and(|extension| extensions.iter().any(|e| extension == *e));
    every_file().into_iter().filter(has).collect()
}

/// Every file below the root, build output and state left out.
fn every_file() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the checkout can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if path.is_dir() {
                let skipped =
                    name.starts_with('.') || ["target", "sluicegate-data", "dist"].contains(&name.as_str());
                if !skipped {
                    folders.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("files() stays below the root").display().to_string()
}

/// What stands between backticks, outside of fenced blocks.
fn code_spans(text: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

/// Names of every test function in the workspace, of every test of a script and of Terraform.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files(&["rs", "py", "hcl"]) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        for word in ["fn ", "def ", "run \""] {
            names.extend(text.split(word).skip(1).filter_map(|rest| {
                let name: String =
                    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                (!name.is_empty()).then_some(name)
            }));
        }
    }
    names
}

#[test]
fn every_test_that_semantics_names_exists() {
    let text = read("SEMANTICS.md");
    let tests = tests();
    let named: Vec<String> =
        text.lines().filter(|line| line.trim_start().starts_with("Proved by")).flat_map(code_spans).collect();
    assert!(named.len() > 20, "SEMANTICS.md names only {} tests", named.len());
    let absent: Vec<&String> = named.iter().filter(|name| !tests.contains(*name)).collect();
    assert!(absent.is_empty(), "SEMANTICS.md names tests that do not exist: {absent:#?}");
}

#[test]
fn every_promise_of_semantics_names_a_test() {
    let text = read("SEMANTICS.md");
    let mut bare = Vec::new();
    for section in text.split("\n### ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        if !section.contains("\nProved by") && !section.contains("\nNot promised") {
            bare.push(title);
        }
    }
    assert!(bare.is_empty(), "SEMANTICS.md promises without a test: {bare:#?}");
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut absent = Vec::new();
    for document in files(&["md"]) {
        let text = fs::read_to_string(&document).expect("a document is text");
        let folder = document.parent().expect("a file has a folder");
        for span in code_spans(&text) {
            let ends_as_path =
                [".rs", ".md", ".toml", ".py", ".html", "/"].iter().any(|end| span.ends_with(end));
            let path = ends_as_path
                && span.contains('/')
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
                && !span.starts_with('/')
                && !span.starts_with("sluicegate-data")
                // Where the agent keeps its own objects in a bucket.
                && !span.starts_with("_sluicegate/")
                && !span.starts_with("target/")
                && !span.starts_with("dist/");
            if path && !root().join(&span).exists() && !folder.join(&span).exists() {
                absent.push(format!("{}: {span}", relative(&document)));
            }
        }
    }
    assert!(absent.is_empty(), "documents name what does not exist: {absent:#?}");
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for document in files(&["md"]) {
        let text = fs::read_to_string(&document).expect("a document is text");
        let folder = document.parent().expect("a file has a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !target.contains("://") && !file.is_empty() && !folder.join(file).exists() {
                broken.push(format!("{}: {target}", relative(&document)));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn every_kept_fixture_is_in_the_list_and_opened_by_a_test_that_exists() {
    let text = read("docs/upgrades.md");
    let tests = tests();
    let mut listed = Vec::new();
    for row in text.lines().filter(|line| line.starts_with("| `") && line.contains("/fixtures/")) {
        let spans = code_spans(row);
        let (path, test) = (spans.first().expect("a row names a path"), spans.last().expect("and a test"));
        assert!(root().join(path).exists(), "docs/upgrades.md lists {path}, which is not there");
        assert!(tests.contains(test), "docs/upgrades.md names the test {test}, which does not exist");
        listed.push(path.clone());
    }
    assert!(listed.len() >= 4, "docs/upgrades.md lists only {listed:?}");
    // Whatever is kept is named by its version.
    let mut absent = BTreeSet::new();
    for path in every_file().iter().map(|path| relative(path)) {
        let Some((_, inside)) = path.split_once("/tests/fixtures/") else { continue };
        let versioned = inside
            .split(['/', '-', '.'])
            .any(|word| word.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok()));
        if versioned && !listed.iter().any(|listed| path.starts_with(listed.as_str())) {
            absent.insert(path);
        }
    }
    assert!(absent.is_empty(), "docs/upgrades.md does not list {absent:#?}");
}

#[test]
fn every_example_stands_in_the_readme() {
    let text = read("README.md");
    for example in
        files(&["toml"]).iter().map(|path| relative(path)).filter(|path| path.starts_with("examples/"))
    {
        assert!(text.contains(&example), "README.md does not name {example}");
    }
}

/// Programs as they are built; whoever has installed them has no such program.
const BUILT: [&str; 3] = ["ingest-agent", "downstream-server", "notifier-lambda"];

/// The commands in a text that call a program by the name it is built by: that name with an argument
/// behind it. Paths, package names and prose are none.
fn called_as_built(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, name) in BUILT.iter().flat_map(|name| text.match_indices(name)) {
        let (before, behind) = (&text[..at], &text[at + name.len()..]);
        let named = ["/", "-p ", "--package "].iter().any(|other| before.ends_with(other));
        let argument = behind.strip_prefix([' ', '\n']).is_some_and(|argument| {
            ["--", "channel ", "dead ", "cost "].iter().any(|start| argument.starts_with(start))
        });
        if argument && !named {
            found.push(text[at..].lines().next().unwrap_or_default());
        }
    }
    found
}

#[test]
fn a_command_to_type_is_told_from_a_path_and_a_package() {
    for text in [
        "`ingest-agent channel adopt`",
        "#   ingest-agent --config x",
        "\ningest-agent dead list",
        "with `ingest-agent\n--print-config`",
    ] {
        assert_eq!(called_as_built(text).len(), 1, "{text}");
    }
    for text in [
        "`ingest-agent/src/cli.rs`",
        "cargo build -p ingest-agent -p x",
        "the `ingest-agent` program",
        "target/release/ingest-agent --bucket b",
    ] {
        assert_eq!(called_as_built(text), Vec::<&str>::new(), "{text}");
    }
}

#[test]
fn what_people_are_told_to_type_has_the_name_that_is_installed() {
    let mut found = Vec::new();
    for path in files(&["md", "rs", "toml", "tf", "tftpl", "sh", "service", "conf", "yaml", "html", "js"]) {
        let name = relative(&path);
        if name == "xtask/src/tidy.rs" || name == "CHANGELOG.md" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a document is text");
        found.extend(called_as_built(&text).into_iter().map(|line| format!("{name}: {line}")));
    }
    assert!(found.is_empty(), "programs under a name that nobody has installed: {found:#?}");
}

#[test]
fn every_source_file_holds_one_idea() {
    let mut long = Vec::new();
    for path in files(&["rs", "js", "py"]) {
        let lines = fs::read_to_string(&path).expect("a source file is text").lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{} has {lines} lines", relative(&path)));
        }
    }
    assert!(long.is_empty(), "files over {LONGEST_FILE} lines: {long:#?}");
}

/// What stands between the parentheses of each call of a macro that logs.
fn log_calls(text: &str) -> Vec<&str> {
    let macros = ["trace!(", "debug!(", "info!(", "warn!(", "error!(", "span!("];
    let calls = macros.iter().flat_map(|name| text.match_indices(name).map(|(at, name)| at + name.len()));
    calls
        .map(|start| {
            let mut depth = 1;
            let mut in_text = false;
            let end = text[start..].char_indices().find(|(at, c)| {
                match c {
                    '"' if !text[..start + at].ends_with('\\') => in_text = !in_text,
                    '(' if !in_text => depth += 1,
                    ')' if !in_text => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            &text[start..end.map_or(text.len(), |(at, _)| start + at)]
        })
        .collect()
}

#[test]
fn no_log_line_shows_a_value_as_rust_writes_it_for_debugging() {
    let sample = "info!(a = %b, c = ?d, \"e ? f (\"); warn!(?g, \"h\"); debug!(i = j()?, \"k\")";
    let marks = |text: &str| {
        let calls = log_calls(text).into_iter().map(str::to_owned);
        let fields = calls.map(|call| call.split('"').step_by(2).collect::<String>());
        fields
            .filter(|fields| ["= ?", "(?", ", ?"].iter().any(|mark| format!("({fields}").contains(mark)))
            .count()
    };
    assert_eq!(marks(sample), 2, "it finds what it looks for");
    let mut found = Vec::new();
    for path in files(&["rs"]) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let name = relative(&path);
        if !name.starts_with("xtask/") && !name.contains("/tests/") && marks(&text) > 0 {
            found.push(name);
        }
    }
    assert!(found.is_empty(), "log lines with `?value`, which a reader of JSON cannot use: {found:#?}");
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_undone() {
    let mut found = Vec::new();
    for path in files(&["rs"]) {
        let text = fs::read_to_string(&path).expect("a source file is text");
        // In two pieces each, so that this file does not find itself.
        for mark in [
            concat!("#[ign", "ore"),
            concat!("tod", "o!("),
            concat!("unimple", "mented!("),
            concat!("FIX", "ME"),
        ] {
            if text.contains(mark) {
                found.push(format!("{}: {mark}", relative(&path)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
