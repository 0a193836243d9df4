//! `sluicegate`, the one command: ports, folder, start, stop.

use std::time::Duration;

use contract::exit;
use e2e::pipeline::{PARTS, Pipeline, command};
use e2e::{producer, until};

#[tokio::test]
async fn the_ready_file_names_every_address_and_each_answers() {
    let pipeline = Pipeline::start().await;
    let client = producer::client();
    for url in [
        pipeline.url("page", "/"),
        pipeline.url("admin", "/health/ready"),
        pipeline.url("page", "/health/ready"),
    ] {
        let answer = client.get(&url).send().await.expect("the address answers");
        assert_eq!(answer.status(), 200, "{url}");
    }
    for name in ["http", "netcat", "s3", "lambda"] {
        tokio::net::TcpStream::connect(pipeline.addr(name))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn a_pasted_line_is_on_the_page_within_three_seconds() {
    let pipeline = Pipeline::start().await;
    let client = producer::client();
    let answer =
        client.post(pipeline.url("http", "/v1/events")).body("hello over http").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    until("the line on the page", Duration::from_secs(3), async || {
        let recent = client.get(pipeline.url("page", "/v1/recent")).send().await.ok()?.text().await.ok()?;
        recent.contains("hello over http").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut start = command(folder.path());
    start.args(["--page", &taken.local_addr().unwrap().to_string()]);
    let output = start.stderr(std::process::Stdio::piped()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(exit::UNAVAILABLE)));
    assert!(text.contains("--page") && text.contains("in use"), "{text}");
}

#[tokio::test]
async fn why_the_command_ends_is_told_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    let cases: [(&[&str], u8); 5] = [
        (&["--help"], exit::OK),
        (&["--no-such-flag"], exit::CONFIG),
        (&["--http", "no address"], exit::CONFIG),
        (&[], exit::DATA),
        (&["--health", "--admin", "127.0.0.1:1"], exit::UNAVAILABLE),
    ];
    for (arguments, code) in cases {
        let mut start = command(folder.path());
        let output = start.args(arguments).stderr(std::process::Stdio::piped()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(code)), "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn a_second_pipeline_on_the_same_folder_is_refused() {
    let pipeline = Pipeline::start().await;
    let output = command(&pipeline.data()).stderr(std::process::Stdio::piped()).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("--dir"), "{text}");
}

#[tokio::test]
async fn no_child_outlives_a_parent_that_was_killed() {
    let mut pipeline = Pipeline::start().await;
    let pids: Vec<u32> = PARTS.iter().filter_map(|part| pipeline.child_pid(part)).collect();
    assert_eq!(pids.len(), 4);
    pipeline.kill_parent().await;
    until("the end of every child", Duration::from_secs(5), async || {
        // An ended process that nobody waited for yet is a zombie, which holds no port.
        let gone = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
        };
        pids.iter().all(gone).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_start_goes_on_where_the_first_stopped() {
    let mut pipeline = Pipeline::start().await;
    let client = producer::client();
    for (round, line) in ["before the stop", "after the stop"].iter().enumerate() {
        let answer = client.post(pipeline.url("http", "/v1/events")).body(*line).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        // Told to stop at once: what was answered has to come out all the same, now or later.
        pipeline.stop().await;
        pipeline.start_again().await;
        until("the line in the output", Duration::from_secs(10), async || {
            (pipeline.output().split(|b| *b == b'\n').count() == round + 2).then_some(())
        })
        .await;
    }
    let expected = "{\"message\":\"before the stop\"}\n{\"message\":\"after the stop\"}\n";
    assert_eq!(String::from_utf8_lossy(&pipeline.output()), expected);
}
