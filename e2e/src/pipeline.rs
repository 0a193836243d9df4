//! The one-command pipeline as a child process in a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{program, until};

/// The names of the children.
pub const PARTS: [&str; 4] = ["agent", "cloud", "server", "notifier"];

/// A pipeline that runs; killed with all its children when dropped.
pub struct Pipeline {
    dir: PathBuf,
    child: Child,
    ready: Value,
    folder: Option<TempDir>,
}

impl Pipeline {
    /// Starts in a fresh folder, on free ports.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut pipeline = Self::start_in(folder.path()).await;
        pipeline.folder = Some(folder);
        pipeline
    }

    /// Starts in a folder that may hold the state of an earlier start.
    pub async fn start_in(dir: &Path) -> Self {
        let ready_file = dir.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let log = std::fs::File::create(dir.join("stderr.log")).expect("a log can be made");
        let mut child = command(&dir.join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .stderr(log)
            .spawn()
            .expect("sluicegate starts");
        let ready = until("the pipeline being ready", Duration::from_secs(60), async || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("sluicegate ended with {status} before it was ready");
            }
            std::fs::read(&ready_file).ok().and_then(|text| serde_json::from_slice(&text).ok())
        })
        .await;
        Self { dir: dir.to_owned(), child, ready, folder: None }
    }

    /// Starts again on the same folder, after the process ended.
    pub async fn start_again(&mut self) {
        let folder = self.folder.take();
        let again = Self::start_in(&self.dir).await;
        *self = Self { folder, ..again };
    }

    /// The address that the ready file gives under `name`.
    pub fn addr(&self, name: &str) -> SocketAddr {
        self.ready[name]
            .as_str()
            .and_then(|addr| addr.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    /// A URL on the address of `name`.
    pub fn url(&self, name: &str, path: &str) -> String {
        format!("http://{}{path}", self.addr(name))
    }

    /// The folder that holds the state.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What the `ndjson` handler wrote.
    pub fn output(&self) -> Vec<u8> {
        std::fs::read(self.data().join("server/events.ndjson")).unwrap_or_default()
    }

    /// The process of the whole.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the pipeline runs")
    }

    /// The process that runs `part` now: it changes when the part is started again.
    pub fn child_pid(&self, part: &str) -> Option<u32> {
        let parent = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(1) == Some(part.as_bytes())
        })
    }

    /// `kill -9` of one part.
    pub fn kill_child(&self, part: &str) {
        if let Some(pid) = self.child_pid(part) {
            signal(pid, Signal::KILL);
        }
    }

    /// `kill -9` of the parent and of every child.
    pub async fn kill(&mut self) {
        for part in PARTS {
            self.kill_child(part);
        }
        self.kill_parent().await;
    }

    /// `kill -9` of the parent alone; its children are to follow by themselves.
    pub async fn kill_parent(&mut self) {
        signal(self.pid(), Signal::KILL);
        let _ = self.child.wait().await;
    }

    /// Ctrl-C; returns once the pipeline has ended in order.
    pub async fn stop(&mut self) {
        signal(self.pid(), Signal::INT);
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        let status =
            ended.expect("the pipeline stops within its limits").expect("the pipeline can be waited for");
        assert!(status.success(), "the pipeline ended with {status}");
    }

    /// What it says on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("stderr.log")).unwrap_or_default()
    }

    /// Waits for its end: the exit code, `None` after a signal that kills.
    pub async fn exit_code(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.expect("the pipeline ends").expect("the pipeline can be waited for").code()
    }

    /// Every line of S3's request log.
    pub fn s3_requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.data().join("logs/s3-requests.jsonl"))
            .expect("S3 keeps a request log");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// `sluicegate --dir DIR`, every port a free one.
pub fn command(data: &Path) -> Command {
    let mut command = Command::new(program("sluicegate"));
    command.arg("--dir").arg(data);
    for flag in ["--http", "--netcat", "--admin", "--page", "--s3", "--lambda"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

/// Sends `signal` to a process that may be gone already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}
