//! Producers for a long run: by HTTP and by netcat, some that send each event once, some that send
//! it again until it is answered, some that do so under an idempotency key.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::ledger::{Ledger, write_line};
use crate::producer;
use crate::random::Random;

/// The most events of one request, of which the largest fit into what a request may have.
const REQUEST_EVENTS: u64 = 200;
/// A sender gives an answer up after this, and counts it as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a producer does with what was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Leaves it.
    Once,
    /// Sends it again.
    Again,
    /// Sends it again under the same idempotency key.
    Keyed,
}

/// What all producers of a run share.
pub struct Load {
    /// Where to post.
    pub http: String,
    /// Where netcat listens.
    pub netcat: SocketAddr,
    /// Every event.
    pub ledger: Mutex<Ledger>,
    /// Events in all; then producers end.
    pub events: u64,
    /// How long it should take, evenly.
    pub within: Duration,
    /// Ends the producers early, what they have begun excepted.
    pub stop: AtomicBool,
    started: Instant,
}

impl Load {
    /// No producer runs yet.
    pub fn new(http: String, netcat: SocketAddr, events: u64, within: Duration) -> Self {
        let (ledger, stop, started) = (Mutex::default(), AtomicBool::new(false), Instant::now());
        Self { http, netcat, ledger, events, within, stop, started }
    }

    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no thread panics with the ledger")
    }

    /// Waits until it is time for more; `None` at the end.
    async fn next(&self, most: u64, manner: Manner) -> Option<Range<u64>> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let due = self.started.elapsed().as_secs_f64() / self.within.as_secs_f64() * self.events as f64;
            let due = (due as u64).min(self.events);
            {
                let mut ledger = self.ledger();
                if ledger.len() >= self.events {
                    return None;
                }
                let room = due.saturating_sub(ledger.len()).min(most);
                if room > 0 {
                    return Some(ledger.begin(room as usize, manner == Manner::Keyed));
                }
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// One event beyond all others, sent once; whether it was taken.
    pub async fn one_more(&self) -> bool {
        let ids = self.ledger().begin(1, false);
        self.ledger().sent(ids.clone());
        let request = producer::client().post(&self.http).header("content-type", "application/x-ndjson");
        let answer = request.body(lines(ids.clone())).send().await;
        let taken = answer.is_ok_and(|answer| answer.status() == 200);
        if taken {
            self.ledger().answered(ids);
        }
        taken
    }

    /// A producer by HTTP.
    pub async fn by_http(&self, manner: Manner, mut random: Random) {
        let client = producer::client();
        while let Some(ids) = self.next(1 + random.below(REQUEST_EVENTS), manner).await {
            let body = lines(ids.clone());
            let key = format!("key-{}", ids.start);
            loop {
                self.ledger().sent(ids.clone());
                let mut request = client.post(&self.http).header("content-type", "application/x-ndjson");
                if manner == Manner::Keyed {
                    request = request.header("idempotency-key", &key);
                }
                let answer = request.timeout(PATIENCE).body(body.clone()).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    self.ledger().answered(ids);
                    break;
                }
                tokio::time::sleep(random.up_to(Duration::from_millis(300))).await;
                if manner == Manner::Once {
                    break;
                }
            }
        }
    }

    /// A producer by netcat, which sends up to `window` lines before their answers.
    pub async fn by_netcat(&self, manner: Manner, window: u64, mut random: Random) {
        let mut owed: Vec<u64> = Vec::new();
        loop {
            if owed.is_empty() {
                let Some(ids) = self.next(1 + random.below(window), manner).await else { return };
                owed = ids.collect();
            }
            let Ok(stream) = TcpStream::connect(self.netcat).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (read, mut write) = stream.into_split();
            let mut answers = BufReader::new(read).lines();
            let mut alive = true;
            while alive && !owed.is_empty() {
                self.ledger().sent(owed.iter().copied());
                alive = write.write_all(lines(owed.iter().copied()).as_bytes()).await.is_ok();
                let mut left = Vec::new();
                for id in owed {
                    let answer = tokio::time::timeout(PATIENCE, answers.next_line()).await;
                    let answer = answer.ok().and_then(Result::ok).flatten();
                    alive &= answer.is_some();
                    match answer.as_deref() {
                        Some("OK") => self.ledger().answered([id]),
                        _ => left.push(id),
                    }
                }
                owed = if manner == Manner::Once { Vec::new() } else { left };
                if !owed.is_empty() || !alive {
                    tokio::time::sleep(random.up_to(Duration::from_millis(300))).await;
                } else if let Some(ids) = self.next(1 + random.below(window), manner).await {
                    owed = ids.collect();
                }
            }
        }
    }
}

fn lines(ids: impl Iterator<Item = u64>) -> String {
    let mut text = String::new();
    for id in ids {
        write_line(id, &mut text);
        text.push('\n');
    }
    text
}
