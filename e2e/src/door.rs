//! What several tests ask of a program's doors: one event in, a flush, a number of its metrics.

use std::time::Duration;

use crate::parts::Agent;
use crate::{producer, until};

/// Sends one event of these bytes by HTTP; the answer's status.
pub async fn post(client: &reqwest::Client, agent: &Agent, body: impl Into<reqwest::Body>) -> u16 {
    let answer = client.post(agent.events_url()).header("content-type", "application/octet-stream");
    let answer = answer.body(body).send().await;
    answer.unwrap_or_else(|error| panic!("{error:?}: {}", agent.program().said())).status().as_u16()
}

/// Asks for flushes until one has shipped everything.
pub async fn flushed(agent: &Agent, within: Duration) {
    let client = producer::client();
    until("the flush", within, async || {
        let flush = client.post(agent.admin_url("/v1/flush")).send().await.ok()?;
        (flush.status() == 200).then_some(())
    })
    .await;
}

/// The metric of this name and these labels, at `/metrics` of this URL; `None` where it is not told.
pub async fn metric(url: &str, name: &str) -> Option<f64> {
    let scrape = producer::client().get(url).send().await.ok()?.text().await.ok()?;
    let value = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// The most memory that a process has ever held, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:").expect("the process runs, and Linux tells its peak")
}

/// The memory that a process holds now, in KiB; `None` if it is gone.
pub fn memory_kib(pid: u32) -> Option<u64> {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
