//! One child: started, watched, started again when it dies, and stopped.
//!
//! Its standard input carries its settings and then its lifetime: it stays open as long as the
//! parent lives and closes with it, however the parent ends. So no orphan keeps a port.

use std::fs::{File, OpenOptions};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child as Process, ChildStdin, Command};

use crate::Part;
use crate::ends::ChildEnded;
use crate::settings::Settings;

/// How long a child may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A child that lived shorter than this had no luck in starting; it is started again more slowly.
const SHORT_LIFE: Duration = Duration::from_secs(5);
const SLOWEST_RESTART: Duration = Duration::from_secs(5);
/// After so many short lives in a row the fault is not chance.
const SHORT_LIVES: u32 = 8;

pub(crate) struct Child {
    part: Part,
    process: Process,
    /// Never written again, only open as long as the parent lives.
    lifeline: ChildStdin,
    started: Instant,
    short_lives: u32,
}

impl Child {
    /// Starts a part and waits until it says that it answers.
    pub(crate) async fn start(part: Part, settings: &Settings) -> anyhow::Result<Self> {
        let (process, lifeline) = spawn(part, settings).await?;
        let mut child = Self { part, process, lifeline, started: Instant::now(), short_lives: 0 };
        child.answers(settings).await?;
        Ok(child)
    }

    pub(crate) fn part(&self) -> Part {
        self.part
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until the child ends, which it should not.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Starts the part again after it ended, later and later if it does not live long.
    pub(crate) async fn restart(&mut self, status: ExitStatus, settings: &Settings) -> anyhow::Result<()> {
        self.short_lives = if self.started.elapsed() < SHORT_LIFE { self.short_lives + 1 } else { 0 };
        let log = settings.log_file(self.part);
        if self.short_lives > SHORT_LIVES {
            let text = format!("{} keeps ending ({status}): {} says why", self.part.name(), log.display());
            return Err(ChildEnded { text, code: status.code() }.into());
        }
        eprintln!("sluicegate: {} ended ({status}), starting it again", self.part.name());
        let pause = Duration::from_millis(50) * 2_u32.saturating_pow(self.short_lives);
        tokio::time::sleep(pause.min(SLOWEST_RESTART)).await;
        (self.process, self.lifeline) = spawn(self.part, settings).await?;
        self.started = Instant::now();
        Ok(())
    }

    /// Forgets how often it has ended soon.
    pub(crate) fn forgive(&mut self) {
        self.short_lives = 0;
    }

    /// Asks the child to end in order, and ends it if it does not within `limit`.
    pub(crate) async fn stop(&mut self, limit: Duration) {
        if let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(limit, self.process.wait()).await.is_err() {
            eprintln!("sluicegate: {} did not end within {limit:?}, killing it", self.part.name());
            let _ = self.process.kill().await;
        }
    }

    async fn answers(&mut self, settings: &Settings) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        let (name, log) = (self.part.name(), settings.log_file(self.part));
        while !settings.ready_file(self.part).exists() {
            if let Some(status) = self.process.try_wait()? {
                let text = format!("{name} ended before it answered ({status}): {} says why", log.display());
                return Err(ChildEnded { text, code: status.code() }.into());
            }
            if Instant::now() > deadline {
                bail!("{name} did not answer within {READY_WITHIN:?}: {} says why", log.display());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

async fn spawn(part: Part, settings: &Settings) -> anyhow::Result<(Process, ChildStdin)> {
    let context = || format!("starting {}", part.name());
    let ready = settings.ready_file(part);
    if ready.exists() {
        std::fs::remove_file(&ready).with_context(context)?;
    }
    let log: File =
        OpenOptions::new().create(true).append(true).open(settings.log_file(part)).with_context(context)?;
    let mut process = Command::new(std::env::current_exe()?)
        .arg(part.name())
        .envs(environment(part, settings))
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C reaches the parent alone, which stops the children in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(context)?;
    let mut lifeline = process.stdin.take().context("a piped standard input is there")?;
    let mut line = serde_json::to_vec(settings)?;
    line.push(b'\n');
    lifeline.write_all(&line).await.with_context(context)?;
    Ok((process, lifeline))
}

/// What Lambda sets for a function; nothing for the others.
fn environment(part: Part, settings: &Settings) -> Vec<(&'static str, String)> {
    if part != Part::Notifier {
        return Vec::new();
    }
    vec![
        ("AWS_LAMBDA_RUNTIME_API", settings.lambda.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", "sluicegate-notifier".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
    ]
}
