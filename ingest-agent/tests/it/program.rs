//! The agent as a program: arguments, exit codes, the ready file, signals, the operator's commands.

mod connect;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use contract::exit;
use local_cloud::{CloudOptions, LocalCloud};
use tempfile::tempdir;

use crate::support::{request, send_lines, until};

pub(crate) fn agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-agent"));
    command.env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    agent().args(args).output().expect("the program starts")
}

#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: u8) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(code)), "{text}");
}

pub(crate) fn write_config(dir: &Path, rest: &str) -> PathBuf {
    let text = format!(
        "data_dir = \"{}\"\nready_file = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{rest}",
        dir.join("data").display(),
        dir.join("ready.json").display()
    );
    let file = dir.join("agent.toml");
    std::fs::write(&file, text).expect("the folder is ours");
    file
}

pub(crate) const LINES_TO_NULL: &str =
    "[sources.lines]\nkind = \"netcat\"\nlisten = \"127.0.0.1:0\"\n[sinks.one]\nkind = \"null\"\n";

/// A running agent, killed if the test ends without it.
pub(crate) struct Running {
    pub(crate) child: Child,
    ready: serde_json::Value,
}

impl Running {
    pub(crate) fn start(dir: &Path, config: &Path) -> Self {
        Self::start_with(dir, agent().arg("--config").arg(config))
    }

    /// Starts `command`, whose ready file is `ready.json` in `dir`.
    pub(crate) fn start_with(dir: &Path, command: &mut Command) -> Self {
        // That of an earlier run would be taken for this one's.
        let _ = std::fs::remove_file(dir.join("ready.json"));
        let child = command.stderr(Stdio::null()).spawn().expect("the program starts");
        let ready = until("the ready file", || {
            serde_json::from_slice(&std::fs::read(dir.join("ready.json")).ok()?).ok()
        });
        Self { child, ready }
    }

    pub(crate) fn address(&self, pointer: &str) -> SocketAddr {
        let address = self.ready.pointer(pointer).and_then(|value| value.as_str());
        address.and_then(|address| address.parse().ok()).expect("an address")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    pub(crate) fn exit_code(mut self) -> Option<i32> {
        until("the exit", || self.child.try_wait().expect("it is our child")).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_example_passes_check_config() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if path.extension().is_some_and(|ext| ext == "toml") && text.contains("\n[sinks.") {
            assert_exit(&run(&["--config", path.to_str().unwrap(), "--check-config"]), exit::OK);
            checked += 1;
        }
    }
    assert!(checked >= 4, "only {checked} examples");
}

#[test]
fn check_config_tells_every_mistake_and_exits_64() {
    let dir = tempdir().unwrap();
    let file = write_config(
        dir.path(),
        "[sources.lines]\nkind = \"netcat\"\nlimit = 5\n[sinks.one]\nkind = \"nul\"\n",
    );
    let output = run(&["--config", file.to_str().unwrap(), "--check-config"]);
    assert_exit(&output, exit::CONFIG);
    let name = file.display();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with(&format!("{name}:7: sources.lines.limit: unknown key; ")), "{text}");
    let second = format!(
        "{name}:9: sinks.one.kind: \"nul\" is none of \"s3\", \"logger\", \"null\"; did you mean \"null\"?\n"
    );
    assert!(text.ends_with(&second), "{text}");
}

#[test]
fn wrong_arguments_exit_64_and_help_exits_0() {
    assert_exit(&run(&["--no-such-flag"]), exit::CONFIG);
    assert_exit(&run(&["--config", "/nowhere.toml"]), exit::CONFIG);
    assert_exit(&run(&["--bucket", "bucket", "--config", "x.toml"]), exit::CONFIG);
    assert_exit(&run(&["--http", "127.0.0.1:0"]), exit::CONFIG);
    let output = run(&[]);
    assert_exit(&output, exit::CONFIG);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "nothing to do: give --config FILE or --bucket NAME (see --help)\n");
    assert_exit(&run(&["--help"]), exit::OK);
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert!(version.contains("configuration 1, channel format 1, "), "{version}");
}

#[test]
fn a_health_check_needs_the_admin_address_alone_and_says_69_when_nobody_is_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_exit(&run(&["--health", "--admin", &free.to_string()]), exit::UNAVAILABLE);
    assert_exit(&run(&["--health", "--admin", "nowhere"]), exit::CONFIG);
    assert_exit(&run(&["--health"]), exit::CONFIG);
}

#[test]
fn it_writes_its_man_pages_and_completions() {
    let dir = tempdir().unwrap();
    assert_exit(&run(&["--generate", dir.path().to_str().unwrap()]), exit::OK);
    let page = std::fs::read_to_string(dir.path().join("man/man1/ingest-agent.1")).unwrap();
    assert!(page.contains(r"\-\-check\-config"), "{page}");
    assert!(dir.path().join("man/man1/ingest-agent-channel-verify.1").exists());
}

