//! What a stage needs beside Rust: Python tools go under the target folder, Debian packages are
//! installed only where that was asked for.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::group::Group;
use crate::stage::Context;
use crate::workspace::target;

/// Makes sure that `program` is on the PATH, installing Debian `packages` if that is allowed;
/// the error is the one command that installs them.
pub(crate) fn debian(context: &Context, program: &str, packages: &[&str]) -> Result<(), String> {
    let search = format!("command -v {program}");
    let present =
        || Command::new("sh").args(["-c", &search]).output().is_ok_and(|found| found.status.success());
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

/// Tries a shell command that needs rights, with a folder of its own in `$DIR`; the error is what it said.
pub(crate) fn may(script: &str) -> Result<(), String> {
    let script = format!("DIR=$(mktemp -d); ({script}); ended=$?; rmdir $DIR; exit $ended");
    let output = Command::new("sh").args(["-c", &script]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// An S3 server that is not ours, from the Python package index; stopped when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) endpoint: String,
    /// Where it departs from S3, as the store's conformance test wants to be told.
    pub(crate) known: &'static [(&'static str, &'static str)],
    _processes: Group,
}

const MINISTACK: &[(&str, &str)] = &[
    ("SLUICEGATE_TEST_S3_MULTIPART_CHECKSUM", "composite"),
    ("SLUICEGATE_TEST_S3_DEPARTURES", "multipart-crc-kept,wrong-whole-crc-refused,small-part-refused"),
];
const MOTO: &[(&str, &str)] = &[(
    "SLUICEGATE_TEST_S3_DEPARTURES",
    "crc-kept,multipart-crc-kept,wrong-whole-crc-refused,\
     one-winner-completing?,complete-unknown,abort",
)];

impl Server {
    /// MiniStack: S3, SQS and Lambda in one process.
    pub(crate) fn ministack() -> anyhow::Result<Self> {
        let bin = venv("ministack", &["ministack==1.5.33"])?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("python"));
        command
            .args(["-m", "hypercorn", "ministack.app:app", "--bind", &format!("127.0.0.1:{port}")])
            // After 5 s without a request it would close a connection even while it carries out what has
            // just come, and answer nothing: whoever then asks again finds that a delete was done already.
            .args(["--keep-alive", "3600"])
            .envs([("GATEWAY_PORT", port.to_string().as_str()), ("MINISTACK_HOST", "127.0.0.1")])
            .env("PERSIST_STATE", "0");
        Self::start("ministack", port, command, MINISTACK)
    }

    /// moto's server: a second opinion on S3.
    pub(crate) fn moto() -> anyhow::Result<Self> {
        let bin = venv("moto", &["moto[server,s3]==5.2.5"])?;
        let port = free_port()?;
        let mut command = Command::new(bin.join("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start("moto", port, command, MOTO)
    }

    fn start(
        name: &'static str,
        port: u16,
        mut command: Command,
        known: &'static [(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        let log = std::fs::File::create(target().join("tools").join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let processes = Group::spawn(command).with_context(|| format!("starting {name}"))?;
        let server =
            Self { name, endpoint: format!("http://127.0.0.1:{port}"), known, _processes: processes };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "{name} did not listen on port {port} within 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.make_bucket("sluicegate-test")?;
        Ok(server)
    }
}

impl Server {
    /// These servers check no signature, so that a plain request makes a bucket.
    fn make_bucket(&self, name: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.endpoint.trim_start_matches("http://"))?;
        let request =
            format!("PUT /{name} HTTP/1.1\r\nHost: s3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "making the bucket {name} on {}: {answer}", self.name);
        Ok(())
    }
}

/// The `bin` folder of a virtual environment under the target folder that holds `packages`.
pub(crate) fn venv(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let tools = target().join("tools");
    std::fs::create_dir_all(&tools)?;
    let dir = tools.canonicalize()?.join(name);
    let bin = dir.join("bin");
    // Its programs name the folder's path in their first lines: one that was moved is made anew.
    let wanted = format!("{} in {}", packages.join(" "), dir.display());
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

/// The folder of an npm package of this version under the target folder; no script of its runs.
pub(crate) fn npm(package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let dir = target().join("tools").join(package);
    let folder = dir.join("node_modules").join(package);
    let wanted = format!("\"version\": \"{version}\"");
    if std::fs::read_to_string(folder.join("package.json")).is_ok_and(|text| text.contains(&wanted)) {
        return Ok(folder);
    }
    let mut command = Command::new("npm");
    command.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
    ]);
    let status = command.arg(&dir).arg(format!("{package}@{version}")).status().context("starting npm")?;
    ensure!(status.success(), "npm ended with {status}");
    Ok(folder)
}

/// The PATH with one more folder in front.
pub(crate) fn path_with(bin: &Path) -> OsString {
    let mut paths = vec![bin.to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    std::env::join_paths(paths).expect("a folder that is on the PATH holds no separator")
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
