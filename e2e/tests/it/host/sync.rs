//! Is the sync real? `kill -9` says nothing about it, because the page cache survives. So the real
//! agent runs under strace, which delays every sync or makes it fail, and its log tells in which
//! order the agent synced and answered.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use contract::exit;
use e2e::parts::{Agent, BUCKET, Cloud, Server, Tuning, objects};
use e2e::producer;
use e2e::trace::{Call, calls, traced, tracee};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const DELAY: Duration = Duration::from_millis(300);

/// Senders at a time on a disk whose syncs take seconds.
const SENDERS: usize = 200;

/// Nothing is sealed unless a flush asks, so that every sync after the start is the channel's.
fn agent(home: &Path, s3: &str) -> Agent {
    let roll = "age = \"1h\"".to_owned();
    Agent::new(home, s3, Tuning { sink: "format = \"text\"".to_owned(), roll, ..Tuning::default() })
}

/// Sends `mark 0`, `mark 1` ... one after the other until `count` are answered or one is not;
/// the marks that were answered, and how long each answer took.
async fn send_by_http(agent: &Agent, name: &str, count: usize) -> Vec<(String, Duration)> {
    let client = producer::client();
    let mut answered = Vec::new();
    for number in 0..count {
        let mark = format!("mark-{name}-{number}-");
        let sent = Instant::now();
        match client.post(agent.events_url()).body(mark.clone()).send().await {
            Ok(answer) if answer.status() == 200 => answered.push((mark, sent.elapsed())),
            _ => break,
        }
    }
    answered
}

/// As [`send_by_http`], over one netcat connection.
async fn send_by_netcat(agent: &Agent, name: &str, count: usize) -> Vec<(String, Duration)> {
    let (read, mut write) = TcpStream::connect(agent.netcat).await.expect("netcat listens").into_split();
    let mut answers = BufReader::new(read).lines();
    let mut answered = Vec::new();
    for number in 0..count {
        let mark = format!("mark-{name}-{number}-");
        let sent = Instant::now();
        if write.write_all(format!("{mark}\n").as_bytes()).await.is_err() {
            break;
        }
        match answers.next_line().await {
            Ok(Some(answer)) if answer == "OK" => answered.push((mark, sent.elapsed())),
            _ => break,
        }
    }
    answered
}

/// The call with which each mark was answered: the next "ok" on the socket that the mark came by.
fn answers(calls: &[Call]) -> HashMap<String, Call> {
    let (mut waiting, mut answers) = (HashMap::<&str, Vec<String>>::new(), HashMap::new());
    for call in calls {
        if call.name == "recvfrom" {
            for mark in call.rest.split("mark-").skip(1) {
                let mark =
                    mark.split('-').take(2).fold("mark".to_owned(), |mark, word| format!("{mark}-{word}"));
                waiting.entry(&call.file).or_default().push(format!("{mark}-"));
            }
        } else if call.file.contains("<socket:") {
            let ok = call.rest.matches("HTTP/1.1 200").count() + call.rest.matches("OK\\n").count();
            let waiting = waiting.entry(&call.file).or_default();
            assert!(ok <= waiting.len(), "more answers than marks: {call:?}");
            answers.extend(waiting.drain(..ok).map(|mark| (mark, call.clone())));
        }
    }
    answers
}

/// Each mark that was answered "ok" was written to a segment, then that segment was synced, and the
/// answer began after that sync had ended well. The number of answers.
fn every_answer_follows_its_sync(calls: &[Call]) -> usize {
    let answers = answers(calls);
    for (mark, answer) in &answers {
        let in_segment = |call: &&Call| call.name.starts_with("pwrite") && call.file.contains("/segments/");
        let written = calls.iter().filter(in_segment).find(|call| call.rest.contains(mark.as_str()));
        let written = written.unwrap_or_else(|| panic!("{mark} is answered and in no segment"));
        let covers = |call: &&Call| {
            // A segment is renamed while it is open: its number is what stays.
            let same = call.file.split('<').next() == written.file.split('<').next();
            let sync = ["fdatasync", "fsync"].contains(&call.name.as_str());
            sync && same && call.begun > written.ended && call.answer.starts_with('0')
        };
        let synced = calls.iter().filter(covers).map(|sync| sync.ended).min();
        assert!(
            synced.is_some_and(|synced| synced < answer.begun),
            "{mark} was answered before it was synced: written {written:?}, synced {synced:?}, {answer:?}"
        );
    }
    answers.len()
}

