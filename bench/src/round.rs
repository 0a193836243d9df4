//! The rounds: each starts fresh processes in a fresh folder, sends, waits until every byte is in the endpoint, reads
//! the clocks, and only then checks the ids. Rounds of different cases alternate, so that a slow hour slows all.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::RunArgs;
use crate::case::{self, Case};
use crate::contestant::Entrant;
use crate::latency::{self, Latency};
use crate::load::{self, Load, Shape};
use crate::outside;
use crate::peer::{self, Found};
use crate::process::Process;
use crate::table::{self, Row};
use crate::usage::{self, AnonymousPeak};

/// How long the endpoint may take to have everything after the last answer.
const STORED_WITHIN: Duration = Duration::from_secs(600);

/// More than this many events the baseline is not sent.
const BASELINE_EVENTS: u32 = 2_000_000;

/// How long nothing may arrive before a peer is taken to have put all that it will.
const QUIET: Duration = Duration::from_secs(30);

/// Runs the chosen cases and prints the table.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let cases = case::chosen(&args.only)?;
    let peers = peer::found();
    let mut rows = Vec::new();
    for number in 0..args.rounds {
        for baseline in case::baselines(&cases) {
            let entrant = Entrant::Baseline { sync_mib: args.baseline_sync_mib };
            let row = round(entrant, &baseline, args).context("measuring the baseline")?;
            rows.extend(row.map(checked).transpose()?);
        }
        for case in &cases {
            for entrant in entrants(case, args, &peers) {
                let row = round(entrant, case, args)
                    .with_context(|| format!("round {number} of case {}, {}", case.name, entrant.name()))?;
                rows.extend(row.map(checked).transpose()?);
            }
        }
    }
    if let Some(path) = &args.json {
        let mut out = std::fs::File::create(path)?;
        rows.iter().try_for_each(|row| writeln!(out, "{}", row.json()))?;
    }
    print!("{}", table::markdown(&rows));
    if let Some(row) = rows.iter().find(|row| row.case == "plumbee") {
        let day = table::median(&rows, row.case, row.contestant, Row::stored_per_second);
        println!(
            "\nplumbee, scaled from {} events to 450 million: {:.1} minutes",
            row.events,
            450e6 / day / 60.0
        );
    }
    for found in &peers {
        println!("\n{}: {}", found.peer.name, found.version()?);
    }
    let mut measured = Vec::new();
    for case in &cases {
        for entrant in entrants(case, args, &peers) {
            let most = table::median(&rows, case.name, entrant.name(), Row::accepted_per_second);
            if args.latency {
                measured.extend(open_loop(entrant, case, args, most / 2.0)?);
            }
        }
    }
    if !measured.is_empty() {
        println!("\n{}", table::latencies(&measured));
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, table::svg(&rows))?;
    }
    Ok(())
}

/// Who takes part in a case: the agent, and every peer that is there.
fn entrants<'a>(case: &Case, args: &'a RunArgs, peers: &'a [Found]) -> Vec<Entrant<'a>> {
    let agent = Entrant::Agent { program: &args.agent, setup: case.setup, outside: args.endpoint.as_deref() };
    std::iter::once(agent).chain(peers.iter().map(Entrant::Peer)).collect()
}

/// The row, unless one of ours lost or doubled events. What a peer loses is a figure.
fn checked(row: Row) -> anyhow::Result<Row> {
    eprintln!("{}", row.json());
    // The baseline knows no lines: an id may lie across the end of each of its objects.
    let cut = if row.case == "baseline" { row.objects } else { 0 };
    ensure!(
        !matches!(row.contestant, "baseline" | "sluicegate")
            || (row.missing <= cut && row.doubled + row.unknown <= cut),
        "case {} lost or doubled events",
        row.case
    );
    Ok(row)
}

/// What `entrant` is sent in `case`, in the shape in which it takes it.
fn load_of(entrant: Entrant<'_>, case: &Case, args: &RunArgs) -> Option<Load> {
    let shape = entrant.takes(case)?;
    // It keeps all its bytes on the disk, and its cost is the same for each.
    let most = if matches!(entrant, Entrant::Baseline { .. }) { BASELINE_EVENTS } else { u32::MAX };
    Some(Load {
        shape,
        first: 0,
        events: (args.events / case.one_in).clamp(1, most),
        event_bytes: case.event_bytes,
        connections: case.connections.unwrap_or(args.connections),
        kinds: case.kinds,
    })
}

/// Starts a counting endpoint; with `discard` it keeps no bytes, and so cannot check ids.
pub(crate) fn endpoint(dir: &Path, discard: bool) -> anyhow::Result<(Process, SocketAddr)> {
    let ready = dir.join("endpoint.ready");
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("endpoint").args(discard.then_some("--discard"));
    let endpoint = Process::start(command.arg("--ready-file").arg(&ready), &ready)?;
    let s3 = endpoint.addr("/addr")?;
    Ok((endpoint, s3))
}

