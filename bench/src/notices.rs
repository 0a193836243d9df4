//! How many notices a second the downstream server answers, each after its inbox's sync.
//!
//! Every connection sends the next notice when the last one was answered. No object lies behind
//! them: the first attempt at each fails, and the next is an hour away.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

#[derive(Args)]
pub(crate) struct NoticesArgs {
    /// The `downstream-server` program to measure
    #[arg(long)]
    server: PathBuf,
    /// Notices sent in all
    #[arg(long, default_value_t = 60_000)]
    notices: usize,
    /// Connections that send
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Where the inbox is, as the server's setting `inbox` says it (default: an SQLite file)
    #[arg(long)]
    inbox: Option<String>,
}

/// Ends with the measurement, whatever its outcome.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(args: &NoticesArgs) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let ready = dir.path().join("ready.json");
    let mut command = Command::new(&args.server);
    command
        .args(["--notices-buckets", "bench", "--listen", "127.0.0.1:0", "--log-level", "error"])
        .args(["--s3-endpoint", "http://127.0.0.1:1", "--retry-base", "1h", "--retry-max", "1h"])
        .args(["--reconcile-interval", "off", "--fetch-concurrency", "1", "--ready-file"])
        .arg(&ready)
        .arg("--dir")
        .arg(dir.path().join("server"))
        .env("SLUICEGATE_SERVER_S3_ACCESS_KEY_ID", "bench")
        .env("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", "bench")
        .stdin(Stdio::null());
    if let Some(inbox) = &args.inbox {
        command.env("SLUICEGATE_SERVER_INBOX", inbox);
    }
    let _server = Server(command.spawn().context("starting the server")?);
    let address = address(&ready)?;

    let each = args.notices / args.connections;
    let started = Instant::now();
    let senders: Vec<_> = (0..args.connections)
        .map(|connection| std::thread::spawn(move || send(address, connection, each)))
        .collect();
    let mut waits = Vec::with_capacity(args.notices);
    for sender in senders {
        match sender.join() {
            Ok(sent) => waits.extend(sent?),
            Err(_) => bail!("a sender panicked"),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{} notices over {} connections: {:.0} a second, answered in {:.1} ms (p50), {:.1} ms (p99), {:.1} ms (worst)",
        waits.len(),
        args.connections,
        waits.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    Ok(())
}

fn address(ready: &std::path::Path) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready.exists() {
        ensure!(Instant::now() < deadline, "the server was not ready within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
    let said: serde_json::Value = serde_json::from_slice(&std::fs::read(ready)?)?;
    Ok(said["address"].as_str().context("no address in the ready file")?.parse()?)
}

/// Sends `count` notices one after the other, and tells how long each answer took.
fn send(address: SocketAddr, connection: usize, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut waits = Vec::with_capacity(count);
    let mut answer = Vec::new();
    for number in 0..count {
        let body = format!(
            r#"{{"bucket":"bench","key":"{connection}/{number}","etag":"{number:032x}","size":4096}}"#
        );
        let request = format!(
            "POST /v1/notices HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes())?;
        read_answer(&mut stream, &mut answer)?;
        waits.push(sent.elapsed());
        ensure!(answer.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&answer));
    }
    Ok(waits)
}

/// Reads one answer, head and body; nothing follows it before the next request.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..read]);
        let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head])?.to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if answer.len() >= head + 4 + length.unwrap_or(0) {
            return Ok(());
        }
    }
}