#[tokio::test]
async fn no_answer_comes_sooner_than_the_sync_that_covers_it_i1() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let agent = agent(&home.path().join("agent"), &cloud.url());
    let inject = format!("fdatasync,fsync,sync_file_range:delay_enter={}", DELAY.as_micros());
    let (program, log) = traced(&agent.program(), Some(&inject));
    let running = program.start().await;
    let (one, two, three, four) = tokio::join!(
        send_by_http(&agent, "http1", 4),
        send_by_http(&agent, "http2", 4),
        send_by_netcat(&agent, "netcat1", 4),
        send_by_netcat(&agent, "netcat2", 4),
    );
    let answered: Vec<_> = [one, two, three, four].concat();
    assert_eq!(answered.len(), 16, "{}", program.said());
    for (mark, took) in &answered {
        assert!(*took >= DELAY, "{mark} was answered after {took:?}");
    }
    e2e::pipeline::signal(tracee(&running), rustix::process::Signal::KILL);
    running.exit_code().await;
    assert_eq!(every_answer_follows_its_sync(&calls(&log)), 16);
}

#[tokio::test]
async fn nothing_is_answered_after_a_sync_that_failed_and_a_restart_has_all_that_was_i1() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    for (round, (by_http, by_netcat)) in [(1000, 0), (0, 1000), (1000, 1000)].into_iter().enumerate() {
        let home = home.path().join(round.to_string());
        let cloud = Cloud::new(&home.join("cloud"));
        let _cloud = cloud.program().start().await;
        let agent = agent(&home.join("agent"), &cloud.url());
        // Counted for each thread: the start needs fewer, the writer comes to it while it takes events.
        let inject = format!("fdatasync,fsync,sync_file_range:error=EIO:when={}+", 12 + 3 * round);
        let (program, log) = traced(&agent.program(), Some(&inject));
        let running = program.start().await;
        let (by_http, by_netcat) =
            tokio::join!(send_by_http(&agent, "http", by_http), send_by_netcat(&agent, "netcat", by_netcat),);
        let answered: Vec<String> = by_http.into_iter().chain(by_netcat).map(|(mark, _)| mark).collect();
        assert!(!answered.is_empty(), "nothing was answered before the failure: no test");
        assert_eq!(running.exit_code().await, Some(i32::from(exit::IO)), "{}", program.said());
        let calls = calls(&log);
        let failed = calls.iter().find(|call| call.answer.contains("EIO")).expect("a sync failed");
        assert!(failed.file.contains("/segments/"), "{failed:?}");
        assert!(every_answer_follows_its_sync(&calls) >= answered.len());

        // What follows the last sync that ended well may look clean in memory and be on no disk.
        let program = agent.program();
        let _running = program.start().await;
        let said = program.said();
        let copied = said.rsplit("copied_frames: ").next().expect("a text has an end");
        assert!(!copied.starts_with('0'), "{said}");
        let flush = producer::client().post(agent.admin_url("/v1/flush")).send().await;
        assert_eq!(flush.expect("the agent answers").status(), 200);
        let objects = objects(&cloud.bucket().await).await;
        let stored = objects.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let stored = String::from_utf8(stored).expect("marks are text");
        let stored: Vec<&str> = stored.lines().collect();
        for mark in &answered {
            assert_eq!(stored.iter().filter(|line| *line == mark).count(), 1, "{mark} in {stored:?}");
        }
        assert!(stored.len() <= answered.len() + 2, "only what was on its way may follow: {stored:?}");
    }
}

