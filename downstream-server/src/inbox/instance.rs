//! Where the inbox is, and which server this is among those that share one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::error::OpenError;

/// Where the inbox is.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// In an SQLite file; `None` is the one in the server's folder.
    File(Option<PathBuf>),
    /// In a PostgreSQL database, which other servers may share.
    Postgres {
        /// `postgres://user:password@host/database`
        url: String,
        /// Who may sign the server's certificate; `None` is whom this machine trusts.
        ca_file: Option<PathBuf>,
    },
}

impl std::fmt::Debug for Location {
    /// The URL may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Postgres { ca_file, .. } => {
                f.debug_struct("Postgres").field("ca_file", ca_file).finish_non_exhaustive()
            }
        }
    }
}

/// The name of the server whose folder this is: made once, so that after a restart it finds its own.
pub(super) fn of(dir: &Path) -> io::Result<String> {
    let path = dir.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(name) if name.trim().len() == 32 => return Ok(name.trim().to_owned()),
        Ok(_) => return Err(io::Error::other(format!("{} does not hold a server's name", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let name = random();
    let partial = dir.join("instance.partial");
    let mut file = File::create(&partial)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    std::fs::rename(&partial, &path)?;
    File::open(dir)?.sync_all()?;
    Ok(name)
}

/// Locks an SQLite file that is not in the server's own folder, which is locked already.
pub(super) fn lock_beside(path: &Path, dir: &Path, lock: File) -> Result<Vec<File>, OpenError> {
    let folder = path.parent().unwrap_or(dir);
    if folder == dir {
        return Ok(vec![lock]);
    }
    let io = |source| OpenError::Io { dir: folder.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let other = File::create(beside).map_err(io)?;
    other.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => OpenError::Locked(path.to_owned()),
        std::fs::TryLockError::Error(source) => io(source),
    })?;
    Ok(vec![lock, other])
}

/// 128 random bits; the standard library's hash keys are random.
pub(super) fn random() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
