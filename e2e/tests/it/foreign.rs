//! The agent alone, from `examples/`, against an S3 server that is not ours: push, flush, list,
//! compare. `cargo xtask test --only foreign-s3` starts the servers and names each in the
//! environment.

use std::process::Stdio;
use std::time::Duration;

use e2e::{oracle, producer, program, until};
use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;

/// A signature's shape: these servers look for one, but verify none.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

struct Bucket {
    url: String,
    client: reqwest::Client,
}

impl Bucket {
    async fn make(endpoint: &str, name: &str) -> Self {
        let bucket = Self { url: format!("{endpoint}/{name}"), client: producer::client() };
        bucket.request(Method::PUT, "").await;
        bucket
    }

    async fn keys(&self) -> Vec<String> {
        let listing = self.request(Method::GET, "?list-type=2").await;
        let listing = String::from_utf8(listing).expect("a listing is text");
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        self.request(Method::GET, &format!("/{key}")).await
    }

    async fn request(&self, method: Method, target: &str) -> Vec<u8> {
        let request =
            self.client.request(method, format!("{}{target}", self.url)).header("authorization", SIGNED);
        let answer = request.send().await.expect("the server answers");
        assert_eq!(answer.status(), 200, "{target}");
        answer.bytes().await.expect("an answer has a body").to_vec()
    }
}

#[tokio::test]
async fn foreign_s3_holds_each_event_once_after_a_flush() {
    let endpoint = std::env::var("SLUICEGATE_TEST_S3_ENDPOINT").expect("the foreign-s3 stage names a server");
    let bucket = Bucket::make(&endpoint, "events").await;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ready_file = folder.path().join("ready.json");
    // The example as it stands, only on free ports.
    let config = folder.path().join("agent.toml");
    let example = include_str!("../../../examples/s3-compatible-store.toml");
    let free = |kind: &str| {
        (format!("kind = \"{kind}\"\n"), format!("kind = \"{kind}\"\nlisten = \"127.0.0.1:0\"\n"))
    };
    let text = [free("http"), free("netcat")]
        .iter()
        .fold(example.to_owned(), |text, (from, to)| text.replace(from, to));
    std::fs::write(&config, text).expect("the configuration can be written");
    let mut agent = Command::new(program("ingest-agent"))
        .arg("--config")
        .arg(&config)
        .args(["--admin", "127.0.0.1:0"])
        .arg("--dir")
        .arg(folder.path().join("agent"))
        .arg("--ready-file")
        .arg(&ready_file)
        .env("SLUICEGATE_ENDPOINT", &endpoint)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the agent starts");
    let ready: Value = until("the agent being ready", Duration::from_secs(20), async || {
        assert!(agent.try_wait().expect("the agent can be waited for").is_none(), "the agent ended early");
        std::fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok())
    })
    .await;
    let addr = |pointer: &str| ready.pointer(pointer).and_then(Value::as_str).expect("an address").to_owned();

    let lines: Vec<String> = (0..5000).map(|n| format!("{{\"n\":{n},\"text\":\"a line\"}}\n")).collect();
    let client = producer::client();
    for part in lines.chunks(500) {
        let request = client.post(format!("http://{}/v1/events", addr("/sources/http")));
        let request = request.header("content-type", "application/x-ndjson").body(part.concat());
        assert_eq!(request.send().await.expect("the agent answers").status(), 200);
    }
    let flushed =
        client.post(format!("http://{}/v1/flush", addr("/admin"))).send().await.expect("the agent answers");
    assert_eq!(flushed.status(), 200);

    let mut stored = Vec::new();
    let keys = bucket.keys().await;
    assert!(!keys.is_empty(), "nothing is listed");
    for key in keys.iter().filter(|key| !key.starts_with("_sluicegate/")) {
        stored.extend(bucket.get(key).await);
    }
    let sorted = |text: &[u8]| {
        let mut lines: Vec<Vec<u8>> = oracle::lines(text).map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    assert!(sorted(&stored) == sorted(lines.concat().as_bytes()), "what is stored is not what was sent");
}
