//! How long an event takes from the agent's 200 to the handler, through the whole pipeline: agent, S3,
//! notification, notifier, server, each a process of its own, started by the one command.
//!
//! One event is under way at a time, and a flush follows each: what is measured is the way, and neither
//! a queue nor the age at which an object is closed. An event is at the handler when its line is in the
//! `ndjson` file; the kernel says so by inotify, so that looking takes no time from those who work.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use rustix::fs::inotify;
use serde_json::json;

use crate::load;
use crate::process::Process;

/// Events before the measured ones: connections are made, files are there.
const WARM_UP: usize = 5;
/// Longest wait for one event; far beyond what is measured.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct RelayArgs {
    /// The `sluicegate` program, which starts all the others
    #[arg(long)]
    sluicegate: PathBuf,
    /// Events that are measured, one after the other
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    events: u32,
    /// Also write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

/// How long one event took since it was sent.
struct Timed {
    /// Until the agent's 200.
    answered: Duration,
    /// From then on, until the flush was answered: it is in S3.
    flushed: Duration,
    /// From then on, until its line was in the handler's file.
    handled: Duration,
}

/// One connection, kept open.
struct Connection(BufReader<TcpStream>);

pub(crate) fn run(args: &RelayArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let ready = dir.path().join("ready.json");
    let mut command = Command::new(&args.sluicegate);
    command.arg("--dir").arg(&data).arg("--ready-file").arg(&ready);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for flag in ["--http", "--netcat", "--admin", "--page", "--s3", "--lambda"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    let pipeline = Process::start(&mut command, &ready)?;
    let mut events = Connection::open(pipeline.addr("/http")?)?;
    let mut admin = Connection::open(pipeline.addr("/admin")?)?;
    let lines = watch(&data.join("server/events.ndjson"))?;

    let mut timed = Vec::new();
    for number in 0..WARM_UP + args.events as usize {
        timed.push(one(number, &mut events, &mut admin, &lines)?);
    }
    let timed = &timed[WARM_UP..];
    let figures = json!({
        "events": timed.len(),
        "answered_ms": quantiles(timed, |one| one.answered),
        "flushed_ms": quantiles(timed, |one| one.flushed),
        "handled_ms": quantiles(timed, |one| one.handled),
    });
    let [p50, p99] = ["p50", "p99"].map(|name| figures["handled_ms"][name].as_f64().unwrap_or_default());
    println!(
        "{} events, each flushed: from the agent's 200 to the handler {p50:.1} ms (p50), {p99:.1} ms (p99)",
        timed.len()
    );
    println!("{figures}");
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{figures}\n"))?;
    }
    Ok(())
}

/// Sends one event and follows it to the handler.
fn one(
    number: usize,
    events: &mut Connection,
    admin: &mut Connection,
    lines: &Receiver<(String, Instant)>,
) -> anyhow::Result<Timed> {
    let line = format!(r#"{{"event":{number},"text":"a line that is long enough to look like one"}}"#);
    let sent = Instant::now();
    events.post("/v1/events", &line)?;
    let answered = Instant::now();
    admin.post("/v1/flush", "")?;
    let flushed = Instant::now();
    let (found, handled) =
        lines.recv_timeout(PATIENCE).with_context(|| format!("event {number} did not reach the handler"))?;
    ensure!(found == line, "the handler got {found:?} instead of {line:?}");
    Ok(Timed {
        answered: answered - sent,
        flushed: flushed - answered,
        // The handler may have it before the flush's answer is read.
        handled: handled.saturating_duration_since(answered),
    })
}

fn quantiles(timed: &[Timed], which: impl Fn(&Timed) -> Duration) -> serde_json::Value {
    let mut all: Vec<Duration> = timed.iter().map(which).collect();
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    json!({ "p50": at(0.5), "p99": at(0.99), "worst": at(1.0) })
}

/// Tells of each line of the file and when it was there. Ends with the process.
fn watch(path: &Path) -> anyhow::Result<Receiver<(String, Instant)>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        if let Err(error) = follow(file, &changes, &sender) {
            eprintln!("following the handler's file: {error:#}");
        }
    });
    Ok(lines)
}

fn follow(
    mut file: File,
    changes: &impl rustix::fd::AsFd,
    lines: &Sender<(String, Instant)>,
) -> anyhow::Result<()> {
    let mut room = [const { MaybeUninit::uninit() }; 4096];
    let mut changes = inotify::Reader::new(changes, &mut room);
    let mut text = String::new();
    loop {
        changes.next()?;
        let now = Instant::now();
        file.read_to_string(&mut text)?;
        while let Some((line, rest)) = text.split_once('\n') {
            if lines.send((line.to_owned(), now)).is_err() {
                return Ok(());
            }
            text = rest.to_owned();
        }
    }
}

impl Connection {
    fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(BufReader::new(load::connect(addr)?)))
    }

    /// Posts a body and waits for the 200.
    fn post(&mut self, path: &str, body: &str) -> anyhow::Result<()> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/x-ndjson\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let (status, said) = load::answer(&mut self.0)?;
        ensure!(status == 200, "POST {path} was answered with {status}: {said}");
        Ok(())
    }
}