/// One round; `None` where the entrant does not take what the case sends.
fn round(entrant: Entrant<'_>, case: &Case, args: &RunArgs) -> anyhow::Result<Option<Row>> {
    let Some(mut load) = load_of(entrant, case, args) else { return Ok(None) };
    let dir = tempfile::tempdir()?;
    let (_endpoint, s3) = endpoint(dir.path(), false)?;
    let contestant = entrant.start(load.shape, dir.path(), s3)?;
    let anonymous = AnonymousPeak::of(contestant.process.pid());

    let warm_up = if load.shape == Shape::Lines { 0 } else { args.warm_up };
    load::send(Load { events: warm_up, ..load }, &contestant.source)?;
    load.first = warm_up;

    let (before, machine_before) = (contestant.process.usage()?, usage::of_machine()?);
    let started = Instant::now();
    load::send(load, &contestant.source)?;
    let accepted = started.elapsed();
    let stored = match contestant.admin {
        // Its answer says that everything accepted before it is in S3.
        Some(admin) => {
            flush(admin, load)?;
            Instant::now()
        }
        None => all_there(s3, u64::from(load.first + load.events) * (load.event_bytes as u64 + 1))?,
    };
    let (after, machine_after) = (contestant.process.usage()?, usage::of_machine()?);
    let sent = load.first + load.events;
    let checked = match entrant {
        Entrant::Agent { outside: Some(url), .. } => outside::check(url, &outside::prefix(dir.path()), sent)?,
        _ => serde_json::from_str(&request(s3, "GET", &format!("/_check?{sent}"))?)?,
    };
    let count = |name: &str| checked[name].as_u64().unwrap_or(u64::MAX);
    Ok(Some(Row {
        case: case.name,
        contestant: entrant.name(),
        events: load.events,
        event_bytes: load.event_bytes,
        accepted,
        stored: stored.duration_since(started),
        cpu: after.cpu.saturating_sub(before.cpu),
        machine_cpu: machine_after.saturating_sub(machine_before),
        peak_bytes: after.peak_bytes,
        anonymous_bytes: anonymous.bytes(),
        objects: count("objects"),
        puts: checked["puts"].as_u64(),
        missing: count("missing"),
        doubled: count("doubled"),
        unknown: count("unknown"),
    }))
}

/// A round in an open loop at `rate` events a second, at most ten seconds of it; `None` where nothing is answered.
fn open_loop(
    entrant: Entrant<'_>,
    case: &Case,
    args: &RunArgs,
    rate: f64,
) -> anyhow::Result<Option<(String, f64, Latency)>> {
    let Some(mut load) = load_of(entrant, case, args).filter(|load| load.shape != Shape::Lines) else {
        return Ok(None);
    };
    let dir = tempfile::tempdir()?;
    let (_endpoint, s3) = endpoint(dir.path(), false)?;
    load.events = load.events.min((rate * 10.0) as u32);
    let contestant = entrant.start(load.shape, dir.path(), s3)?;
    let latency = latency::measure(load, &contestant.source, rate)?;
    Ok(Some((format!("{}, {}", case.name, entrant.name()), rate, latency)))
}

/// Has the agent ship all that was sent; returns when it is in S3.
pub(crate) fn flush(admin: SocketAddr, load: Load) -> anyhow::Result<()> {
    let events = load.events;
    // Lines without an answer may still be on their way: a flush covers what was accepted before it.
    let deadline = Instant::now() + STORED_WITHIN;
    if load.shape == Shape::Lines {
        let wanted = format!("{events}");
        loop {
            let metrics = request(admin, "GET", "/metrics")?;
            let accepted: f64 = metrics
                .lines()
                .filter(|line| line.starts_with("sluicegate_events_accepted_total"))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum();
            if accepted >= f64::from(events) {
                break;
            }
            ensure!(Instant::now() < deadline, "{accepted} of {wanted} events were accepted");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let flushed = request(admin, "POST", "/v1/flush?timeout=600s")?;
    ensure!(flushed.contains("keys"), "the agent's flush answered {flushed}");
    Ok(())
}

/// Waits until `wanted` bytes are in the endpoint, or nothing more comes; the moment at which the last ones came.
fn all_there(s3: SocketAddr, wanted: u64) -> anyhow::Result<Instant> {
    let (mut there, mut last) = (0, Instant::now());
    while there != wanted && last.elapsed() < QUIET {
        std::thread::sleep(Duration::from_millis(5));
        let now = request(s3, "GET", "/_bytes")?.parse()?;
        if now != there {
            (there, last) = (now, Instant::now());
        }
    }
    Ok(last)
}

/// One request with an empty body on a connection of its own; the answer's body.
pub(crate) fn request(addr: SocketAddr, method: &str, target: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let (status, body) = load::answer(&mut BufReader::new(stream))?;
    ensure!(status == 200, "{method} {target}: {status} {body}");
    Ok(body)
}