#[test]
fn flags_alone_are_a_configuration_that_can_be_printed_and_used() {
    let printed = run(&["--bucket", "bucket", "--path-style", "--http", "127.0.0.1:0", "--print-config"]);
    assert_exit(&printed, exit::OK);
    let dir = tempdir().unwrap();
    let file = dir.path().join("printed.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = run(&["--config", file.to_str().unwrap(), "--print-config"]);
    assert_exit(&again, exit::OK);
    assert_eq!(String::from_utf8(again.stdout), String::from_utf8(printed.stdout));
}

#[tokio::test]
async fn sigterm_stops_it_in_order_and_the_next_start_goes_on() {
    let dir = tempdir().unwrap();
    let config = write_config(dir.path(), LINES_TO_NULL);
    for round in 0..2 {
        let running = Running::start(dir.path(), &config);
        send_lines(running.address("/sources/lines"), &format!("round {round}"), 100).await;
        running.signal(rustix::process::Signal::TERM);
        assert_eq!(running.exit_code(), Some(i32::from(exit::OK)));
    }
    let shown =
        run(&["channel", "inspect", "--json", dir.path().join("data/channels/main").to_str().unwrap()]);
    assert_exit(&shown, exit::OK);
    let found: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&found["next"], &found["readers"][0]["released"]), (&200.into(), &200.into()), "{found}");
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let dir = tempdir().unwrap();
    let config = write_config(dir.path(), LINES_TO_NULL);
    let mut running = Running::start(dir.path(), &config);
    send_lines(running.address("/sources/lines"), "line", 100).await;
    running.child.kill().unwrap();
    assert_eq!(running.exit_code(), None);
    let again = Running::start(dir.path(), &config);
    let (_, scrape) = request(again.address("/admin"), "GET", "/metrics", "").await;
    let next = crate::support::metric(&scrape, "sluicegate_channel_synced_position", "channel=\"main\"");
    assert_eq!(next, 100, "I1");
}

#[tokio::test]
async fn the_log_level_changes_at_run_time() {
    let dir = tempdir().unwrap();
    let running = Running::start(dir.path(), &write_config(dir.path(), LINES_TO_NULL));
    let admin = running.address("/admin");
    assert_eq!(request(admin, "GET", "/v1/log-level", "").await, (200, "info\n".to_owned()));
    assert_eq!(request(admin, "PUT", "/v1/log-level", "debug").await, (200, "debug\n".to_owned()));
    assert_eq!(request(admin, "GET", "/v1/log-level", "").await, (200, "debug\n".to_owned()));
    let (status, text) = request(admin, "PUT", "/v1/log-level", "loud").await;
    let expected = "\"loud\" is no log level, such as \"info\" or \"info,ingest_agent::sink=debug\"\n";
    assert_eq!((status, text.as_str()), (400, expected));
}

#[tokio::test]
async fn a_reader_can_be_retired_once_its_sink_is_gone() {
    let dir = tempdir().unwrap();
    let with_two = format!("{LINES_TO_NULL}[sinks.two]\nkind = \"null\"\n");
    let running = Running::start(dir.path(), &write_config(dir.path(), &with_two));
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.exit_code(), Some(0));
    let config = write_config(dir.path(), LINES_TO_NULL);
    assert_exit(&run(&["--config", config.to_str().unwrap()]), exit::DATA);
    let folder = dir.path().join("data/channels/main");
    let folder = folder.to_str().unwrap();
    assert_exit(&run(&["channel", "retire", folder, "nobody"]), exit::DATA);
    assert_exit(&run(&["channel", "retire", folder, "two"]), exit::OK);
    let again = write_config(dir.path(), &with_two);
    assert_exit(&run(&["--config", again.to_str().unwrap()]), exit::DATA);
    let config = write_config(dir.path(), LINES_TO_NULL);
    Running::start(dir.path(), &config);
}

#[test]
fn a_mistyped_folder_is_not_made_a_channel() {
    let output = run(&["channel", "inspect", "/nowhere/at/all"]);
    assert_exit(&output, exit::CONFIG);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "there is no channel in /nowhere/at/all\n");
}

