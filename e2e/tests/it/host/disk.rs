//! A disk that is full: a small one of its own for the agent, with a ballast that is dropped again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::front::{Fault, Front};
use e2e::host::SmallDisk;
use e2e::machine::Trouble;
use e2e::parts::{Agent, Cloud, Server, Tuning, objects};
use e2e::soak::Options;
use e2e::{producer, until};
use hyper::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::oracle::{holds, short};

/// Sends lines until one is refused; those that were answered, and the refusal.
async fn send_until_refused(agent: &Agent, name: &str) -> (Vec<String>, u16) {
    let client = producer::client();
    let mut answered = Vec::new();
    for number in 0.. {
        let line = format!("{name} {number} {}", "x".repeat(100_000));
        let answer = client.post(agent.events_url()).header("content-type", "text/plain");
        let answer = answer.timeout(Duration::from_secs(20)).body(line.clone());
        let answer =
            answer.send().await.unwrap_or_else(|error| panic!("{error:?}: {}", agent.program().said()));
        match answer.status().as_u16() {
            200 => answered.push(line),
            refusal => return (answered, refusal),
        }
    }
    unreachable!("no disk is endless")
}

/// What netcat answers to one line.
async fn netcat(agent: &Agent, line: &str) -> String {
    let (read, mut write) = TcpStream::connect(agent.netcat).await.expect("netcat listens").into_split();
    write.write_all(format!("{line}\n").as_bytes()).await.expect("the agent takes the line");
    let answer = BufReader::new(read).lines().next_line().await;
    answer.expect("the agent answers").expect("with a line")
}

