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

/// Every file below the root with one of these extensions, build output and state left out.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
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
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|e| extension == *e)) {
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
fn every_example_stands_in_the_readme() {
    let text = read("README.md");
    for example in
        files(&["toml"]).iter().map(|path| relative(path)).filter(|path| path.starts_with("examples/"))
    {
        assert!(text.contains(&example), "README.md does not name {example}");
    }
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
