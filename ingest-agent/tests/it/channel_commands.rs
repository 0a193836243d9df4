//! The operator's commands for a channel's folder, as processes.

use std::fs;
use std::path::{Path, PathBuf};

use contract::exit;
use serde_json::Value;
use tempfile::tempdir;

use crate::program::{LINES_TO_NULL, Running, assert_exit, run, write_config};
use crate::support::send_lines;

fn channel(command: &str, folder: &Path, flags: &[&str]) -> std::process::Output {
    run(&[&["channel", command, folder.to_str().expect("it is text")], flags].concat())
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

/// An agent that took 100 lines and stopped in order: its configuration and its channel's folder.
async fn stopped(dir: &Path) -> (PathBuf, PathBuf) {
    let config = write_config(dir, LINES_TO_NULL);
    let running = Running::start(dir, &config);
    send_lines(running.address("/sources/lines"), "line", 100).await;
    let folder = dir.join("data/channels/main");
    assert_exit(&channel("verify", &folder, &[]), exit::UNAVAILABLE);
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(i32::from(exit::OK)));
    (config, folder)
}

/// Every file below a folder with its contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is ours") {
        let path = entry.expect("the folder is ours").path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), fs::read(&path).expect("the folder is ours")));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_sound_folder_is_inspected_and_verified_and_not_changed() {
    let dir = tempdir().unwrap();
    let (_, folder) = stopped(dir.path()).await;
    let before = contents(&folder);
    let inspected = channel("inspect", &folder, &["--json"]);
    assert_exit(&inspected, exit::OK);
    let found = json(&inspected);
    assert_eq!(
        (&found["sound"], &found["next"], &found["format_version"]),
        (&true.into(), &100.into(), &1.into())
    );
    assert_eq!(found["readers"][0]["name"], "one");
    assert_eq!(found["id"].as_str().map(str::len), Some(32), "{found}");
    let table = channel("inspect", &folder, &[]);
    assert!(text(&table).contains("started 1 times, format 1\npositions 0 to 100,"), "{}", text(&table));
    let verified = channel("verify", &folder, &[]);
    assert_exit(&verified, exit::OK);
    assert_eq!(text(&verified), "sound\n");
    assert_exit(&channel("repair", &folder, &[]), exit::OK);
    assert!(before == contents(&folder), "none of these changes anything");
}

#[tokio::test]
async fn damage_is_found_by_verify_and_its_bytes_are_kept_by_repair() {
    let dir = tempdir().unwrap();
    let (config, folder) = stopped(dir.path()).await;
    let segment = folder.join("segments/00000000000000000000.seg");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 50] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let verified = channel("verify", &folder, &[]);
    assert_exit(&verified, exit::DATA);
    assert!(
        text(&verified).starts_with(&format!("lost: {}, bytes 4096 to ", segment.display())),
        "{}",
        text(&verified)
    );
    let before = contents(&folder);
    let dry = channel("repair", &folder, &[]);
    assert_exit(&dry, exit::OK);
    assert!(text(&dry).contains("nothing was changed; with --yes"), "{}", text(&dry));
    assert!(before == contents(&folder));
    let repaired = channel("repair", &folder, &["--yes"]);
    assert_exit(&repaired, exit::OK);
    assert!(text(&repaired).contains(" positions as damaged, set "), "{}", text(&repaired));
    let kept = fs::read(folder.join("damaged/00000000000000000000-4096.bin")).unwrap();
    assert_eq!(kept, bytes[4096..4096 + kept.len()]);

    // A reader's lost progress stops the start, until it is repaired.
    fs::write(folder.join("readers/one/progress"), vec![7; 8192]).unwrap();
    assert_exit(&run(&["--config", config.to_str().unwrap()]), exit::DATA);
    assert_exit(&channel("repair", &folder, &["--yes"]), exit::OK);
    Running::start(dir.path(), &config);
}

#[tokio::test]
async fn what_repair_would_have_to_guess_is_left_to_adopt() {
    let dir = tempdir().unwrap();
    let (config, folder) = stopped(dir.path()).await;
    let id = json(&channel("inspect", &folder, &["--json"]))["id"].clone();
    fs::write(folder.join("identity"), vec![7; 8192]).unwrap();
    let repaired = channel("repair", &folder, &["--yes"]);
    assert_exit(&repaired, exit::DATA);
    let told = String::from_utf8(repaired.stderr).unwrap();
    assert!(told.contains("give the channel a new id with `channel adopt`"), "{told}");
    assert_exit(&channel("adopt", &folder, &[]), exit::OK);
    let found = json(&channel("inspect", &folder, &["--json"]));
    assert!(found["sound"] == true && found["id"] != id && found["next"] == 100, "{found}");
    Running::start(dir.path(), &config);
}
