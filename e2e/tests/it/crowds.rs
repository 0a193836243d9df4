//! Crowds at the doors: connections that say nothing, and notices that nobody wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contract::Notice;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Secret, Signer};
use e2e::door::{flushed, metric, peak_kib, post};
use e2e::parts::{Agent, BUCKET, Cloud, NOTICE_SECRET, Server, Tuning, keys, objects};
use e2e::process::Program;
use e2e::{oracle, producer, until};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(60);

/// A connection that says this much and then nothing; it may have to wait until it is taken.
async fn silent(addr: SocketAddr, first: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("the system takes the connection");
    stream.write_all(first.as_bytes()).await.expect("the system takes a few bytes");
    stream
}

/// The program, which may have so many descriptors.
fn with_descriptors(program: &Program, count: usize) -> Program {
    program.under(["sh", "-c", &format!("ulimit -n {count} && exec \"$@\""), "sh"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_256_descriptors_1100_silent_connections_stop_no_sender_no_segment_and_no_upload() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let tuning = Tuning {
        channel: "segment = \"1MiB\"\nmax_batch = \"512KiB\"".to_owned(),
        sink: "format = \"text\"".to_owned(),
        roll: "age = \"200ms\"".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let program = with_descriptors(&agent.program(), 256);
    let running = program.start().await;
    let silent = join_all((0..1100).map(|_| silent(agent.netcat, ""))).await;

    // Each segment that ends, and each upload, wants descriptors of its own.
    let client = producer::client();
    let mut sent = producer::Record::default();
    for number in 0..40 {
        let line = format!("{number} {}", "x".repeat(200_000));
        assert_eq!(post(&client, &agent, line.clone()).await, 200, "{}", program.said());
        sent.answered.push(line);
    }
    flushed(&agent, SOON).await;
    assert!(program.said().contains("descriptors"), "nothing is said of it: {}", program.said());
    drop(silent);
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
    let stored = objects(&cloud.bucket().await).await.into_iter().flat_map(|(_, bytes)| bytes);
    assert_eq!(oracle::verdict(&sent, &stored.collect::<Vec<_>>()), "");
}

/// So many connections that say nothing, or half of what they should, at every door of the agent and
/// of the server, which may have as many: a newcomer is served as if they were not there.
pub(crate) async fn idle(count: usize) {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let places = format!("max_connections = {}", count + 100);
    let patience = "request_timeout = \"10m\"";
    let tuning = Tuning {
        http: format!("{places}\n{patience}"),
        netcat: format!("{places}\nidle_timeout = \"10m\""),
        roll: "age = \"200ms\"".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let output = home.path().join("server/out.ndjson");
    let places = (count + 100).to_string();
    let flags = [
        ("handler-kind", "ndjson"),
        ("handler-path", output.to_str().expect("a path of ours is text")),
        ("max-connections", &places),
        ("client-timeout", "10m"),
    ];
    let server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    let (agent_program, server_program) = (agent.program(), server.program());
    let (running_agent, running_server) = (agent_program.start().await, server_program.start().await);
    let before = [running_agent.pid(), running_server.pid()].map(peak_kib);

    let half = "POST /v1/events HTTP/1.1\r\nhost: here\r\ncontent-le";
    let doors = [(agent.netcat, ""), (agent.netcat, "half a line"), (agent.http, half), (server.addr, half)];
    let mut crowd = Vec::new();
    while crowd.len() < count {
        let some = (0..200).map(|number| {
            let (door, first) = doors[number % doors.len()];
            silent(door, first)
        });
        crowd.extend(join_all(some).await);
    }
    until("all of them being taken", SOON, async || {
        let name = "sluicegate_source_connections{source=\"netcat\"}";
        let taken = metric(&agent.admin_url("/metrics"), name).await?;
        (taken >= (count / 2) as f64).then_some(())
    })
    .await;

    let client = producer::client();
    let line = r#"{"somebody":"new"}"#;
    assert_eq!(post(&client, &agent, line).await, 200, "{}", agent_program.said());
    flushed(&agent, SOON).await;
    let bucket = cloud.bucket().await;
    for key in keys(&bucket, e2e::parts::PREFIX).await {
        assert_eq!(notify(&client, &server, BUCKET, &key).await, 202, "{}", server_program.said());
    }
    until("the newcomer's event at the handler", SOON, async || {
        let there = std::fs::read_to_string(&output).ok()?;
        there.contains("somebody").then_some(())
    })
    .await;
    let after = [running_agent.pid(), running_server.pid()].map(peak_kib);
    let each = (0..2).map(|part| (after[part] - before[part]) * 1024 / count as u64).collect::<Vec<_>>();
    println!("{count} connections: from {before:?} to {after:?} KiB, {each:?} bytes a connection of all");
    assert!(each.iter().all(|bytes| *bytes < 32 << 10), "{each:?} bytes for each connection");
    drop(crowd);
    for running in [running_agent, running_server] {
        running.signal(Signal::TERM);
        assert_eq!(running.exit_code().await, Some(0), "{}{}", agent_program.said(), server_program.said());
    }
}

/// Posts a notice as the notifier would; the answer's status.
pub(crate) async fn notify(client: &reqwest::Client, server: &Server, bucket: &str, key: &str) -> u16 {
    let signer = Signer::new(&NOTICE_SECRET.parse::<Secret>().expect("it is long enough"));
    let notice = Notice::new(bucket, key);
    let (id, body) = (notice.idempotency_id(), notice.to_json());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("it is later than 1970").as_secs();
    let request = client
        .post(server.url("/v1/notices"))
        .header("content-type", "application/json")
        .header(HEADER_ID, &id)
        .header(HEADER_TIMESTAMP, now)
        .header(HEADER_SIGNATURE, signer.sign(&id, now, &body))
        .body(body);
    let answer = request.send().await;
    answer.unwrap_or_else(|error| panic!("{error:?}: {}", server.program().said())).status().as_u16()
}

/// So many notices, by so many senders at once, of buckets that are not on the server's list: each is
/// refused, none is kept, and the notice of an object that is ours is taken meanwhile.
pub(crate) async fn unwanted(notices: usize, senders: usize) {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let tuning = Tuning { roll: "age = \"100ms\"".to_owned(), ..Tuning::default() };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let _agent = agent.program().start().await;
    let output = home.path().join("server/out.ndjson");
    let path = output.to_str().expect("a path of ours is text");
    let flags = [("handler-kind", "ndjson"), ("handler-path", path)];
    let server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    let program = server.program();
    let running = program.start().await;
    let before = peak_kib(running.pid());
    let client = producer::client();
    assert_eq!(post(&client, &agent, r#"{"wanted":true}"#).await, 200);
    flushed(&agent, SOON).await;
    let [key] = &keys(&cloud.bucket().await, e2e::parts::PREFIX).await[..] else { panic!("one object") };

    let next = AtomicUsize::new(0);
    let flood = join_all((0..senders).map(async |_| {
        let mut answers = BTreeMap::<u16, usize>::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= notices {
                return answers;
            }
            let (bucket, key) = (format!("bucket-{}", number % 5000), format!("key-{number}"));
            *answers.entry(notify(&client, &server, &bucket, &key).await).or_default() += 1;
        }
    }));
    let wanted = async {
        // In the midst of them.
        until("the flood", SOON, async || (next.load(Ordering::Relaxed) > notices / 4).then_some(())).await;
        assert_eq!(notify(&client, &server, BUCKET, key).await, 202);
        until("the wanted object at the handler", SOON, async || {
            std::fs::read_to_string(&output).ok()?.contains("wanted").then_some(())
        })
        .await;
        next.load(Ordering::Relaxed)
    };
    let (answers, at) = tokio::join!(flood, wanted);
    let mut all = BTreeMap::<u16, usize>::new();
    for (status, count) in answers.into_iter().flatten() {
        *all.entry(status).or_default() += count;
    }
    let name = "sluicegate_server_notices_total{answer=\"refused\"}";
    let refused = metric(&server.url("/metrics"), name).await;
    let after = peak_kib(running.pid());
    println!("{all:?}; handled when {at} of {notices} were sent; from {before} to {after} KiB");
    assert_eq!(all, BTreeMap::from([(403, notices)]));
    assert_eq!(refused, Some(notices as f64));
    assert!(after < before + (64 << 10), "from {before} to {after} KiB");
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
    let inbox = walk(&server.inbox);
    assert!(inbox < 4 << 20, "the inbox has {inbox} bytes");
}

/// The bytes of all files below a folder.
fn walk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder is there").flatten();
    entries.map(|entry| entry.metadata().map_or(0, |file| file.len())).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_at_every_door_keep_nobody_out() {
    Box::pin(idle(1000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_notices_for_unknown_buckets_are_refused_and_a_wanted_one_among_them_is_taken() {
    Box::pin(unwanted(5000, 100)).await;
}
