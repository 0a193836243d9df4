//! What is measured: the floor and the agent, each started fresh for every round.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::case::Setup;
use crate::load::Shape;
use crate::process::Process;

/// A started program that takes events.
pub(crate) struct Contestant {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// Where it is asked to ship what it has; the floor ships by itself.
    pub(crate) admin: Option<SocketAddr>,
}

impl Contestant {
    /// The plainest program there is.
    pub(crate) fn floor(dir: &Path, s3: SocketAddr) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let ready = dir.join("floor.ready");
        command.args(["floor", "--endpoint", &s3.to_string(), "--dir"]).arg(dir);
        let process = Process::start(command.arg("--ready-file").arg(&ready), &ready)?;
        Ok(Self { addr: process.addr("/addr")?, admin: None, process })
    }

    /// The agent with its defaults, and what the case sets beside.
    pub(crate) fn agent(
        program: &Path,
        setup: Setup,
        shape: Shape,
        dir: &Path,
        s3: SocketAddr,
    ) -> anyhow::Result<Self> {
        let config = dir.join("agent.toml");
        let text = include_str!("../agent.toml")
            .replace("@ENDPOINT@", &format!("http://{s3}"))
            .replace("@DIR@", &dir.join("channel").display().to_string())
            .replace("# @NETCAT@", setup.netcat)
            .replace("# @SINK@", setup.sink);
        std::fs::write(&config, text)?;
        let ready = dir.join("agent.ready");
        let mut command = Command::new(program);
        command.arg("--config").arg(config).arg("--ready-file").arg(&ready);
        command.env("SLUICEGATE_LOG_LEVEL", "warn");
        let process = Process::start(&mut command, &ready)?;
        let source = match shape {
            Shape::Lines | Shape::Netcat => "/sources/netcat",
            Shape::Http(_) | Shape::Flume(_) => "/sources/http",
        };
        Ok(Self { addr: process.addr(source)?, admin: Some(process.addr("/admin")?), process })
    }
}
