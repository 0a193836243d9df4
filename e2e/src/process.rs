//! A program as a child process: started, killed, and, where wanted, started again whenever it ends.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::pipeline::signal;
use crate::until;

/// How long a program may take until it answers.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a program may take to end that was told to.
const END_WITHIN: Duration = Duration::from_secs(60);

/// What is started: a program with everything it is given.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its name in messages.
    pub name: &'static str,
    /// The program's file.
    pub file: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What its environment has beside ours.
    pub env: Vec<(&'static str, String)>,
    /// Written to its standard input, which then stays open as long as it runs.
    pub input: Option<String>,
    /// The file that it writes once it answers; `None` counts as answering at once.
    pub ready: Option<PathBuf>,
    /// Takes what it says on stdout and stderr.
    pub log: PathBuf,
}

/// A program that runs; killed when dropped.
pub struct Running {
    program: Program,
    child: Child,
    /// Only open, never written to: some programs end when it closes.
    _lifeline: Option<ChildStdin>,
}

/// A program that is started again whenever it ends; killed when dropped.
pub struct Kept {
    shared: Arc<Shared>,
    keeper: JoinHandle<()>,
}

struct Shared {
    name: &'static str,
    /// 0 while none runs.
    pid: AtomicU32,
    killed: AtomicBool,
    /// Whether the one that runs has said that it answers.
    ready: watch::Sender<bool>,
    ended: Mutex<Vec<ExitStatus>>,
}

impl Program {
    /// The end of what it said, for the message of a test that fails.
    pub fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned()
    }

    /// The same, started by the command that these words begin.
    #[must_use]
    pub fn under<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words = words.into_iter();
        let file = words.next().expect("a command has a name").into();
        let mut args: Vec<OsString> = words.map(Into::into).collect();
        args.push(self.file.clone().into());
        args.extend(self.args.iter().cloned());
        Self { file, args, ..self.clone() }
    }

    /// Starts it, without waiting until it answers.
    pub async fn spawn(&self) -> Running {
        if let Some(ready) = &self.ready {
            // That of an earlier run would say "ready" too early.
            let _ = std::fs::remove_file(ready);
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log can be made");
        let mut command = Command::new(&self.file);
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
        command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.name));
        let mut lifeline = child.stdin.take();
        if let (Some(lifeline), Some(input)) = (&mut lifeline, &self.input) {
            // It may have been killed before it read a word.
            let _ = lifeline.write_all(input.as_bytes()).await;
        }
        Running { program: self.clone(), child, _lifeline: lifeline }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&self) -> Running {
        let mut running = self.spawn().await;
        until("the program being ready", READY_WITHIN, async || {
            if let Ok(Some(status)) = running.child.try_wait() {
                panic!("{} ended with {status}: {}", self.name, self.said());
            }
            self.is_ready().then_some(())
        })
        .await;
        running
    }

    /// Starts it, and starts it again whenever it ends.
    pub fn keep(self) -> Kept {
        let (ready, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            name: self.name,
            pid: AtomicU32::new(0),
            killed: AtomicBool::new(false),
            ready,
            ended: Mutex::default(),
        });
        let keeper = tokio::spawn(keep(self, shared.clone()));
        Kept { shared, keeper }
    }

    fn is_ready(&self) -> bool {
        self.ready.as_ref().is_none_or(|ready| ready.exists())
    }
}

async fn keep(program: Program, shared: Arc<Shared>) {
    loop {
        let mut running = program.spawn().await;
        shared.killed.store(false, Ordering::SeqCst);
        shared.pid.store(running.pid(), Ordering::SeqCst);
        let status = loop {
            if program.is_ready() {
                shared.ready.send_replace(true);
                break running.child.wait().await;
            }
            tokio::select! {
                status = running.child.wait() => break status,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        };
        shared.pid.store(0, Ordering::SeqCst);
        shared.ready.send_replace(false);
        let status = status.expect("a child can be waited for");
        if !shared.killed.load(Ordering::SeqCst) {
            shared.ended.lock().unwrap_or_else(PoisonError::into_inner).push(status);
            // Whatever ends by itself would otherwise be started as fast as the machine can.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// What its ready file says.
    pub fn ready(&self) -> Value {
        let file = self.program.ready.as_ref().expect("it has a ready file");
        let text = std::fs::read(file).expect("it is ready");
        serde_json::from_slice(&text).expect("a ready file is JSON")
    }

    /// Sends it a signal.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end: the exit code, `None` after a signal that kills.
    pub async fn exit_code(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(END_WITHIN, self.child.wait()).await;
        let Ok(status) = ended else {
            panic!("{} did not end within {END_WITHIN:?}: {}", self.program.name, self.program.said());
        };
        status.expect("a child can be waited for").code()
    }

    /// `kill -9`; returns once it is gone.
    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }
}

impl Kept {
    /// `kill -9` of the one that runs now; whether one ran.
    pub fn kill(&self) -> bool {
        self.killer()()
    }

    /// [`kill`](Self::kill), to be handed to somebody else.
    pub fn killer(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || {
            let pid = shared.pid.load(Ordering::SeqCst);
            if pid == 0 || shared.killed.swap(true, Ordering::SeqCst) {
                return false;
            }
            signal(pid, Signal::KILL);
            true
        }
    }

    /// The process that runs now.
    pub fn pid(&self) -> Option<u32> {
        Some(self.shared.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    /// Waits until the one that runs answers.
    pub async fn ready(&self) {
        let mut ready = self.shared.ready.subscribe();
        let waited = tokio::time::timeout(READY_WITHIN, ready.wait_for(|ready| *ready)).await;
        assert!(waited.is_ok(), "{} does not answer; it ended with {:?}", self.shared.name, self.ended());
    }

    /// How it ended each time that nobody had killed it.
    pub fn ended(&self) -> Vec<ExitStatus> {
        self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The child goes with the task that holds it.
        self.keeper.abort();
    }
}

/// A port that nobody listens on, below those that the system gives to connections: a program that
/// is started again comes back to it, and no connection has taken it meanwhile.
pub fn free_port() -> std::net::SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests run side by side in processes of their own, each from another place on.
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(97).wrapping_add(step) % 20_000) as u16;
        let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// Makes a folder with its parents.
pub fn folder(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).expect("a folder can be made");
    path.to_owned()
}
