//! What is measured: the baseline, the agent, and the peers that are there; each started fresh for every round.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::case::{Case, Setup};
use crate::load::{Shape, Source};
use crate::outside;
use crate::peer::Found;
use crate::process::Process;
use crate::tls::Client;

/// Who may be started.
#[derive(Clone, Copy)]
pub(crate) enum Entrant<'a> {
    Baseline {
        /// How often it syncs.
        sync_mib: u16,
    },
    /// With the URL of an endpoint of somebody else's, where there is one.
    Agent {
        program: &'a Path,
        setup: Setup,
        outside: Option<&'a str>,
    },
    Peer(&'a Found),
}

/// A started program that takes events.
pub(crate) struct Contestant {
    pub(crate) process: Process,
    pub(crate) source: Source,
    /// Where it is asked to ship what it has; others ship by themselves.
    pub(crate) admin: Option<SocketAddr>,
}

impl Entrant<'_> {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Baseline { .. } => "baseline",
            Self::Agent { .. } => "sluicegate",
            Self::Peer(found) => found.peer.name,
        }
    }

    /// The shape in which it takes what `case` sends; `None`: it does not.
    pub(crate) fn takes(self, case: &Case) -> Option<Shape> {
        match self {
            Self::Baseline { .. } => Some(Shape::Lines),
            Self::Agent { .. } => Some(case.shape),
            // Codecs and partitions are not set up for them.
            Self::Peer(_) if case.setup != crate::case::DEFAULTS => None,
            Self::Peer(found) => (found.peer.takes)(case.shape),
        }
    }

    /// Starts it with its files in `dir`, to take events of `shape` and put them to `s3`.
    pub(crate) fn start(self, shape: Shape, dir: &Path, s3: SocketAddr) -> anyhow::Result<Contestant> {
        match self {
            Self::Baseline { sync_mib } => baseline(sync_mib, dir, s3),
            Self::Agent { program, setup, outside } => {
                let endpoint = outside.map_or_else(|| format!("http://{s3}"), str::to_owned);
                agent(program, setup, shape, dir, &endpoint)
            }
            Self::Peer(found) => {
                let (process, addr) = found.start(shape, dir, s3)?;
                Ok(Contestant { process, source: Source { addr, tls: None }, admin: None })
            }
        }
    }
}

/// The plainest program there is.
fn baseline(sync_mib: u16, dir: &Path, s3: SocketAddr) -> anyhow::Result<Contestant> {
    let mut command = Command::new(std::env::current_exe()?);
    let ready = dir.join("baseline.ready");
    command
        .args(["baseline", "--sync-mib", &sync_mib.to_string(), "--endpoint", &s3.to_string(), "--dir"])
        .arg(dir);
    let process = Process::start(command.arg("--ready-file").arg(&ready), &ready)?;
    Ok(Contestant { source: Source { addr: process.addr("/addr")?, tls: None }, admin: None, process })
}

/// The agent with its defaults, and what `setup` says beside.
pub(crate) fn agent(
    program: &Path,
    setup: Setup,
    shape: Shape,
    dir: &Path,
    endpoint: &str,
) -> anyhow::Result<Contestant> {
    let config = dir.join("agent.toml");
    let text = include_str!("../agent.toml")
        .replace("@ENDPOINT@", endpoint)
        .replace("@PREFIX@", &outside::prefix(dir))
        .replace("@DIR@", &dir.join("channel").display().to_string())
        .replace("# @HTTP@", &setup.http.replace("@TLS@", &dir.display().to_string()))
        .replace("# @NETCAT@", setup.netcat)
        .replace("# @CHANNEL@", setup.channel)
        .replace("# @SINK@", setup.sink);
    std::fs::write(&config, text)?;
    let tls = if setup.http.contains("@TLS@") { Some(Client::new(dir)?) } else { None };
    let ready = dir.join("agent.ready");
    let mut command = Command::new(program);
    command.arg("--config").arg(config).arg("--ready-file").arg(&ready);
    command.env("SLUICEGATE_LOG_LEVEL", "warn").envs(outside::credentials());
    let process = Process::start(&mut command, &ready)?;
    let source = match shape {
        Shape::Lines | Shape::Netcat => "/sources/netcat",
        Shape::Http(_) | Shape::HttpAsJson(_) | Shape::Flume(_) => "/sources/http",
    };
    let source = Source { addr: process.addr(source)?, tls };
    Ok(Contestant { source, admin: Some(process.addr("/admin")?), process })
}