async fn flushed(agent: &Agent) {
    until("the flush", Duration::from_secs(30), async || {
        let flush = producer::client().post(agent.admin_url("/v1/flush")).send().await.ok()?;
        (flush.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_puts_are_refused_drains_go_on_and_service_resumes_by_itself() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let away = Arc::new(AtomicBool::new(true));
    let front = Front::start(cloud.s3, {
        let away = away.clone();
        move |_| {
            let refuse = away.load(Ordering::SeqCst);
            if refuse { Fault::Refuse(StatusCode::SERVICE_UNAVAILABLE) } else { Fault::Pass }
        }
    })
    .await;
    for floor in ["0B", "4MiB"] {
        let disk = SmallDisk::mount(&home.path().join(format!("disk {floor}")), 96 << 20);
        let disk = disk.expect("the disk stage may mount");
        let tuning = Tuning {
            channel: format!("segment = \"16MiB\"\nmax_batch = \"6MiB\"\nfree_disk_floor = \"{floor}\""),
            sink: "format = \"text\"\nretry_max = \"200ms\"".to_owned(),
            roll: "age = \"100ms\"".to_owned(),
            ..Tuning::default()
        };
        let mut agent = Agent::new(&home.path().join(floor), &front.url(), tuning);
        agent.data = disk.path.join("data");
        away.store(true, Ordering::SeqCst);
        let running = agent.program().start().await;
        let mut answered = vec!["the first".to_owned()];
        assert_eq!(netcat(&agent, "the first").await, "OK");

        // A new sink allocates its journals once; from then on it needs no more.
        let journals = ["cuts.a", "cuts.b"].map(|name| agent.channel().join("readers/s3").join(name));
        until("the journals", Duration::from_secs(20), async || {
            let allocated = |journal: &PathBuf| journal.metadata().is_ok_and(|journal| journal.len() > 0);
            journals.iter().all(allocated).then_some(())
        })
        .await;
        let ballast = disk.fill();
        let (taken, refusal) = send_until_refused(&agent, "while it fills up").await;
        answered.extend(taken);
        assert_eq!(refusal, 503, "{floor}");
        let refused = netcat(&agent, "too much").await;
        assert!(refused.starts_with("FAILED: "), "{floor}: {refused}");

        // The agent is killed and started on the full disk: it opens, it refuses, and it drains.
        running.kill().await;
        let _running = agent.program().start().await;
        let (taken, refusal) = send_until_refused(&agent, "after a restart").await;
        answered.extend(taken);
        assert_eq!(refusal, 503, "{floor}");
        away.store(false, Ordering::SeqCst);
        flushed(&agent).await;

        drop(ballast);
        let client = producer::client();
        until("the agent taking events again", Duration::from_secs(30), async || {
            let answer = client.post(agent.events_url()).body("the last").send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        answered.push("the last".to_owned());
        flushed(&agent).await;
        let stored = objects(&cloud.bucket().await).await;
        let channel = agent.program().said();
        let ours = stored.iter().filter(|(metadata, _)| channel.contains(&metadata.cut.to_string()));
        let stored: Vec<u8> = ours.flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut stored: Vec<_> =
            String::from_utf8(stored).expect("lines are text").lines().map(str::to_owned).collect();
        stored.sort_unstable();
        answered.sort_unstable();
        assert!(stored == answered, "{floor}: {} stored and {} answered", stored.len(), answered.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_inodes_each_request_is_answered_in_time_and_hears_that_it_is_these() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let disk = SmallDisk::mount_with_inodes(&home.path().join("disk"), 256 << 20, 200);
    let disk = disk.expect("the disk stage may mount");
    let tuning = Tuning {
        channel: "segment = \"1MiB\"\nmax_batch = \"256KiB\"\nfree_disk_floor = \"0B\"".to_owned(),
        sink: "codec = \"gzip\"".to_owned(),
        roll: "age = \"100ms\"".to_owned(),
        ..Tuning::default()
    };
    let mut agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    agent.data = disk.path.join("data");
    let _running = agent.program().start().await;
    assert_eq!(netcat(&agent, "the first").await, "OK");
    flushed(&agent).await;

    let ballast = disk.fill_inodes();
    let (client, event) = (producer::client(), "x".repeat(100_000));
    let (mut answered, mut refused) = (1, Vec::new());
    // As many as segments hold many times over; none waits longer than room_timeout, by default 5 s.
    for _ in 0..100 {
        let request = client.post(agent.events_url()).timeout(Duration::from_secs(20)).body(event.clone());
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("{error:?}: {}", agent.program().said()));
        match answer.status().as_u16() {
            200 => answered += 1,
            503 => refused.push(answer.text().await.unwrap_or_default()),
            other => panic!("{other}"),
        }
    }
    assert!(refused.len() > 50, "{answered} answered");
    assert!(refused.iter().all(|reason| reason.contains("inodes are used up")), "{:?}", refused.first());
    assert!(agent.program().said().contains("inodes are used up"), "{}", agent.program().said());
    // What was taken is shipped all the same.
    flushed(&agent).await;

    drop(ballast);
    until("the agent taking events again", Duration::from_secs(30), async || {
        let answer = client.post(agent.events_url()).body("the last").send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    flushed(&agent).await;
    let events: u64 = objects(&cloud.bucket().await).await.iter().map(|(metadata, _)| metadata.events).sum();
    assert!(events > answered, "{events} stored, {answered} answered, and the last one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_while_the_agents_disk_is_full_now_and_then() {
    holds(Options { troubles: vec![Trouble::DiskFull], ..short(15) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_while_the_agents_disk_takes_no_further_file_now_and_then() {
    holds(Options { troubles: vec![Trouble::NoInodes], ..short(15) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_inbox_is_on_a_full_disk_is_not_ready_and_is_again_by_itself_once_there_is_room() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let disk = SmallDisk::mount(&home.path().join("disk"), 16 << 20).expect("the disk stage may mount");
    // No listing is made, so that nothing but the question writes.
    let flags = [("reconcile-interval", "off")];
    let server = Server::new(&home.path().join("server"), "http://127.0.0.1:9", &flags);
    let mut program = server.program();
    program.env.push(("SLUICEGATE_SERVER_INBOX", disk.path.join("inbox.sqlite").display().to_string()));
    let running = program.start().await;
    let client = producer::client();
    let becomes = async |status: u16| {
        let since = std::time::Instant::now();
        until(&format!("health says {status}"), Duration::from_secs(30), async || {
            let answer = client.get(server.url("/health/ready")).send().await.ok()?;
            (answer.status() == status).then_some(())
        })
        .await;
        since.elapsed()
    };
    becomes(200).await;
    let ballast = disk.fill();
    let noticed = becomes(503).await;
    assert!(noticed < Duration::from_secs(5), "{noticed:?}");
    drop(ballast);
    becomes(200).await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}
