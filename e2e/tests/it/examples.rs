//! Every configuration in `examples/`, as it stands, runs: events go in, a flush answers, and the
//! keys that it names are objects.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use e2e::{producer, program, until};
use local_cloud::{CloudOptions, LocalCloud};
use serde_json::Value;
use tokio::process::Command;

const EVENTS: usize = 100;

/// The example, its sources on free ports and its sinks on the local cloud.
fn on_this_machine(example: &str, s3: &str) -> String {
    let mut text = String::new();
    for line in example.lines().filter(|line| !line.starts_with("listen =")) {
        text.push_str(line);
        text.push('\n');
        match line {
            r#"kind = "http""# | r#"kind = "netcat""# => text.push_str("listen = \"127.0.0.1:0\"\n"),
            r#"kind = "s3""# if !example.contains("endpoint =") => {
                text.extend(["endpoint = \"", s3, "\"\npath_style = true\n"]);
            }
            _ => {}
        }
    }
    text
}

/// What stands behind `bucket =`, the default of a substitution.
fn buckets(example: &str) -> Vec<String> {
    let named = example.lines().filter_map(|line| line.strip_prefix("bucket = \"")?.strip_suffix('"'));
    named.map(|name| name.rsplit(":-").next().unwrap_or(name).trim_end_matches('}').to_owned()).collect()
}

async fn run(name: &str, example: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud =
        LocalCloud::start(CloudOptions::new(folder.path().join("s3"))).await.expect("the local cloud starts");
    for bucket in buckets(example) {
        cloud.create_bucket(&bucket).await.expect("a bucket can be made");
    }
    let (config, ready_file) = (folder.path().join(name), folder.path().join("ready.json"));
    std::fs::write(&config, on_this_machine(example, &cloud.s3_url()))
        .expect("the configuration can be written");
    let mut agent = Command::new(program("ingest-agent"))
        .arg("--config")
        .arg(&config)
        .args(["--admin", "127.0.0.1:0", "--dir"])
        .arg(folder.path().join("agent"))
        .arg("--ready-file")
        .arg(&ready_file)
        .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local-secret")])
        .envs([("SLUICEGATE_ACCESS_KEY", "local"), ("SLUICEGATE_SECRET_KEY", "local-secret")])
        .envs([("AWS_REGION", "us-east-1"), ("SLUICEGATE_ENDPOINT", &cloud.s3_url())])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the agent starts");
    let ready: Value = until("the agent being ready", Duration::from_secs(20), async || {
        assert!(
            agent.try_wait().expect("the agent can be waited for").is_none(),
            "{name}: the agent ended early"
        );
        std::fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok())
    })
    .await;
    let url = |pointer: &str, path: &str| {
        format!("http://{}{path}", ready.pointer(pointer).and_then(Value::as_str).expect("an address"))
    };

    let client = producer::client();
    let events = "{\"type\":\"example\",\"text\":\"a line\"}\n".repeat(EVENTS);
    let request =
        client.post(url("/sources/http", "/v1/events")).header("content-type", "application/x-ndjson");
    assert_eq!(request.body(events).send().await.expect("the agent answers").status(), 200, "{name}");
    let flushed = client.post(url("/admin", "/v1/flush")).send().await.expect("the agent answers");
    let flushed = flushed.text().await.expect("a flush has an answer");
    let answer: Value = serde_json::from_str(&flushed).expect("a flush answers in JSON");
    let keys = answer["keys"].as_array().unwrap_or_else(|| panic!("{name}: {flushed}"));
    assert!(keys.len() >= buckets(example).len(), "{name}: {flushed}");
    for key in keys.iter().filter_map(Value::as_str) {
        let stored = buckets(example).iter().any(|bucket| object(folder.path(), bucket, key).exists());
        assert!(stored, "{name}: {key} is no object");
    }
    let metrics = client.get(url("/admin", "/metrics")).send().await.expect("the agent answers");
    let metrics = metrics.text().await.expect("metrics are text");
    let shipped: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("sluicegate_events_shipped_total{")).collect();
    assert_eq!(shipped.len(), buckets(example).len(), "{name}: {shipped:?}");
    assert!(shipped.iter().all(|line| line.ends_with(&format!(" {EVENTS}"))), "{name}: {shipped:?}");
}

fn object(folder: &Path, bucket: &str, key: &str) -> std::path::PathBuf {
    folder.join("s3").join(bucket).join(key)
}

#[tokio::test]
async fn every_example_runs_and_what_its_flush_names_is_stored() {
    let examples =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).expect("there are examples");
    let mut ran = 0;
    for path in examples.map(|entry| entry.expect("an example can be listed").path()) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().expect("an example has a name").to_string_lossy().into_owned();
            run(&name, &std::fs::read_to_string(&path).expect("an example can be read")).await;
            ran += 1;
        }
    }
    assert!(ran >= 4, "only {ran} examples ran");
}