/// A store with the bucket `events`, and the arguments and environment of an agent that ships to it.
async fn store(dir: &Path) -> (LocalCloud, Vec<(&'static str, String)>) {
    let cloud = LocalCloud::start(CloudOptions::new(dir.join("cloud"))).await.expect("it starts");
    cloud.create_bucket("events").await.expect("a bucket");
    let options = CloudOptions::new(dir.join("cloud"));
    let env = vec![
        ("AWS_ACCESS_KEY_ID", options.access_key),
        ("AWS_SECRET_ACCESS_KEY", options.secret_key),
        ("AWS_REGION", options.region),
    ];
    (cloud, env)
}

fn flags_alone(dir: &Path, endpoint: &str, bucket: &str) -> Command {
    let mut command = agent();
    command.args(["--bucket", bucket, "--path-style", "--endpoint", endpoint, "--admin", "127.0.0.1:0"]);
    command.args(["--http", "127.0.0.1:0", "--netcat", "127.0.0.1:0"]);
    command.arg("--dir").arg(dir.join("data")).arg("--ready-file").arg(dir.join("ready.json"));
    command
}

/// The objects of the bucket, as they lie in the store's folder.
fn objects(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("cloud/events/events")).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_alone_carry_events_into_objects_and_a_flush_names_their_keys() {
    let dir = tempdir().unwrap();
    let (cloud, env) = store(dir.path()).await;
    let mut command = flags_alone(dir.path(), &cloud.s3_url(), "events");
    let running = Running::start_with(dir.path(), command.envs(env));
    send_lines(running.address("/sources/netcat"), "line", 1000).await;
    let (status, _) = request(running.address("/sources/http"), "POST", "/v1/events", "by http").await;
    assert_eq!(status, 200);
    let (status, flushed) = request(running.address("/admin"), "POST", "/v1/flush?timeout=50s", "").await;
    assert_eq!(status, 200, "{flushed}");
    let flushed: serde_json::Value = serde_json::from_str(&flushed).unwrap();
    let keys = flushed["keys"].as_array().unwrap();
    let contents = keys.iter().map(|key| {
        std::fs::read_to_string(dir.path().join("cloud/events").join(key.as_str().unwrap())).unwrap()
    });
    let mut lines: Vec<_> =
        contents.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let bodies = (0..1000).map(|index| format!("line {index}")).chain(["by http".to_owned()]);
    let mut sent: Vec<_> = bodies.map(|body| format!("{{\"message\":\"{body}\"}}")).collect();
    lines.sort();
    sent.sort();
    assert_eq!(lines, sent, "each once, in the objects that the flush named");
    assert_eq!(objects(dir.path()).len(), keys.len(), "and nothing else in the bucket");

    // A second flush has nothing to wait for.
    let (status, again) = request(running.address("/admin"), "POST", "/v1/flush", "").await;
    assert_eq!((status, again.as_str()), (200, "{\"complete\":true,\"keys\":[]}"));

    // SIGUSR1 does the same.
    send_lines(running.address("/sources/netcat"), "later", 1).await;
    running.signal(rustix::process::Signal::USR1);
    until("the flushed object", || (objects(dir.path()).len() > keys.len()).then_some(()));
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(0));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ships_what_is_in_the_channel() {
    let dir = tempdir().unwrap();
    let (cloud, env) = store(dir.path()).await;
    let mut command = flags_alone(dir.path(), &cloud.s3_url(), "events");
    let running = Running::start_with(dir.path(), command.envs(env));
    send_lines(running.address("/sources/netcat"), "line", 100).await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(0));
    let objects = objects(dir.path());
    assert_eq!(objects.len(), 1);
    assert_eq!(std::fs::read_to_string(&objects[0]).unwrap().lines().count(), 100);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_cannot_ship_leaves_the_events_and_says_so() {
    let dir = tempdir().unwrap();
    let (_cloud, env) = store(dir.path()).await;
    let mut command = flags_alone(dir.path(), "http://127.0.0.1:9", "events");
    let running = Running::start_with(dir.path(), command.args(["--shutdown-timeout", "200ms"]).envs(env));
    send_lines(running.address("/sources/netcat"), "line", 100).await;
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(i32::from(exit::TEMPFAIL)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let dir = tempdir().unwrap();
    let (cloud, env) = store(dir.path()).await;
    // Nobody listens there, so that the first signal's shutdown takes its whole 30 seconds.
    let mut command = flags_alone(dir.path(), "http://127.0.0.1:9", "events");
    let running = Running::start_with(dir.path(), command.envs(env.clone()));
    send_lines(running.address("/sources/netcat"), "line", 100).await;
    let admin = running.address("/admin");
    running.signal(rustix::process::Signal::TERM);
    loop {
        let (_, text) = request(admin, "GET", "/health/ready", "").await;
        if text == "stopping\n" {
            break;
        }
    }
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exit_code(), Some(i32::from(exit::KILLED)));

    let mut command = flags_alone(dir.path(), &cloud.s3_url(), "events");
    let running = Running::start_with(dir.path(), command.envs(env));
    let (status, text) = request(running.address("/admin"), "POST", "/v1/flush?timeout=50s", "").await;
    assert_eq!(status, 200, "{text}");
    let texts: Vec<_> =
        objects(dir.path()).iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts.concat().lines().count(), 100);
    cloud.shutdown().await;
}
