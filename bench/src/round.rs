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
use crate::contestant::Contestant;
use crate::latency::{self, Latency};
use crate::load::{self, Load, Shape};
use crate::process::Process;
use crate::table::{self, Row};
use crate::usage::{self, AnonymousPeak};

/// How long the endpoint may take to have everything after the last answer.
const STORED_WITHIN: Duration = Duration::from_secs(600);

/// Runs the chosen cases and prints the table.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let cases = case::chosen(&args.only)?;
    let mut sizes: Vec<(usize, u32)> = cases.iter().map(|case| (case.event_bytes, case.one_in)).collect();
    if sizes.is_empty() {
        sizes.push((500, 1));
    }
    sizes.sort_unstable();
    sizes.dedup_by_key(|(bytes, _)| *bytes);
    let mut rows = Vec::new();
    for number in 0..args.rounds {
        for (event_bytes, one_in) in &sizes {
            let events = (args.events / one_in).max(1);
            let load = Load { shape: Shape::Lines, events, event_bytes: *event_bytes, connections: 1 };
            let row = round("floor", load, None, args).context("measuring the floor")?;
            take(row, &mut rows)?;
        }
        for case in &cases {
            let load = load_of(case, args);
            let row = round(case.name, load, Some(case), args)
                .with_context(|| format!("round {number} of case {}", case.name))?;
            take(row, &mut rows)?;
        }
    }
    if let Some(path) = &args.json {
        let mut out = std::fs::File::create(path)?;
        rows.iter().try_for_each(|row| writeln!(out, "{}", row.json()))?;
    }
    print!("{}", table::markdown(&rows));
    if args.latency {
        let mut measured = Vec::new();
        for case in cases.iter().filter(|case| case.shape != Shape::Lines) {
            let rate = table::median(&rows, case.name, Row::accepted_per_second) / 2.0;
            measured.push((case.name, rate, open_loop(case, args, rate)?));
        }
        println!("\n{}", table::latencies(&measured));
    }
    if let Some(factor) = args.overload {
        let mut measured = Vec::new();
        for case in cases.iter().filter(|case| matches!(case.shape, Shape::Http(_) | Shape::Flume(_))) {
            let rate = table::median(&rows, case.name, Row::accepted_per_second) * factor;
            measured.push((case.name, rate, open_loop(case, args, rate)?));
        }
        println!("\n{}", table::latencies(&measured));
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, table::svg(&rows))?;
    }
    Ok(())
}

fn take(row: Row, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    eprintln!("{}", row.json());
    // The floor knows no lines: an id may lie across the end of each of its objects.
    let cut = if row.case == "floor" { row.objects } else { 0 };
    ensure!(
        row.missing <= cut && row.doubled + row.unknown <= cut,
        "case {} lost or doubled events",
        row.case
    );
    rows.push(row);
    Ok(())
}

fn load_of(case: &Case, args: &RunArgs) -> Load {
    Load {
        shape: case.shape,
        events: (args.events / case.one_in).max(1),
        event_bytes: case.event_bytes,
        connections: case.connections.unwrap_or(args.connections),
    }
}

fn endpoint(dir: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let ready = dir.join("endpoint.ready");
    let mut command = Command::new(std::env::current_exe()?);
    let endpoint = Process::start(command.arg("endpoint").arg("--ready-file").arg(&ready), &ready)?;
    let s3 = endpoint.addr("/addr")?;
    Ok((endpoint, s3))
}

fn start(
    case: Option<&Case>,
    args: &RunArgs,
    load: &Load,
    dir: &Path,
    s3: SocketAddr,
) -> anyhow::Result<Contestant> {
    match case {
        None => Contestant::floor(dir, s3),
        Some(case) => Contestant::agent(&args.agent, case.setup, load.shape, dir, s3),
    }
}

/// One round of the agent, or of the floor where there is no case.
fn round(name: &'static str, load: Load, case: Option<&Case>, args: &RunArgs) -> anyhow::Result<Row> {
    let dir = tempfile::tempdir()?;
    let (_endpoint, s3) = endpoint(dir.path())?;
    let contestant = start(case, args, &load, dir.path(), s3)?;
    let anonymous = AnonymousPeak::of(contestant.process.pid());

    let (before, machine_before) = (contestant.process.usage()?, usage::of_machine()?);
    let started = Instant::now();
    load::send(load, contestant.addr)?;
    let accepted = started.elapsed();
    match contestant.admin {
        // Its answer says that everything accepted before it is in S3.
        Some(admin) => flush(admin, name, load.events)?,
        None => wait_for_bytes(s3, u64::from(load.events) * (load.event_bytes as u64 + 1))?,
    }
    let stored = started.elapsed();
    let (after, machine_after) = (contestant.process.usage()?, usage::of_machine()?);
    let checked: serde_json::Value =
        serde_json::from_str(&request(s3, "GET", &format!("/_check?{}", load.events))?)?;
    let count = |name: &str| checked[name].as_u64().unwrap_or(u64::MAX);
    Ok(Row {
        case: name,
        events: load.events,
        event_bytes: load.event_bytes,
        accepted,
        stored,
        cpu: after.cpu.saturating_sub(before.cpu),
        machine_cpu: machine_after.saturating_sub(machine_before),
        peak_bytes: after.peak_bytes,
        anonymous_bytes: anonymous.bytes(),
        objects: count("objects"),
        puts: count("puts"),
        missing: count("missing"),
        doubled: count("doubled"),
        unknown: count("unknown"),
    })
}

/// A round in an open loop at `rate` events a second, at most ten seconds of it.
fn open_loop(case: &Case, args: &RunArgs, rate: f64) -> anyhow::Result<Latency> {
    let dir = tempfile::tempdir()?;
    let (_endpoint, s3) = endpoint(dir.path())?;
    let mut load = load_of(case, args);
    load.events = load.events.min((rate * 10.0) as u32);
    let contestant = start(Some(case), args, &load, dir.path(), s3)?;
    latency::measure(load, contestant.addr, rate)
}

fn flush(admin: SocketAddr, name: &str, events: u32) -> anyhow::Result<()> {
    // Lines without an answer may still be on their way: a flush covers what was accepted before it.
    let deadline = Instant::now() + STORED_WITHIN;
    if name == "netcat-no-answer" {
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

fn wait_for_bytes(s3: SocketAddr, wanted: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + STORED_WITHIN;
    while request(s3, "GET", "/_bytes")?.parse::<u64>()? < wanted {
        ensure!(Instant::now() < deadline, "not all bytes reached the endpoint within {STORED_WITHIN:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// One request with an empty body on a connection of its own; the answer's body.
fn request(addr: SocketAddr, method: &str, target: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let (status, body) = load::answer(&mut BufReader::new(stream))?;
    ensure!(status == 200, "{method} {target}: {status} {body}");
    Ok(body)
}
