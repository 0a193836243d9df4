//! One run of a program: its process group, its time-out, its end.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::environment;
use super::output::{Output, Tail};
use crate::config::CommandConfig;

/// A program that runs. Dropped, it is killed with all that it started.
pub(super) struct Run {
    child: Child,
    group: Group,
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) how: How,
    /// The last it said on standard error.
    said: String,
}

/// What ended a run.
#[derive(Debug)]
pub(super) enum How {
    Code(i32),
    Signal(i32),
    TimedOut(Duration),
    /// The system did not tell.
    Unknown(io::Error),
}

impl Run {
    /// Starts the program in a process group of its own.
    pub(super) fn start(
        config: &CommandConfig,
        environment: Vec<(OsString, OsString)>,
        input: File,
    ) -> io::Result<Self> {
        let child =
            command(config, environment, input, std::env::vars_os().map(|(name, _)| name))?.spawn()?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        Ok(Self { child, group })
    }

    /// Waits until it has ended, or ends it when its time is over.
    pub(super) async fn end(self, config: &CommandConfig) -> Ended {
        let Self { mut child, mut group } = self;
        let exited = CancellationToken::new();
        let stdout = Output::new("stdout", config.log_bytes).read(child.stdout.take(), &exited);
        let stderr = Output::new("stderr", config.log_bytes).read(child.stderr.take(), &exited);
        let exit = async {
            let how = match tokio::time::timeout(config.timeout, child.wait()).await {
                Ok(Ok(status)) => How::of(status),
                Ok(Err(error)) => How::Unknown(error),
                Err(_) => {
                    group.kill();
                    // A killed process ends, and the group's number is not given away before.
                    let _ = child.wait().await;
                    How::TimedOut(config.timeout)
                }
            };
            exited.cancel();
            how
        };
        let (how, stdout, stderr) = tokio::join!(exit, stdout, stderr);
        if stdout.is_whole && stderr.is_whole {
            group.release();
        }
        // What still holds the pipes is of the group and keeps its number from being given away;
        // dropping the group ends it.
        let Tail { text: said, .. } = stderr;
        Ended { how, said }
    }
}

/// The program with its arguments and its environment: ours, and of what we inherited, which
/// `inherited` names, all but our own settings.
pub(super) fn command(
    config: &CommandConfig,
    environment: Vec<(OsString, OsString)>,
    input: File,
    inherited: impl Iterator<Item = OsString>,
) -> io::Result<Command> {
    let [program, arguments @ ..] = config.argv.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no program is named"));
    };
    let mut command = Command::new(program);
    for name in inherited.filter(|name| name.to_str().is_some_and(environment::is_ours)) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::from(input))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

impl How {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.how {
            How::Code(code) => write!(f, "the command ended with exit code {code}")?,
            How::Signal(signal) => write!(f, "the command was ended by signal {signal}")?,
            How::TimedOut(limit) => {
                write!(f, "the command did not end within {} s (handler.timeout)", limit.as_secs_f32())?;
            }
            How::Unknown(error) => write!(f, "waiting for the command: {error}")?,
        }
        if self.said.is_empty() { Ok(()) } else { write!(f, "; it said: {}", self.said) }
    }
}

impl std::error::Error for Ended {}

/// A process group that ends with us.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take()
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            // A group that is gone needs no killing.
            tracing::debug!(%error, "killing the command's process group");
        }
    }

    /// Leaves what is in the group alone.
    fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
