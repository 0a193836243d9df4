//! What the parts agree on: the folder, the addresses and the keys. The keys are made at the
//! first start and kept in the folder, readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::ends::Damaged;
use crate::{Options, Part};

/// The one bucket of the local pipeline.
pub(crate) const BUCKET: &str = "events";
/// Where the agent's objects lie in it; what else is there makes no notices.
pub(crate) const PREFIX: &str = "data/";
/// The region that requests are signed for; the local S3 does not care which.
pub(crate) const REGION: &str = "us-east-1";

/// Handed to each child in one line of JSON on its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Absolute.
    pub(crate) dir: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) netcat: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) page: SocketAddr,
    pub(crate) s3: SocketAddr,
    pub(crate) lambda: SocketAddr,
    pub(crate) lambda_timeout: Duration,
    /// Before the second try of an invocation; the third comes after twice that.
    pub(crate) lambda_retry_delay: Duration,
    pub(crate) keys: Keys,
}

/// Random, made once per folder.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    /// Signs the notices.
    pub(crate) notice_secret: String,
}

/// Held as long as the pipeline runs: two pipelines on one folder would ruin each other.
pub(crate) struct DirLock {
    _folder: File,
    _file: File,
}

impl Settings {
    /// Opens the folder and settles every address; a port 0 becomes a real one here, so that a
    /// child that is started again comes back to where it was.
    pub(crate) fn settle(options: &Options) -> anyhow::Result<(Self, DirLock)> {
        let context = || format!("opening the folder {} (--dir)", options.dir.display());
        fs::create_dir_all(options.dir.join("logs")).with_context(context)?;
        fs::create_dir_all(options.dir.join("run")).with_context(context)?;
        let dir = options.dir.canonicalize().with_context(context)?;
        let lock = DirLock::take(&dir)?;
        let keys = Keys::load_or_make(&dir.join("keys.json"))?;

        // All are bound before any is let go, so that no two settle on the same port.
        let wanted = [
            ("--http", options.http),
            ("--netcat", options.netcat),
            ("--admin", options.admin),
            ("--page", options.page),
            ("--s3", options.s3),
            ("--lambda", options.lambda),
        ];
        let bound = wanted.into_iter().map(|(flag, addr)| bind(flag, addr)).collect::<Result<Vec<_>, _>>()?;
        let mut addrs = Vec::with_capacity(bound.len());
        for listener in &bound {
            addrs.push(listener.local_addr()?);
        }
        let &[http, netcat, admin, page, s3, lambda] = addrs.as_slice() else {
            bail!("six addresses are bound, not {}", addrs.len());
        };
        let (lambda_timeout, lambda_retry_delay) = (options.lambda_timeout, options.lambda_retry_delay);
        let settings =
            Self { dir, http, netcat, admin, page, s3, lambda, lambda_timeout, lambda_retry_delay, keys };
        Ok((settings, lock))
    }

    /// The file that a child writes once it answers.
    pub(crate) fn ready_file(&self, part: Part) -> PathBuf {
        self.dir.join("run").join(format!("{}.json", part.name()))
    }

    /// The file that takes a child's log.
    pub(crate) fn log_file(&self, part: Part) -> PathBuf {
        self.dir.join("logs").join(format!("{}.log", part.name()))
    }
}

fn bind(flag: &str, addr: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(addr).with_context(|| {
        format!("binding {addr}: choose another address with {flag} 127.0.0.1:PORT (port 0 picks a free one)")
    })
}

impl DirLock {
    fn take(dir: &Path) -> anyhow::Result<Self> {
        // The folder itself, for whoever deletes the file lets no second pipeline in; and the file for older ones.
        let folder = File::open(dir)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
        for lock in [&folder, &file] {
            flock(lock, FlockOperation::NonBlockingLockExclusive).with_context(|| {
                format!("another pipeline runs on {}: choose another folder with --dir", dir.display())
            })?;
        }
        Ok(Self { _folder: folder, _file: file })
    }
}

impl Keys {
    fn load_or_make(path: &Path) -> anyhow::Result<Self> {
        match fs::read(path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| Damaged { path: path.to_owned(), error }.into())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let keys =
                    Self { access_key: random(10)?, secret_key: random(20)?, notice_secret: random(32)? };
                let new = path.with_extension("new");
                let mut file =
                    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
                file.write_all(serde_json::to_string_pretty(&keys)?.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, path)?;
                File::open(path.parent().unwrap_or(path))?.sync_all()?;
                Ok(keys)
            }
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

fn random(bytes: usize) -> anyhow::Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).context("reading random bytes")?;
    Ok(hex::encode(buffer))
}

impl Part {
    /// The name on the command line, in file names and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Server => "server",
            Self::Notifier => "notifier",
            Self::Agent => "agent",
        }
    }
}
