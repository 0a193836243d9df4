//! The cases and their rounds. A round starts fresh processes in a fresh folder, sends, waits
//! until every byte is in the endpoint, reads the clocks, and only then checks the ids.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::RunArgs;
use crate::load::{self, Shape};
use crate::process::Process;
use crate::table::{self, Row};

struct Case {
    name: &'static str,
    shape: Shape,
    /// What receives: the floor or the agent, and the pointer of its address in the ready file.
    contestant: Contestant,
}

#[derive(Clone, Copy, PartialEq)]
enum Contestant {
    Floor,
    Agent { address: &'static str },
}

const CASES: &[Case] = &[
    Case { name: "floor", shape: Shape::Lines, contestant: Contestant::Floor },
    Case {
        name: "netcat",
        shape: Shape::Netcat,
        contestant: Contestant::Agent { address: "/sources/netcat" },
    },
    Case {
        name: "http",
        shape: Shape::Http { events_per_request: 100 },
        contestant: Contestant::Agent { address: "/sources/http" },
    },
];

pub(crate) fn run(args: &RunArgs) -> anyhow::Result<()> {
    let cases: Vec<&Case> =
        CASES.iter().filter(|case| args.only.as_ref().is_none_or(|only| only == case.name)).collect();
    ensure!(!cases.is_empty(), "no such case: floor, netcat and http are known");
    let mut rows = Vec::new();
    for number in 0..args.rounds {
        for case in &cases {
            let row = round(case, args).with_context(|| format!("round {number} of case {}", case.name))?;
            eprintln!("{}", row.json());
            ensure!(
                row.missing + row.doubled + row.unknown == 0,
                "case {} lost or doubled events",
                case.name
            );
            rows.push(row);
        }
    }
    if let Some(path) = &args.json {
        let mut out = std::fs::File::create(path)?;
        rows.iter().try_for_each(|row| writeln!(out, "{}", row.json()))?;
    }
    print!("{}", table::markdown(&rows, args.events));
    Ok(())
}

fn round(case: &Case, args: &RunArgs) -> anyhow::Result<Row> {
    let dir = tempfile::tempdir()?;
    let myself = std::env::current_exe()?;
    let ready = |name: &str| dir.path().join(format!("{name}.ready"));
    let endpoint = Process::start(
        Command::new(&myself).arg("endpoint").arg("--ready-file").arg(ready("endpoint")),
        &ready("endpoint"),
    )?;
    let s3 = endpoint.addr("/addr")?;
    let mut command = match case.contestant {
        Contestant::Floor => {
            let mut command = Command::new(&myself);
            command.args(["floor", "--endpoint", &s3.to_string(), "--dir"]).arg(dir.path());
            command
        }
        Contestant::Agent { .. } => agent(args, s3, dir.path())?,
    };
    let contestant =
        Process::start(command.arg("--ready-file").arg(ready("contestant")), &ready("contestant"))?;
    let addr = match case.contestant {
        Contestant::Floor => contestant.addr("/addr")?,
        Contestant::Agent { address } => contestant.addr(address)?,
    };
    // The floor reads one connection to its end: that is what makes it plain.
    let connections = if case.contestant == Contestant::Floor { 1 } else { args.connections };

    let before = contestant.usage()?;
    let started = Instant::now();
    load::send(case.shape, addr, args.events, args.event_bytes, connections)?;
    let accepted = started.elapsed();
    if case.contestant != Contestant::Floor {
        let flushed = request(contestant.addr("/admin")?, "POST", "/v1/flush")?;
        ensure!(flushed.contains("keys"), "the agent's flush answered {flushed}");
    }
    let wanted = u64::from(args.events) * (args.event_bytes as u64 + 1);
    let deadline = Instant::now() + Duration::from_secs(120);
    while request(s3, "GET", "/_bytes")?.parse::<u64>()? < wanted {
        ensure!(Instant::now() < deadline, "not all bytes reached the endpoint within 120 s");
        std::thread::sleep(Duration::from_millis(5));
    }
    let stored = started.elapsed();
    let after = contestant.usage()?;
    let checked: serde_json::Value =
        serde_json::from_str(&request(s3, "GET", &format!("/_check?{}", args.events))?)?;
    let count = |name: &str| checked[name].as_u64().unwrap_or(u64::MAX);
    Ok(Row {
        case: case.name,
        events: args.events,
        accepted,
        stored,
        cpu: after.cpu.saturating_sub(before.cpu),
        peak_bytes: after.peak_bytes,
        objects: count("objects"),
        missing: count("missing"),
        doubled: count("doubled"),
        unknown: count("unknown"),
    })
}

/// The agent with its defaults: a durable channel, one partition, no compression.
fn agent(args: &RunArgs, s3: SocketAddr, dir: &Path) -> anyhow::Result<Command> {
    let config = dir.join("agent.toml");
    let text = include_str!("../agent.toml")
        .replace("@ENDPOINT@", &format!("http://{s3}"))
        .replace("@DIR@", &dir.join("channel").display().to_string());
    std::fs::write(&config, text)?;
    let mut command = Command::new(&args.agent);
    command.arg("--config").arg(config).env("SLUICEGATE_LOG_LEVEL", "info");
    Ok(command)
}

/// One request with an empty body on a connection of its own; the answer's body.
fn request(addr: SocketAddr, method: &str, target: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if read == 0 || length.is_some_and(|length| body.len() >= length) {
                ensure!(head.starts_with("HTTP/1.1 200"), "{method} {target}: {head}: {body}");
                return Ok(body.to_owned());
            }
        }
        if read == 0 {
            bail!("{method} {target}: the connection closed early");
        }
    }
}
