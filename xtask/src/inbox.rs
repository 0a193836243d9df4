//! The stage of the server's inbox: on a PostgreSQL server of its own, in a folder of its own, and fed
//! from a real SQS API, for as long as the stage runs.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::built;
use crate::stage::{Context, Outcome};
use crate::tools::{self, Server, free_port};

/// The server's tests on a shared inbox, and those of its pull mode.
pub(crate) fn run(context: &Context) -> Outcome {
    if let Err(why) = tools::debian(context, "pg_createcluster", &["postgresql"]) {
        return Outcome::NotRun(why);
    }
    let started = Postgres::start().and_then(|postgres| Ok((postgres, Server::ministack()?)));
    let (postgres, sqs) = match started {
        Ok(started) => started,
        Err(error) => return Outcome::Failed(format!("starting a server: {error:#}")),
    };
    let mut commands = match built::needy("downstream-server") {
        Ok(commands) => commands,
        Err(why) => return Outcome::Failed(why),
    };
    for command in &mut commands {
        command.env("SLUICEGATE_TEST_POSTGRES", &postgres.url);
        command.env("SLUICEGATE_TEST_SQS_ENDPOINT", &sqs.endpoint);
    }
    Outcome::of(commands)
}

/// Stopped, and its folder removed, when dropped.
struct Postgres {
    url: String,
    dir: PathBuf,
    child: Option<Child>,
}

impl Postgres {
    fn start() -> anyhow::Result<Self> {
        let bin = newest_bin().context("no /usr/lib/postgresql/*/bin/initdb")?;
        let port = free_port()?;
        let dir = std::env::temp_dir().join(format!("sluicegate-postgres-{}", std::process::id()));
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        let mut server = Self { url, dir, child: None };
        let made = unprivileged(&bin.join("initdb"))
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D"])
            .arg(&server.dir)
            .stdout(Stdio::null())
            .status()
            .context("starting initdb")?;
        ensure!(made.success(), "initdb ended with {made}");
        let mut command = unprivileged(&bin.join("postgres"));
        command.arg("-D").arg(&server.dir).args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-c", "max_connections=300"]);
        server.child = Some(command.stderr(Stdio::null()).spawn().context("starting postgres")?);
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "it did not listen on port {port} within 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// PostgreSQL refuses to run as root; its package brings a user for it.
fn unprivileged(program: &Path) -> Command {
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"]).arg(program);
    // Where we are may be a folder that the user must not see.
    command.current_dir("/");
    command
}

fn newest_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut versions: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path())).collect();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    versions.into_iter().rev().map(|path| path.join("bin")).find(|bin| bin.join("initdb").exists())
}
