//! Who is given the events: a receiver of the `http` handler, and a reader of the feed. The others are
//! files, which are read at the end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::views::of_feed;
use crate::producer;
use crate::random::Random;

/// Takes batches, and now and then refuses one or says nothing; it ends when dropped.
pub struct Receiver {
    /// Where it listens.
    pub addr: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Taken {
    batches: HashMap<String, Bytes>,
    /// Batches that came again under the same id with other bytes.
    changed: Vec<String>,
}

impl Receiver {
    /// Without trouble of its own where `random` is absent.
    pub async fn start(random: Random) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let taken: Arc<Mutex<Taken>> = Arc::default();
        let random = Arc::new(Mutex::new(random));
        let all = taken.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, random) = (all.clone(), random.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let chance = random.lock().unwrap_or_else(PoisonError::into_inner).below(100);
                    take(request, all.clone(), chance)
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { addr, taken, serving }
    }

    /// Every batch once, and what is wrong with them.
    pub fn batches(&self) -> (Vec<Bytes>, Vec<String>) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        (taken.batches.values().cloned().collect(), taken.changed.clone())
    }
}

async fn take(
    request: Request<Incoming>,
    taken: Arc<Mutex<Taken>>,
    chance: u64,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let answer = |status| Response::builder().status(status).body(Full::default()).map_err(Into::into);
    if chance < 3 {
        return answer(StatusCode::SERVICE_UNAVAILABLE);
    }
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await?.to_bytes();
    let id = id.ok_or("a batch without an id")?;
    {
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.batches.get(&id).is_some_and(|before| *before != body) {
            taken.changed.push(format!("the batch {id} came again with other bytes"));
        }
        taken.batches.insert(id, body);
    }
    // Taken, and the sender does not hear of it.
    if chance < 6 { Err("the answer is lost".into()) } else { answer(StatusCode::OK) }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads the feed as a consumer does: to wherever it breaks off, then on from the last position.
#[derive(Default)]
pub struct Follower {
    rows: Mutex<HashMap<String, Vec<u8>>>,
    /// Lines that are no rows, and positions that came twice.
    wrong: Mutex<Vec<String>>,
}

impl Follower {
    /// Follows `GET /v1/events` of this URL until told to stop.
    pub async fn follow(&self, url: &str, stop: &AtomicBool) {
        let client = producer::client();
        let mut last = "oldest".to_owned();
        while !stop.load(Ordering::Relaxed) {
            let request = client.get(format!("{url}?follow=true&from={last}"));
            let Ok(mut answer) = request.send().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut rest = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let chunk = tokio::time::timeout(Duration::from_millis(200), answer.chunk()).await;
                let chunk = match chunk {
                    Err(_) => continue,
                    Ok(Ok(Some(chunk))) => chunk,
                    Ok(_) => break,
                };
                rest.extend_from_slice(&chunk);
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let lines: Vec<u8> = rest.drain(..whole).collect();
                for line in crate::oracle::lines(&lines).filter(|line| !line.is_empty()) {
                    if let Some(id) = self.take(line) {
                        last = id;
                    }
                }
            }
        }
    }

    fn take(&self, line: &[u8]) -> Option<String> {
        let wrong = |what: String| self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        let Some((id, row)) = of_feed(line) else {
            wrong(format!("the feed says {:?}", String::from_utf8_lossy(&line[..line.len().min(200)])));
            return None;
        };
        let before = self.rows.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), row);
        if before.is_some() {
            wrong(format!("the feed gave {id} twice to a reader that goes on from its last position"));
        }
        Some(id)
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every row, and what is wrong.
    pub fn rows(&self) -> (Vec<Vec<u8>>, Vec<String>) {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        (rows, self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// The files of a folder, each whole.
pub fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    whole.filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}
