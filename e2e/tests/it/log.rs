//! A real log of at least 100,000 lines, through each door.

use std::collections::HashSet;
use std::time::Duration;

use e2e::pipeline::Pipeline;
use e2e::{oracle, producer, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const LINES: usize = 100_000;

/// This machine's package database where there is one, else this workspace's lock file, as often
/// as it takes; empty lines and all.
fn real_log() -> Vec<u8> {
    let text = std::fs::read("/var/lib/dpkg/status")
        .unwrap_or_else(|_| include_bytes!("../../../Cargo.lock").to_vec());
    let lines = oracle::lines(&text).count().max(1);
    let mut log = Vec::new();
    for _ in 0..LINES.div_ceil(lines) {
        log.extend_from_slice(&text);
        if log.last() != Some(&b'\n') {
            log.push(b'\n');
        }
    }
    log
}

/// The events of a log, a line each, as the pipeline hands them on: JSON, since that is its default.
fn as_ndjson(log: &[u8]) -> Vec<u8> {
    let event = |line: &[u8]| {
        let text = str::from_utf8(line).expect("the log is UTF-8");
        format!("{}\n", serde_json::json!({ "message": text }))
    };
    oracle::lines(log).map(event).collect::<String>().into_bytes()
}

/// The sorted lines: what comes out is compared line by line, not in order, since requests of
/// several connections have none.
fn sorted(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = oracle::lines(text).collect();
    lines.sort_unstable();
    lines
}

async fn arrived(pipeline: &Pipeline, log: &[u8]) {
    let log = &as_ndjson(log)[..];
    until("the arrival of every line", Duration::from_secs(120), async || {
        (pipeline.output().len() >= log.len()).then_some(())
    })
    .await;
    let output = pipeline.output();
    assert_eq!(output.len(), log.len());
    assert!(sorted(&output) == sorted(log), "the lines that came out are not the lines that went in");
}

/// The listing shows whole objects only, and S3 saw no copy, no delete and no temporary key.
fn s3_saw_whole_objects_only(pipeline: &Pipeline) {
    let mut put = HashSet::new();
    for request in pipeline.s3_requests() {
        let key = request["key"].as_str().expect("a request names its key").to_owned();
        // At its start the sink asks a store that is not AWS what it keeps, and gives up an upload of its own for that.
        let asks = key.starts_with("_sluicegate/")
            && request["query"].as_str().is_some_and(|query| query.contains("uploadId="));
        assert!(request["copy"] == false && (request["method"] != "DELETE" || asks), "{request}");
        assert!(!key.contains("tmp") && !key.contains("temp"), "{request}");
        if request["method"] == "PUT" && request["status"] == 200 && key.starts_with("data/") {
            assert!(put.insert(key), "put twice: {request}");
        }
    }
    assert!(!put.is_empty(), "S3 saw no put at all");
}

#[tokio::test]
async fn a_real_log_over_http_comes_out_once_byte_for_byte() {
    let pipeline = Pipeline::start().await;
    let client = producer::client();
    let log = real_log();
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    for chunk in lines.chunks(1000) {
        let request = client.post(pipeline.url("http", "/v1/events")).header("content-type", "text/plain");
        let answer = request.body(chunk.concat()).send().await.expect("the agent answers");
        assert_eq!(answer.status(), 200);
    }
    arrived(&pipeline, &log).await;
    s3_saw_whole_objects_only(&pipeline);
}

#[tokio::test]
async fn a_real_log_over_netcat_comes_out_once_byte_for_byte() {
    let pipeline = Pipeline::start().await;
    let log = real_log();
    let stream = TcpStream::connect(pipeline.addr("netcat")).await.expect("netcat listens");
    let (read, mut write) = stream.into_split();
    let answers = tokio::spawn(async move {
        let (mut lines, mut ok) = (BufReader::new(read).lines(), 0);
        while let Ok(Some(line)) = lines.next_line().await {
            assert_eq!(line, "OK");
            ok += 1;
        }
        ok
    });
    write.write_all(&log).await.expect("the agent takes the log");
    write.shutdown().await.expect("the connection is half closed");
    assert_eq!(answers.await.expect("the answers are read"), oracle::lines(&log).count());
    arrived(&pipeline, &log).await;
    s3_saw_whole_objects_only(&pipeline);
}