/// On a disk whose every sync takes so long, once the agent has started: many senders at once are
/// answered by few syncs, and whoever only asks how it is hears so meanwhile.
pub(crate) async fn slow(delay: Duration) {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let agent = agent(&home.path().join("agent"), &cloud.url());
    // Counted for each thread: the start needs fewer, the writer comes to it with the first sender.
    let inject = format!("fdatasync,fsync,sync_file_range:delay_enter={}:when=12+", delay.as_micros());
    let (program, log) = traced(&agent.program(), Some(&inject));
    let running = program.start().await;
    let mut answered: Vec<(String, Duration)> = Vec::new();
    while answered.last().is_none_or(|(_, took)| *took < delay) {
        assert!(answered.len() < 30, "no sync was slow: no test");
        answered.extend(send_by_http(&agent, &format!("before{}", answered.len()), 1).await);
    }
    let before = answered.len();
    let client = producer::client();
    let senders = (0..SENDERS).map(|sender| {
        let agent = &agent;
        async move { send_by_http(agent, &format!("sender{sender}"), 1).await }
    });
    let asked = async {
        for path in ["/health/live", "/health/ready", "/metrics"] {
            let sent = Instant::now();
            let answer = client.get(agent.admin_url(path)).send().await.expect("the agent answers");
            assert_eq!(answer.status(), 200, "{path}");
            assert!(sent.elapsed() < delay, "{path} waited for a sync: {:?}", sent.elapsed());
        }
    };
    let (sent, ()) = tokio::join!(futures_util::future::join_all(senders), asked);
    answered.extend(sent.into_iter().flatten());
    assert_eq!(answered.len(), before + SENDERS, "{}", program.said());
    e2e::pipeline::signal(tracee(&running), rustix::process::Signal::KILL);
    running.exit_code().await;
    // Whoever asked how it is sent no mark.
    let mut calls = calls(&log);
    let sends: BTreeSet<_> =
        calls.iter().filter(|call| call.rest.contains("mark-")).map(|call| call.file.clone()).collect();
    calls.retain(|call| !call.file.contains("<socket:") || sends.contains(&call.file));
    assert_eq!(every_answer_follows_its_sync(&calls), before + SENDERS);
    // The running sync is the batching: whoever came meanwhile shares the next one.
    let first = calls.iter().filter(|call| call.rest.contains("mark-sender")).map(|call| call.begun).min();
    let syncs = calls.iter().filter(|call| {
        call.name == "fdatasync" && call.file.contains("/segments/") && Some(call.begun) > first
    });
    let syncs = syncs.count();
    println!("{SENDERS} senders at once were answered by {syncs} syncs of {delay:?}");
    assert!(syncs <= 6, "{syncs} syncs for senders that came together");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_whose_syncs_take_a_second_senders_share_them_and_health_does_not_wait_i1() {
    slow(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_whose_syncs_take_a_second_notices_share_them_and_health_does_not_wait_i8() {
    const SLOW: Duration = Duration::from_secs(1);
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let server = Server::new(&home.path().join("server"), &cloud.url(), &[("handler-kind", "log")]);
    // Its schema is made before, so that the start under strace needs few syncs.
    server.program().start().await.kill().await;
    let inject = format!("fdatasync,fsync:delay_enter={}", SLOW.as_micros());
    let (program, log) = traced(&server.program(), Some(&inject));
    let running = program.start().await;
    let client = producer::client();
    let begun = log.metadata().expect("strace writes a log").len();
    let notices = futures_util::future::join_all((0..SENDERS).map(async |number| {
        let sent = Instant::now();
        let answer = crate::crowds::notify(&client, &server, BUCKET, &format!("notice-{number}")).await;
        assert_eq!(answer, 202, "{}", program.said());
        sent.elapsed()
    }));
    let asked = async {
        // Whether it is ready is what a commit says, and so asks for a sync.
        for path in ["/health/live", "/metrics"] {
            let sent = Instant::now();
            let answer = client.get(server.url(path)).send().await.expect("the server answers");
            assert_eq!(answer.status(), 200, "{path}");
            assert!(sent.elapsed() < SLOW, "{path} waited for a sync: {:?}", sent.elapsed());
        }
    };
    let (took, ()) = tokio::join!(notices, asked);
    let (soonest, latest) = (took.iter().min(), took.iter().max());
    e2e::pipeline::signal(tracee(&running), rustix::process::Signal::KILL);
    running.exit_code().await;
    let text = std::fs::read(&log).expect("strace writes a log").split_off(begun as usize);
    let syncs = e2e::trace::parse(&String::from_utf8_lossy(&text));
    let syncs = syncs.iter().filter(|call| call.name.ends_with("sync") && call.file.contains("inbox.sqlite"));
    let syncs = syncs.count();
    println!("{SENDERS} notices at once took {soonest:?} to {latest:?} and {syncs} syncs");
    assert!(soonest >= Some(&SLOW), "a notice was answered before its sync: {soonest:?}");
    assert!(syncs <= SENDERS / 4, "{syncs} syncs for {SENDERS} notices that came together");
}
