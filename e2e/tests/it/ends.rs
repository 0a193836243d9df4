//! How the programs end, and what they say while they do: exit codes, flushes, second signals.

use std::time::Duration;

use contract::exit;
use e2e::front::{Fault, Front};
use e2e::parts::{Agent, Cloud, Server, Tuning, objects};
use e2e::pipeline::{PARTS, Pipeline, signal};
use e2e::{producer, until};
use hyper::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

fn soon() -> Tuning {
    let sink = "format = \"text\"".to_owned();
    Tuning { sink, roll: "age = \"50ms\"".to_owned(), ..Tuning::default() }
}

/// `POST /v1/flush` on the agent's admin address: the status, and what it says.
async fn flush(agent: &Agent, timeout: &str) -> (u16, Value) {
    let url = agent.admin_url(&format!("/v1/flush?timeout={timeout}"));
    let answer = producer::client().post(url).send().await.expect("the agent answers");
    (answer.status().as_u16(), answer.json().await.expect("a flush answers in JSON"))
}

async fn post(agent: &Agent, line: &'static str) {
    let answer = producer::client().post(agent.events_url()).body(line).send().await;
    assert_eq!(answer.expect("the agent answers").status(), 200);
}

#[tokio::test]
async fn an_agent_on_a_copied_channel_answers_503_to_a_flush_and_ends_with_76() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let first = Agent::new(&home.path().join("first"), &cloud.url(), soon());
    let second = Agent::new(&home.path().join("second"), &cloud.url(), soon());
    let running = first.program().start().await;
    post(&first, "before the copy").await;
    assert_eq!(flush(&first, "30s").await.0, 200);
    running.kill().await;
    let copied =
        tokio::process::Command::new("cp").arg("-r").args([&first.data, &second.data]).status().await;
    assert!(copied.expect("cp is there").success());
    let _first = first.program().start().await;
    post(&first, "of the first").await;
    assert_eq!(flush(&first, "30s").await.0, 200);

    let program = second.program();
    let running = program.start().await;
    // While this request is owed an answer, the agent that stops can still be asked.
    let mut unfinished = TcpStream::connect(second.http).await.expect("the agent listens");
    let head = "POST /v1/events HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nhalf";
    unfinished.write_all(head.as_bytes()).await.expect("the agent reads");
    post(&second, "of the second").await;
    until("a flush that says that the sink has ended", Duration::from_secs(20), async || {
        let (status, said) = flush(&second, "100ms").await;
        (status == 503 && said["ended"] == json!(["s3"])).then_some(())
    })
    .await;
    unfinished.write_all(b" done!").await.expect("the agent reads");
    assert_eq!(running.exit_code().await, Some(i32::from(exit::FORK)), "{}", program.said());
    assert!(program.said().contains("channel adopt"), "{}", program.said());
    let stored: Vec<u8> =
        objects(&cloud.bucket().await).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(String::from_utf8_lossy(&stored), "before the copy\nof the first\n");
}

#[tokio::test]
async fn a_flush_that_takes_too_long_is_504_and_names_the_sinks_that_are_late() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let away =
        Front::start(([127, 0, 0, 1], 9).into(), |_| Fault::Refuse(StatusCode::SERVICE_UNAVAILABLE)).await;
    let agent = Agent::new(&home.path().join("agent"), &away.url(), soon());
    let _running = agent.program().start().await;
    post(&agent, "on its way").await;
    let (status, said) = flush(&agent, "200ms").await;
    assert_eq!((status, &said["complete"], &said["late"]), (504, &json!(false), &json!(["s3"])));
}

/// An S3 that takes connections and never says a word.
async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (url, holding)
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once_with_130() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let (s3, _holding) = silent().await;
    let server = Server::new(home.path(), &s3, &[("handler-kind", "log"), ("shutdown-timeout", "50s")]);
    let mut program = server.program();
    program.env.retain(|(name, _)| !name.contains("NOTICES"));
    let running = program.start().await;
    let client = producer::client();
    let notice = json!({ "bucket": "events", "key": "data/x" }).to_string();
    let request =
        client.post(server.url("/v1/notices")).header("content-type", "application/json").body(notice);
    assert_eq!(request.send().await.expect("the server answers").status(), 202);
    until("the fetch that never ends", Duration::from_secs(20), async || {
        let metrics = client.get(server.url("/metrics")).send().await.ok()?.text().await.ok()?;
        metrics.contains("sluicegate_server_objects{state=\"fetching\"} 1").then_some(())
    })
    .await;
    running.signal(Signal::TERM);
    until("the first signal", Duration::from_secs(20), async || {
        program.said().contains("a second signal stops at once").then_some(())
    })
    .await;
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code().await, Some(i32::from(exit::KILLED)));
}

#[tokio::test]
async fn a_second_signal_ends_the_one_command_at_once_with_130_and_no_part_is_left() {
    let mut pipeline = Pipeline::start().await;
    let pids: Vec<u32> = PARTS.iter().filter_map(|part| pipeline.child_pid(part)).collect();
    // It cannot end in order any more, and its parent would wait for it.
    signal(pids[0], Signal::STOP);
    signal(pipeline.pid(), Signal::INT);
    until("the first signal", Duration::from_secs(20), async || {
        pipeline.said().contains("once more to stop at once").then_some(())
    })
    .await;
    signal(pipeline.pid(), Signal::INT);
    assert_eq!(pipeline.exit_code().await, Some(i32::from(exit::KILLED)));
    until("the end of every part", Duration::from_secs(5), async || {
        let gone = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        pids.iter().all(gone).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_lines_of_one_connection_stay_in_order_through_all_objects() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let tuning = Tuning {
        sink: "format = \"text\"".to_owned(),
        roll: "age = \"5s\"\nevents = 700".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let _running = agent.program().start().await;
    let send = async |name: &str| {
        let (mut read, mut write) =
            TcpStream::connect(agent.netcat).await.expect("netcat listens").into_split();
        let lines: Vec<String> = (0..10_000).map(|number| format!("{name} {number}\n")).collect();
        let answers = tokio::spawn(async move {
            let mut answers = String::new();
            read.read_to_string(&mut answers).await.map(|_| answers.matches("OK\n").count())
        });
        write.write_all(lines.concat().as_bytes()).await.expect("the agent reads");
        drop(write);
        assert_eq!(answers.await.expect("it ends").expect("the agent answers"), lines.len());
    };
    tokio::join!(send("a"), send("b"), send("c"));
    assert_eq!(flush(&agent, "30s").await.0, 200);
    let objects = objects(&cloud.bucket().await).await;
    assert!(objects.len() > 20, "only {} objects", objects.len());
    let text: Vec<u8> = objects.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let mut lines = BufReader::new(&text[..]).lines();
    let mut next = std::collections::HashMap::new();
    while let Some(line) = lines.next_line().await.expect("lines are text") {
        let (name, number) = line.split_once(' ').expect("a line has name and number");
        let next = next.entry(name.to_owned()).or_insert(0);
        assert_eq!(number, next.to_string(), "{name}");
        *next += 1;
    }
    assert!(next.len() == 3 && next.values().all(|next| *next == 10_000), "{next:?}");
}
