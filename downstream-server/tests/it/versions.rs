//! Requests of notifiers of other versions, sent to a running server as they were recorded, byte for byte.

use std::sync::Arc;

use blob_store::{BlobStore, MemoryStore};
use downstream_server::fetch::Stores;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::Site;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FULL: &str = include_str!("../../../crates/contract/tests/fixtures/requests/v1.http");
const MINIMAL: &str = include_str!("../../../crates/contract/tests/fixtures/requests/v1-minimal.http");
const LATER: &str = include_str!("../../../crates/contract/tests/fixtures/requests/v2.http");

/// Sends the bytes: the status, and what is said of the notice.
async fn send(site: &Site, request: &str) -> (String, Value) {
    let mut connection = TcpStream::connect(&site.address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    loop {
        connection.read_buf(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(said) = serde_json::from_str::<Value>(body)
        {
            let word = said["status"].as_str().or(said["error"].as_str()).unwrap();
            return (format!("{} {word}", &head[9..12]), said);
        }
    }
}

#[tokio::test]
async fn recorded_requests_of_the_first_notifier_and_of_a_later_one_are_taken() {
    let dir = TempDir::new().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    // They are as old as their recording; and nothing lies where they point to.
    let flags = [
        "--notices-buckets",
        "sluicegate-events",
        "--notices-secret-file",
        secret.to_str().unwrap(),
        "--notices-clock-tolerance",
        "36500d",
    ];
    let store = Arc::new(MemoryStore::new("sluicegate-events")) as Arc<dyn BlobStore>;
    let stores = Stores::from([("sluicegate-events".to_owned(), store)]);
    let site = Site::over(dir.path(), stores, None, &flags).await;
    for request in [FULL, MINIMAL, LATER] {
        assert_eq!(send(&site, request).await.0, "202 accepted", "{request}");
        assert_eq!(send(&site, request).await.0, "202 repeated", "{request}");
        assert_eq!(
            send(&site, &request.replace("sluicegate-events", "sluicegate-eventz")).await.0,
            "401 signature"
        );
    }
    let mut rows = site.get("/v1/objects").await["objects"].as_array().unwrap().clone();
    rows.sort_by_key(|row| row["id"].as_u64());
    let told = |row: &Value| json!([row["key"], row["version_id"], row["etag"], row["notice_id"]]);
    let cut = "000102030405060708090a0b0c0d0e0f-s3-000000000042";
    assert_eq!(
        rows.iter().map(told).collect::<Vec<_>>(),
        [
            json!([
                "video/raw.bin",
                "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "3858f62230ac3c915f300c664312c11f-640",
                "object-2b68ef55c612674978c55893766a33bf"
            ]),
            json!([format!("logs/dt=2026-03-01/{cut}.ndjson.gz"), null, null, cut]),
            // Of a later version what may have changed its meaning is left alone.
            json!(["video/later.bin", null, null, "later-1"]),
        ]
    );
    site.stop().await;
}
