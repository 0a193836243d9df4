//! The order of things: whoever is talked to starts first and stops last.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use contract::exit;
use futures_util::future::select_all;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::child::Child;
use crate::settings::Settings;
use crate::{Options, Part};

/// Whoever is talked to starts first; the reverse is the order in which they stop.
const ORDER: [Part; 4] = [Part::Cloud, Part::Server, Part::Notifier, Part::Agent];
/// Longer than any part's own limit, so that each can end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Runs the pipeline until it is told to stop.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (settings, _lock) = Settings::settle(options)?;
        let mut stop = StopSignal::listen()?;
        let mut children = Vec::new();
        for part in ORDER {
            tokio::select! {
                child = Child::start(part, &settings) => children.push(child?),
                () = stop.received() => return Ok(ExitCode::from(exit::OK)),
            }
        }
        greet(&settings);
        if let Some(file) = &options.ready_file {
            announce(file, &settings, &children)?;
        }
        let watched = tokio::select! {
            result = watch(&mut children, &settings) => result,
            () = stop.received() => Ok(()),
        };
        eprintln!("sluicegate: stopping (once more to stop at once)");
        let in_order = async {
            for child in children.iter_mut().rev() {
                child.stop(STOP_WITHIN).await;
            }
        };
        let code = tokio::select! {
            () = in_order => exit::OK,
            // Dropping the children kills them; everything that was answered is on disk.
            () = stop.received() => {
                eprintln!("sluicegate: stopped at once");
                exit::KILLED
            }
        };
        watched.map(|()| ExitCode::from(code))
    })
}

/// Starts again whatever ends, until one cannot be kept alive.
async fn watch(children: &mut [Child], settings: &Settings) -> anyhow::Result<()> {
    loop {
        let (status, at, _) = select_all(children.iter_mut().map(|child| Box::pin(child.ended()))).await;
        let status = status.context("waiting for a child")?;
        let (ended, later) = children.split_at_mut(at + 1);
        // They talk to it, and may end for no other reason.
        later.iter_mut().for_each(Child::forgive);
        ended[at].restart(status, settings).await?;
    }
}

fn greet(settings: &Settings) {
    let Settings { dir, http, netcat, page, .. } = settings;
    println!(
        "Sluicegate runs: events -> agent -> S3 -> notifier -> server

  page     http://{page}/
  http     http://{http}/v1/events
  netcat   {netcat}
  objects  {objects}
  output   {output}
  logs     {logs}

Paste a line, then look at the page:

  curl -d 'hello over http' http://{http}/v1/events
  echo 'hello over netcat' | nc -w 1 {ip} {port}

Ctrl-C stops it; the next start goes on where this one stopped.",
        objects = dir.join("s3").display(),
        output = dir.join("server/events.ndjson").display(),
        logs = dir.join("logs").display(),
        ip = netcat.ip(),
        port = netcat.port(),
    );
}

/// Whole or not at all: whoever waits for the file may read it as soon as it is there.
fn announce(file: &Path, settings: &Settings, children: &[Child]) -> anyhow::Result<()> {
    let pids: serde_json::Map<_, _> =
        children.iter().map(|child| (child.part().name().to_owned(), json!(child.pid()))).collect();
    let Settings { dir, http, netcat, admin, page, s3, lambda, .. } = settings;
    let ready = json!({
        "dir": dir, "http": http, "netcat": netcat, "admin": admin, "page": page, "s3": s3, "lambda": lambda,
        "pids": pids,
    });
    let new = file.with_extension("new");
    std::fs::write(&new, ready.to_string())
        .and_then(|()| std::fs::rename(&new, file))
        .with_context(|| format!("writing {} (--ready-file)", file.display()))
}

struct StopSignal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
