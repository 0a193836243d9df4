//! What a control group takes away: memory, which is bounded by configuration, with a kernel that kills
//! whoever takes more as the judge; and processors.

use std::io::Write as _;
use std::time::Duration;

use blob_store::{BlobStore as _, Body, PutOptions};
use e2e::host::Group;
use e2e::machine::Trouble;
use e2e::parts::{Agent, Cloud, Server, Tuning};
use e2e::soak::Options;
use e2e::{producer, until};

use crate::oracle::{holds, short};

const LIMIT_BYTES: u64 = 128 << 20;
const TOTAL_BYTES: usize = 1 << 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gigabyte_by_http_passes_through_an_agent_that_may_use_128_mib() {
    let group = Group::of_memory(LIMIT_BYTES).expect("the stage may make a cgroup");
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    // Compressed and partitioned: the way with the most memory on it.
    let tuning = Tuning {
        sink: "codec = \"zstd\"\npartition = \"type=%{json:type}\"".to_owned(),
        roll: "age = \"1s\"".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let program = group.member(&agent.program());
    let running = program.start().await;
    let client = producer::client();
    let line = |number: usize| format!("{{\"type\":\"t{}\",\"text\":\"{}\"}}\n", number % 7, "x".repeat(480));
    let body: String = (0..4000).map(line).collect::<Vec<_>>().concat();
    let requests = TOTAL_BYTES.div_ceil(body.len());
    let send = async |share: usize| {
        for _ in 0..share {
            let request = client.post(agent.events_url()).header("content-type", "application/x-ndjson");
            let answer = request.body(body.clone()).send().await;
            let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", program.said()));
            assert_eq!(answer.status(), 200);
        }
    };
    futures_util::future::join_all((0..8).map(|_| send(requests.div_ceil(8)))).await;
    until("the flush", Duration::from_secs(60), async || {
        let flush = client.post(agent.admin_url("/v1/flush")).send().await.ok()?;
        (flush.status() == 200).then_some(())
    })
    .await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}

/// `bytes` of one short line after the other, behind a window of `2^log` bytes and without their length, as a compressor
/// of a stream makes them: some 20 KB.
fn windowed(log: u32, bytes: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("zstd has a level 1");
    encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(log)).expect("zstd has such windows");
    let lines = b"the same line again and again\n".repeat(4096);
    for _ in 0..bytes / lines.len() {
        encoder.write_all(&lines).expect("memory takes it");
    }
    encoder.finish().expect("memory takes it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_that_need_much_memory_to_decode_pass_through_a_server_that_may_use_128_mib() {
    const EACH: u64 = 24;
    let group = Group::of_memory(LIMIT_BYTES).expect("the stage may make a cgroup");
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let bucket = cloud.bucket().await;
    // Eight at once would take a gigabyte at 128 MiB each, and so much is decoded that all of a window is used.
    for (name, log) in [("within", 23), ("beyond", 27)] {
        let object = windowed(log, 160 << 20);
        assert!(object.len() < 64 << 10, "{} bytes", object.len());
        for number in 0..EACH {
            let put = PutOptions { crc32c: crc32c::crc32c(&object), ..PutOptions::default() };
            let key = format!("{name}/{number}.zst");
            bucket.put_if_absent(&key, Body::from(object.clone()), &put).await.expect("the object is stored");
        }
    }
    let flags = [("reconcile-foreign", "true"), ("reconcile-grace", "0s")];
    let server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    let program = group.member(&server.program());
    let running = program.start().await;
    let client = producer::client();
    until("every object's end", Duration::from_secs(120), async || {
        let summary = client.get(server.url("/v1/summary")).send().await;
        let summary = summary.unwrap_or_else(|error| panic!("{error}: {}", program.said()));
        let totals =
            summary.json::<serde_json::Value>().await.expect("the summary is JSON")["totals"].clone();
        (totals["done"] == EACH && totals["dead"] == EACH).then_some(())
    })
    .await;
    let dead = client.get(server.url("/v1/objects?state=dead&prefix=beyond/&limit=1")).send().await;
    let dead = dead.expect("the server answers").text().await.expect("the answer is whole");
    assert!(dead.contains("fetch.max_zstd_window, which is 8388608 bytes"), "{dead}");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_while_all_parts_have_hardly_any_processor_now_and_then() {
    holds(Options { troubles: vec![Trouble::NoProcessor], ..short(15) }).await;
}
