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
pub(super) fn of(dir: &Path) -> Result<String, OpenError> {
    match read(dir) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => make(dir).map_err(|source| OpenError::Io { dir: dir.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(OpenError::Instance(dir.join(FILE))),
        Err(source) => Err(OpenError::Io { dir: dir.to_owned(), source }),
    }
}

const FILE: &str = "instance";
const NAME_CHARS: usize = 32;

/// The name that is kept; an error of the kind `InvalidData` if it is none.
fn read(dir: &Path) -> io::Result<Option<String>> {
    let name = match std::fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_name = name.len() == NAME_CHARS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_name { Ok(Some(name)) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// A new name, on the disk before it is used.
fn make(dir: &Path) -> io::Result<String> {
    let name = random();
    let partial = dir.join("instance.partial");
    let mut file = File::create(&partial)?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    std::fs::rename(&partial, dir.join(FILE))?;
    File::open(dir)?.sync_all()?;
    Ok(name)
}

/// Locks the server's own folder: the folder itself, for whoever deletes a file in it lets no second server in, and the
/// file that servers from before that look at.
pub(super) fn lock(dir: &Path) -> Result<Vec<File>, OpenError> {
    let io = |source| OpenError::Io { dir: dir.to_owned(), source };
    let mut locks = vec![File::open(dir).map_err(io)?, File::create(dir.join("lock")).map_err(io)?];
    let mut held = Vec::new();
    for (file, is_folder) in locks.drain(..).zip([true, false]) {
        match file.try_lock() {
            Ok(()) => held.push(file),
            Err(std::fs::TryLockError::WouldBlock) => return Err(OpenError::Locked(dir.to_owned())),
            // Some network file systems lock files alone.
            Err(std::fs::TryLockError::Error(_)) if is_folder => {}
            Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
        }
    }
    Ok(held)
}

/// Locks an SQLite file that is not in the server's own folder, which is locked already.
pub(super) fn lock_beside(path: &Path, dir: &Path, mut held: Vec<File>) -> Result<Vec<File>, OpenError> {
    let folder = path.parent().unwrap_or(dir);
    if folder == dir {
        return Ok(held);
    }
    let io = |source| OpenError::Io { dir: folder.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let other = File::create(beside).map_err(io)?;
    other.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => OpenError::Locked(path.to_owned()),
        std::fs::TryLockError::Error(source) => io(source),
    })?;
    held.push(other);
    Ok(held)
}

/// 128 random bits; the standard library's hash keys are random.
pub(super) fn random() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}
