//! Three servers, as processes, that share one inbox in PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use blob_store::{Credentials, S3Options, S3Store};
use local_cloud::{CloudOptions, LocalCloud};
use serde_json::Value;
use tempfile::TempDir;

use crate::site::{eventually, request, store};

const OBJECTS: usize = 300;
const LINES: usize = 20;

/// A server that ends with the test, whatever the test's outcome.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start(dir: &Path, inbox: &str, endpoint: &str) -> Self {
        let ready = dir.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_downstream-server"))
            .args(["--notices-buckets", "logs", "--listen", "127.0.0.1:0", "--lease", "2s"])
            .args(["--reconcile-interval", "off", "--s3-endpoint", endpoint, "--s3-path-style", "true"])
            .args(["--handler-kind", "lines", "--handler-path"])
            .arg(dir.join("out.ndjson"))
            .arg("--dir")
            .arg(dir)
            .arg("--ready-file")
            .arg(&ready)
            .env("SLUICEGATE_SERVER_INBOX", inbox)
            .env("SLUICEGATE_SERVER_S3_ACCESS_KEY_ID", "local")
            .env("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", "local-secret")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let said = eventually("it is ready", async || std::fs::read(&ready).ok()).await;
        let said: Value = serde_json::from_slice(&said).unwrap();
        Self { child, address: said["address"].as_str().unwrap().to_owned() }
    }

    async fn count(&self, state: &str) -> usize {
        let path = format!("/v1/objects?limit=500&state={state}");
        let (status, body) = request(&self.address, "GET", &path, "").await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["objects"].as_array().unwrap().len()
    }

    async fn stop(mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let ended = eventually("it stopped", async || self.child.try_wait().unwrap()).await;
        assert_eq!(ended.code(), Some(0));
    }
}

fn content(number: usize) -> String {
    (0..LINES).map(|line| format!("{number} {line}\n")).collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_one_of_three_servers_that_share_an_inbox_loses_and_doubles_nothing() {
    let dir = TempDir::new().unwrap();
    let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path().join("cloud")) };
    let cloud = LocalCloud::start(options).await.unwrap();
    cloud.create_bucket("logs").await.unwrap();
    let credentials = Credentials::Static {
        access_key_id: "local".to_owned(),
        secret_access_key: "local-secret".to_owned(),
        session_token: None,
    };
    let endpoint = Some(cloud.s3_url());
    let options = S3Options { endpoint, path_style: true, credentials, ..S3Options::new("logs") };
    let bucket = S3Store::connect(options).await.unwrap();
    for number in 0..OBJECTS {
        store(&bucket, &format!("k{number}"), &content(number)).await;
    }

    let inbox = database(&dir);
    let dirs: [PathBuf; 3] = ["a", "b", "c"].map(|name| dir.path().join(name));
    let mut servers = Vec::new();
    for dir in &dirs {
        std::fs::create_dir(dir).unwrap();
        servers.push(Server::start(dir, &inbox, &cloud.s3_url()).await);
    }
    let written = || std::fs::metadata(dirs[2].join("out.ndjson")).map_or(0, |file| file.len());
    for number in 0..OBJECTS {
        // Half of the notices are still to come when one server dies at its work.
        if number == OBJECTS / 2 {
            eventually("the victim is at work", async || (written() > 0).then_some(())).await;
            let mut victim = servers.pop().unwrap();
            victim.child.kill().unwrap();
            victim.child.wait().unwrap();
        }
        let notice = serde_json::json!({ "bucket": "logs", "key": format!("k{number}") }).to_string();
        let server = &servers[number % servers.len()];
        assert_eq!(request(&server.address, "POST", "/v1/notices", &notice).await.0, 202);
    }

    // The others make its attempts once its lease has ended.
    eventually("all objects are done", async || (servers[0].count("done").await == OBJECTS).then_some(()))
        .await;
    for state in ["owed", "fetching", "dead", "gone"] {
        assert_eq!(servers[1].count(state).await, 0, "{state}");
    }
    // What the victim wrote and never committed is cut off at its next start.
    servers.push(Server::start(&dirs[2], &inbox, &cloud.s3_url()).await);
    for server in servers {
        server.stop().await;
    }
    let files = dirs.map(|dir| std::fs::read_to_string(dir.join("out.ndjson")).unwrap());
    assert!(files.iter().all(|file| !file.is_empty()), "each server had its share");
    let mut found: Vec<&str> = files.iter().flat_map(|file| file.lines()).collect();
    let expected: Vec<String> = (0..OBJECTS).map(content).collect();
    let mut expected: Vec<&str> = expected.iter().flat_map(|content| content.lines()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    cloud.shutdown().await;
}

/// An inbox of its own in the server that `SLUICEGATE_TEST_POSTGRES` names.
fn database(dir: &TempDir) -> String {
    let server = std::env::var("SLUICEGATE_TEST_POSTGRES").expect("cargo xtask test --only inbox sets it");
    let name = dir.path().file_name().unwrap().to_str().unwrap().replace('.', "").to_lowercase();
    let schema = format!("it{}_{name}", std::process::id());
    let create = format!("CREATE SCHEMA {schema}");
    assert!(Command::new("psql").args([&server, "-q", "-c", &create]).status().unwrap().success());
    format!("{server}?options=-csearch_path%3D{schema}")
}
