//! The `command` handler behind a whole server.

use std::path::Path;
use std::sync::Arc;

use blob_store::MemoryStore;
use serde_json::json;
use tempfile::TempDir;

use crate::site::{Site, store};

/// A server that runs this shell line in `dir` for each object.
async fn site(dir: &Path, bucket: &Arc<MemoryStore>, line: &str, flags: &[&str]) -> Site {
    let argv = json!(["sh", "-c", format!("cd {}; {line}", dir.display())]).to_string();
    let command = ["--handler-kind", "command", "--handler-command", &argv];
    Site::start(dir, bucket.clone(), None, &[&command, flags].concat()).await
}

#[tokio::test]
async fn not_now_is_tried_beyond_the_limit_under_one_delivery_id_with_rising_attempts() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    store(&*bucket, "k", "x\n").await;
    let line =
        "echo $SLUICEGATE_DELIVERY_ID $SLUICEGATE_ATTEMPT >> tries; [ $SLUICEGATE_ATTEMPT -ge 6 ] || exit 75";
    let site = site(dir.path(), &bucket, line, &["--retry-attempts", "2"]).await;
    site.notify("k").await;
    site.until_done(1).await;
    let row = site.get("/v1/objects").await["objects"][0].clone();
    assert_eq!((&row["attempts"], &row["deferrals"]), (&json!(6), &json!(5)));
    site.stop().await;
    let tries = std::fs::read_to_string(dir.path().join("tries")).unwrap();
    let id = row["identity"].as_str().unwrap();
    let expected: Vec<String> = (1..=6).map(|attempt| format!("{id} {attempt}")).collect();
    assert_eq!(tries.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_failing_command_is_tried_to_the_limit_and_its_last_words_are_the_reason() {
    let dir = TempDir::new().unwrap();
    let bucket = Arc::new(MemoryStore::new("logs"));
    store(&*bucket, "k", "x\n").await;
    let line = "echo try >> tries; echo no such table >&2; exit 1";
    let site = site(dir.path(), &bucket, line, &["--retry-attempts", "3"]).await;
    site.notify("k").await;
    let dead = site
        .eventually("the object is dead", async || {
            site.get("/v1/objects?state=dead").await["objects"].as_array().unwrap().first().cloned()
        })
        .await;
    assert_eq!(
        dead["last_error"],
        "handling the object: the command ended with exit code 1; it said: no such table"
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("tries")).unwrap(), "try\ntry\ntry\n");
    site.stop().await;
}
