//! The program: its exit codes, its signals, what it prints.

use std::process::{Child, Command, Output, Stdio};

use contract::exit;
use serde_json::Value;
use tempfile::TempDir;

use crate::site::{eventually, request};

fn server(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_downstream-server"));
    command.args(args).stdin(Stdio::null()).env_clear();
    command
}

fn finished(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = server(args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn every_mistake_is_printed_at_once_and_the_exit_code_is_64() {
    let (code, _, printed) = finished(&["--listen", "nowhere", "--handler-kind", "mail"]);
    assert_eq!(code, i32::from(exit::CONFIG));
    for part in ["--listen: ", "--handler-kind: ", "notices.buckets: "] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }
}

#[test]
fn check_config_answers_without_starting_anything() {
    let answer = finished(&[
        "--notices-buckets",
        "logs",
        "--check-config",
        "--listen",
        "192.0.2.1:1",
        "--notices-secret-file",
        "/dev/null",
    ]);
    assert_eq!((answer.0, answer.1.as_str()), (i32::from(exit::CONFIG), ""));
    let answer = finished(&["--notices-buckets", "logs", "--check-config"]);
    assert_eq!(answer, (0, "the configuration is valid\n".to_owned(), String::new()));
}

#[test]
fn a_taken_port_names_the_setting_and_the_exit_code_is_69() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let (code, _, printed) =
        finished(&["--notices-buckets", "logs", "--listen", &address, "--dir", dir.path().to_str().unwrap()]);
    assert_eq!(code, i32::from(exit::UNAVAILABLE), "{printed}");
    assert!(printed.contains(&format!("listening on {address} (listen)")), "{printed}");
}

/// A server that ends with the test, whatever the test's outcome.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn it_says_when_it_is_ready_and_that_it_takes_unsigned_notices_and_stops_in_order_on_sigterm() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (folder, ready) = (path("inbox"), path("ready.json"));
    let log = std::fs::File::create(path("log")).unwrap();
    let args =
        ["--notices-buckets", "logs", "--listen", "127.0.0.1:0", "--dir", &folder, "--ready-file", &ready];
    let keys =
        [("SLUICEGATE_SERVER_S3_ACCESS_KEY_ID", "id"), ("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", "secret")];
    let store = ["--s3-endpoint", "http://127.0.0.1:1", "--log-format", "json"];
    let child = server(&[&args[..], &store[..]].concat()).envs(keys).stderr(log).spawn().unwrap();
    let mut running = Running(child);
    let said = eventually("it is ready", async || std::fs::read(&ready).ok()).await;
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said["pid"], running.0.id());
    let address = said["address"].as_str().unwrap();
    assert_eq!(request(address, "GET", "/health/ready", "").await, (200, "ready\n".to_owned()));
    let notice = r#"{"id":"from-afar-1","bucket":"logs","key":"k"}"#;
    assert_eq!(request(address, "POST", "/v1/notices", notice).await.0, 202);

    Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    let status = eventually("it stopped", async || running.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    let log = std::fs::read_to_string(path("log")).unwrap();
    assert!(log.contains("no secret is configured"), "{log}");
    let about: Vec<&str> = log.lines().filter(|line| line.contains("from-afar-1")).collect();
    assert!(about.len() >= 2, "the notice and its first attempt carry its id: {log}");
}

/// A server of this configuration file that answers, and its log.
async fn answering(dir: &TempDir, config: &str) -> (Running, std::path::PathBuf) {
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (folder, ready, log) = (path("inbox"), path("ready.json"), dir.path().join("log"));
    let args = ["--config", config, "--listen", "127.0.0.1:0", "--dir", &folder, "--ready-file", &ready];
    let keys =
        [("SLUICEGATE_SERVER_S3_ACCESS_KEY_ID", "id"), ("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", "secret")];
    let child = server(&args).envs(keys).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let running = Running(child);
    let said = eventually("it is ready", async || std::fs::read(&ready).ok()).await;
    let said: Value = serde_json::from_slice(&said).unwrap();
    let address = said["address"].as_str().unwrap();
    assert_eq!(request(address, "GET", "/health/ready", "").await, (200, "ready\n".to_owned()));
    (running, log)
}

#[tokio::test]
async fn a_health_check_trusts_the_certificate_of_the_configuration_and_no_other() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let make = |name: &str| {
        // It names another host than the one that is asked.
        let made = rcgen::generate_simple_self_signed(["events.example.com".to_owned()]).unwrap();
        std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    make("own");
    make("other");
    let (ready, folder) = (path("ready.json"), path("inbox"));
    let (own, key, other) = (path("own.pem"), path("own.key"), path("other.pem"));
    let args =
        ["--notices-buckets", "logs", "--listen", "127.0.0.1:0", "--dir", &folder, "--ready-file", &ready];
    let tls = ["--tls-certificate", &own, "--tls-key", &key, "--s3-endpoint", "http://127.0.0.1:1"];
    let keys =
        [("SLUICEGATE_SERVER_S3_ACCESS_KEY_ID", "id"), ("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", "secret")];
    let running = Running(server(&[&args[..], &tls[..]].concat()).envs(keys).spawn().unwrap());
    let said = eventually("it is ready", async || std::fs::read(&ready).ok()).await;
    let said: Value = serde_json::from_slice(&said).unwrap();
    let address = said["address"].as_str().unwrap();
    let ask = |more: &[&str]| {
        let mut asking = server(&[&["--health", "--listen", address], more].concat());
        asking.status().unwrap().code()
    };
    assert_eq!(ask(&["--tls-certificate", &own]), Some(0));
    assert_eq!(ask(&["--tls-certificate", &other]), Some(69), "somebody else answers there");
    assert_eq!(ask(&[]), Some(69), "it does not speak plain HTTP");
    drop(running);
    assert_eq!(ask(&["--tls-certificate", &own]), Some(69), "nobody answers");
}

#[tokio::test]
async fn the_example_configuration_starts_a_server() {
    let dir = TempDir::new().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/server.toml");
    answering(&dir, example).await;
}

#[tokio::test]
async fn a_hangup_takes_the_logs_level_over_and_a_mistake_leaves_it() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("server.toml");
    let write = |level: &str| {
        std::fs::write(&config, format!("[notices]\nbuckets = [\"logs\"]\n[log]\nlevel = \"{level}\"\n"))
            .unwrap();
    };
    write("info");
    let (running, log) = answering(&dir, config.to_str().unwrap()).await;
    let hang_up = || Command::new("kill").args(["-HUP", &running.0.id().to_string()]).status().unwrap();
    let logged = async |text: &str| {
        eventually(text, async || std::fs::read_to_string(&log).unwrap().contains(text).then_some(())).await;
    };
    write("in,fo=x");
    hang_up();
    logged("the level stays").await;
    write("debug");
    hang_up();
    logged("level is taken over, and no other setting").await;
    write("warn");
    hang_up();
    logged("level=\"warn\"").await;
}
