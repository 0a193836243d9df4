//! What a stage needs beside Rust: Python tools go under the target folder, Debian packages are
//! installed only where that was asked for.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::stage::Context;
use crate::workspace::target;

/// Makes sure that `program` is on the PATH, installing Debian `packages` if that is allowed;
/// the error is the one command that installs them.
pub(crate) fn debian(context: &Context, program: &str, packages: &[&str]) -> Result<(), String> {
    let present =
        || Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if present() {
        return Ok(());
    }
    let command =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" "));
    if context.install {
        let status =
            Command::new("sh").args(["-c", &command]).env("DEBIAN_FRONTEND", "noninteractive").status();
        if status.is_ok_and(|status| status.success()) && present() {
            return Ok(());
        }
    }
    Err(format!("{program} is missing: `{command}` installs it, or `cargo xtask test --install` as root"))
}

/// An S3 server that is not ours, from the Python package index; stopped when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) endpoint: String,
    child: Child,
}

impl Server {
    /// MiniStack: S3, SQS and Lambda in one process.
    pub(crate) fn ministack() -> anyhow::Result<Self> {
        let bin = venv("ministack", &["ministack==1.5.33"])?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("python"));
        command
            .args(["-m", "hypercorn", "ministack.app:app", "--bind", &format!("127.0.0.1:{port}")])
            .envs([("GATEWAY_PORT", port.to_string().as_str()), ("MINISTACK_HOST", "127.0.0.1")])
            .env("PERSIST_STATE", "0");
        Self::start("ministack", port, command)
    }

    /// moto's server: a second opinion on S3.
    pub(crate) fn moto() -> anyhow::Result<Self> {
        let bin = venv("moto", &["moto[server,s3]==5.2.5"])?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start("moto", port, command)
    }

    fn start(name: &'static str, port: u16, mut command: Command) -> anyhow::Result<Self> {
        let log = std::fs::File::create(target().join("tools").join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let server = Self { name, endpoint: format!("http://127.0.0.1:{port}"), child };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "{name} did not listen on port {port} within 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `bin` folder of a virtual environment under the target folder that holds `packages`.
fn venv(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let dir = target().join("tools").join(name);
    let bin = dir.join("bin");
    let wanted = packages.join(" ");
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(bin);
    }
    let run = |command: &mut Command| match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("{command:?} ended with {status}"),
        Err(error) => Err(error).with_context(|| format!("starting {command:?}")),
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    run(Command::new(bin.join("pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(stamp, wanted)?;
    Ok(bin)
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
