//! Producers that record what was answered. What was sent once and answered is owed exactly
//! once; what was sent and not answered may be there once or not at all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// What one producer did: every line it sent stands in one of the two, each line is sent once.
#[derive(Default)]
pub struct Record {
    /// Answered with 200 or `OK`.
    pub answered: Vec<String>,
    /// Sent, and then the connection broke or the agent said that it did not take it.
    pub unanswered: Vec<String>,
}

impl Record {
    /// Takes in what another producer did.
    pub fn merge(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.unanswered.extend(other.unanswered);
    }
}

/// How much at a time, and how long to rest before more.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Lines that are sent before their answers.
    pub lines: usize,
    /// From answers to the next lines.
    pub rest: Duration,
}

/// Sends numbered lines in NDJSON requests until `stop`, each line once.
pub async fn http(url: &str, name: &str, pace: Pace, stop: &AtomicBool) -> Record {
    let client = client();
    let mut record = Record::default();
    let mut next = 0..;
    while !stop.load(Ordering::Relaxed) {
        let lines: Vec<String> = next.by_ref().take(pace.lines).map(|n: u64| line(name, n)).collect();
        let request = client.post(url).header("content-type", "application/x-ndjson").body(lines.join("\n"));
        match request.send().await {
            Ok(answer) if answer.status() == 200 => record.answered.extend(lines),
            Ok(_) | Err(_) => {
                record.unanswered.extend(lines);
                // A dead agent refuses at once: without a pause this would only burn the CPU.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        pause(pace.rest).await;
    }
    record
}

/// Sends numbered lines over netcat until `stop`.
pub async fn netcat(addr: SocketAddr, name: &str, pace: Pace, stop: &AtomicBool) -> Record {
    let mut record = Record::default();
    let mut next = 0..;
    while !stop.load(Ordering::Relaxed) {
        let Ok(stream) = TcpStream::connect(addr).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (read, mut write) = stream.into_split();
        let mut answers = BufReader::new(read).lines();
        let mut alive = true;
        while alive && !stop.load(Ordering::Relaxed) {
            let lines: Vec<String> = next.by_ref().take(pace.lines).map(|n: u64| line(name, n)).collect();
            alive = write.write_all((lines.join("\n") + "\n").as_bytes()).await.is_ok();
            for line in lines {
                let answer = answers.next_line().await.ok().flatten();
                alive &= answer.is_some();
                match answer.as_deref() {
                    Some("OK") => record.answered.push(line),
                    _ => record.unanswered.push(line),
                }
            }
            pause(pace.rest).await;
        }
    }
    record
}

async fn pause(rest: Duration) {
    // A sleep of nothing still waits for the next tick.
    if !rest.is_zero() {
        tokio::time::sleep(rest).await;
    }
}

/// An HTTP client; the TLS library insists on being chosen even where no TLS is spoken.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client without special wishes can be built")
}

fn line(name: &str, number: u64) -> String {
    format!(r#"{{"producer":"{name}","n":{number},"text":"a line that is long enough to look like one"}}"#)
}
