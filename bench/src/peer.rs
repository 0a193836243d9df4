//! Other programs that bring events into S3, measured beside the agent where this machine has them: a variable of
//! the environment says where. How each is set up is in `bench/contestants/`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::load::Shape;
use crate::process::Process;

/// A program that may take part.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The variable that holds the path of the program, or of the folder in which `program` lies.
    variable: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    version: &'static str,
    /// Its files: a name and a text with places to fill in.
    files: &'static [(&'static str, &'static str)],
    sync: &'static str,
    /// The shape in which it takes what a case sends; `None`: not at all.
    pub(crate) takes: fn(Shape) -> Option<Shape>,
}

/// A peer that this machine has.
pub(crate) struct Found {
    pub(crate) peer: &'static Peer,
    program: PathBuf,
}

const FLUENT_BIT: Peer = Peer {
    name: "fluent-bit",
    variable: "SLUICEGATE_BENCH_FLUENT_BIT",
    program: "",
    arguments: &["--quiet", "--config", "@DIR@/fluent-bit.yaml"],
    version: "--version",
    files: &[("fluent-bit.yaml", include_str!("../contestants/fluent-bit.yaml"))],
    sync: "full",
    takes: |shape| match shape {
        Shape::Netcat => Some(Shape::Lines),
        Shape::Http(each) => Some(Shape::HttpAsJson(each)),
        _ => None,
    },
};

const PEERS: [Peer; 4] = [
    Peer {
        name: "vector",
        variable: "SLUICEGATE_BENCH_VECTOR",
        program: "",
        arguments: &["--quiet", "--config", "@DIR@/vector.yaml"],
        version: "--version",
        files: &[("vector.yaml", include_str!("../contestants/vector.yaml"))],
        sync: "",
        takes: |shape| match shape {
            Shape::Netcat => Some(Shape::Lines),
            Shape::Http(_) => Some(shape),
            _ => None,
        },
    },
    FLUENT_BIT,
    Peer { name: "fluent-bit-unsynced", sync: "normal", ..FLUENT_BIT },
    Peer {
        name: "flume",
        variable: "SLUICEGATE_BENCH_FLUME",
        program: "bin/flume-ng",
        arguments: &["agent", "--name", "agent", "--conf", "@DIR@", "--conf-file", "@DIR@/flume.properties"],
        version: "version",
        files: &[
            ("flume.properties", include_str!("../contestants/flume.properties")),
            ("core-site.xml", include_str!("../contestants/core-site.xml")),
        ],
        sync: "",
        takes: |shape| match shape {
            Shape::Netcat | Shape::Flume(_) => Some(shape),
            // It knows no NDJSON.
            Shape::Http(each) => Some(Shape::Flume(each)),
            _ => None,
        },
    },
];

/// The peers whose variable is set.
pub(crate) fn found() -> Vec<Found> {
    let found = PEERS.iter().filter_map(|peer| {
        let at = std::env::var_os(peer.variable).filter(|at| !at.is_empty())?;
        let program = if peer.program.is_empty() { at.into() } else { Path::new(&at).join(peer.program) };
        Some(Found { peer, program })
    });
    found.collect()
}

impl Found {
    /// Starts it with its files in `dir`; where it takes events of `shape`.
    pub(crate) fn start(
        &self,
        shape: Shape,
        dir: &Path,
        s3: SocketAddr,
    ) -> anyhow::Result<(Process, SocketAddr)> {
        let (lines, http) = (free_port()?, free_port()?);
        let fill = |text: &str| {
            text.replace("@DIR@", &dir.display().to_string())
                .replace("@ENDPOINT@", &format!("http://{s3}"))
                .replace("@LINES@", &lines.port().to_string())
                .replace("@HTTP@", &http.port().to_string())
                .replace("@SYNC@", self.peer.sync)
        };
        for (name, text) in self.peer.files {
            std::fs::write(dir.join(name), fill(text))?;
        }
        let mut command = Command::new(&self.program);
        command.args(self.peer.arguments.iter().map(|argument| fill(argument)));
        command.env("AWS_ACCESS_KEY_ID", "bench").env("AWS_SECRET_ACCESS_KEY", "bench");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        let addr = if matches!(shape, Shape::Lines | Shape::Netcat) { lines } else { http };
        Ok((Process::listening(&mut command, addr)?, addr))
    }

    /// What it says of itself, in one line.
    pub(crate) fn version(&self) -> anyhow::Result<String> {
        let said = Command::new(&self.program).arg(self.peer.version).output();
        let said = said.with_context(|| format!("asking {} for its version", self.program.display()))?.stdout;
        Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
    }
}

/// An address on which nobody listens now.
fn free_port() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
