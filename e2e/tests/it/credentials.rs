//! A program that is to give credentials and hangs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::door::{flushed, metric, post};
use e2e::parts::{ACCESS_KEY, Agent, Cloud, PREFIX, SECRET_KEY, Server, Tuning, keys, notifier, objects};
use e2e::process::Program;
use e2e::{producer, until};
use rustix::process::Signal;

/// How long a program may take over something: the AWS libraries give a program five seconds, and try
/// it again.
const WITHIN: Duration = Duration::from_secs(90);

/// What gives credentials once the file `open` is there, and hangs before.
struct Credentials {
    config: PathBuf,
    open: PathBuf,
    /// Takes a line for each time that it is asked.
    asked: PathBuf,
}

impl Credentials {
    fn new(home: &Path) -> Self {
        let [script, config, open, asked] = ["give", "config", "open", "asked"].map(|name| home.join(name));
        let keys = serde_json::json!({
            "Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY
        });
        let text = format!(
            "#!/bin/sh\necho $$ >> '{}'\n[ -e '{}' ] || exec sleep 300\necho '{keys}'\n",
            asked.display(),
            open.display()
        );
        std::fs::write(&script, text).expect("a script can be written");
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("it can be made to run");
        let text = format!("[default]\ncredential_process = {}\n", script.display());
        std::fs::write(&config, text).expect("a configuration can be written");
        Self { config, open, asked }
    }

    /// The program, without keys other than these.
    fn give(&self, mut program: Program) -> Program {
        if let Some(at) = program.args.iter().position(|word| word == "--s3-access-key-id") {
            program.args.drain(at..at + 2);
        }
        program.env.retain(|(name, _)| *name != "SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY");
        program.env.push(("AWS_CONFIG_FILE", self.config.display().to_string()));
        program.env.push(("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()));
        program
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        std::fs::read_to_string(&self.asked).unwrap_or_default().lines().count()
    }
}

#[tokio::test]
async fn a_credentials_process_that_hangs_stops_no_sender_and_is_asked_again_until_it_answers() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let credentials = Credentials::new(home.path());
    let tuning = Tuning {
        sink: "retry_base = \"50ms\"\nretry_max = \"200ms\"\nalarm_after = \"5s\"".to_owned(),
        roll: "age = \"100ms\"".to_owned(),
        credentials: "from = \"default\"".to_owned(),
        ..Tuning::default()
    };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let program = credentials.give(agent.program());
    let running = program.start().await;
    let client = producer::client();
    assert_eq!(post(&client, &agent, r#"{"sent":"while it hangs"}"#).await, 200);
    until("the alarm", WITHIN, async || {
        assert_eq!(post(&client, &agent, r#"{"sent":"again"}"#).await, 200, "{}", program.said());
        let name = "sluicegate_sink_alarm{channel=\"main\",sink=\"s3\"}";
        let alarm = metric(&agent.admin_url("/metrics"), name).await?;
        (alarm >= 1.0).then_some(())
    })
    .await;
    assert!(
        program.said().contains("nothing is shipped before"),
        "the log does not say it: {}",
        program.said()
    );
    let url = agent.admin_url("/v1/flush?timeout=1s");
    let flush = client.post(url).send().await.expect("the agent answers").status().as_u16();
    assert!([503, 504].contains(&flush), "a flush of what cannot be shipped answered {flush}");
    until("its being asked again", WITHIN, async || (credentials.asked() >= 3).then_some(())).await;

    // Told to stop, it does not wait for the process either.
    running.signal(Signal::TERM);
    let ended = running.exit_code().await;
    assert!([Some(0), Some(75)].contains(&ended), "{ended:?}: {}", program.said());
    let running = program.start().await;
    std::fs::write(&credentials.open, "").expect("a file can be made");
    flushed(&agent, WITHIN).await;
    let stored = objects(&cloud.bucket().await).await.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let stored = String::from_utf8(stored).expect("what was sent is text");
    assert_eq!(stored.matches("while it hangs").count(), 1, "{stored}");
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}

#[tokio::test]
async fn a_credentials_process_that_hangs_costs_the_server_no_object_and_no_attempt() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;
    let credentials = Credentials::new(home.path());
    let tuning = Tuning { roll: "age = \"50ms\"".to_owned(), ..Tuning::default() };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let _agent = agent.program().start().await;
    let output = home.path().join("server/out.ndjson");
    let path = output.to_str().expect("a path of ours is text");
    let flags = [
        ("handler-kind", "ndjson"),
        ("handler-path", path),
        // Few: what only waits is not to use them up.
        ("retry-attempts", "3"),
        ("retry-base", "50ms"),
        ("retry-max", "200ms"),
    ];
    let server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    let program = credentials.give(server.program());
    let running = program.start().await;
    let _notifier = notifier(home.path(), cloud.lambda, server.addr).start().await;
    let client = producer::client();
    assert_eq!(post(&client, &agent, r#"{"sent":"while it hangs"}"#).await, 200);
    flushed(&agent, WITHIN).await;
    assert_eq!(keys(&cloud.bucket().await, PREFIX).await.len(), 1);
    until("its being asked again", WITHIN, async || (credentials.asked() >= 5).then_some(())).await;
    let name = "sluicegate_server_objects{state=\"dead\"}";
    assert_eq!(metric(&server.url("/metrics"), name).await, Some(0.0), "{}", program.said());
    std::fs::write(&credentials.open, "").expect("a file can be made");
    until("the event at the handler", WITHIN, async || {
        std::fs::read_to_string(&output).ok()?.contains("while it hangs").then_some(())
    })
    .await;
    running.signal(Signal::TERM);
    assert_eq!(running.exit_code().await, Some(0), "{}", program.said());
}
