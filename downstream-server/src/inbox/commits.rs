//! The proof that the inbox has lost no commit.
//!
//! SQLite ends the replay of its log at the first bit that is wrong, and says nothing of the commits behind it. A
//! PostgreSQL that fails over to a late replica, and any database that is restored from a backup, are as silent. So
//! each commit of a server raises a number in the inbox, within its own transaction, and the server then writes the
//! number into a file beside the database: the record. With N the number in the inbox and R the one in the record:
//!
//! | what happens | afterwards |
//! |---|---|
//! | the database answers a commit, which is synced | N is one higher |
//! | the record is written, without a sync of its own | R = N |
//! | the process is killed at any moment | R = N, or R = N - 1: what it wrote is the kernel's to keep |
//! | the power is cut at any moment | R <= N: the record may be any that was written before |
//! | commits are lost | N < R, unless a power cut took as much from the record |
//!
//! So N < R proves that commits were lost, and it is never so without a loss. Then one transaction marks the inbox
//! and sets N to R + 1, and only after it R follows: killed in between, the mark is there and R is behind. No number
//! is ever given twice. The mark stays until every bucket was listed since.
//!
//! A record is 32 bytes, little-endian: `SGCOMMIT`, the version (4), when the inbox was made (8), the number (8),
//! the CRC32C of all that (4). Numbers take turns at two places, in two sectors: a torn one leaves the one before.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::database::{Database, DatabaseError};
use super::error::OpenError;

type Result<T> = std::result::Result<T, DatabaseError>;

const MAGIC: &[u8; 8] = b"SGCOMMIT";
/// The version of the record, and the highest that is read.
const VERSION: u32 = 1;
const LENGTH: usize = 32;
/// Where the two places begin.
const PLACES: [usize; 2] = [0, 512];

/// Commits of the inbox that are lost, and for which the buckets were not listed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// How many, as far as is known; 0 if the record of them cannot be read.
    pub commits: u64,
    /// When it was found, in milliseconds since 1970.
    pub since_ms: i64,
}

/// Counts this server's commits in the inbox and in the record.
#[derive(Debug)]
pub(super) struct Commits {
    /// The counter's name.
    name: String,
    last: u64,
    record: Record,
}

impl Commits {
    /// Compares the inbox with the record at `path`, which is made where absent, and marks a loss. `server` names the
    /// server among those that share the inbox.
    pub(super) fn open(
        database: &Database,
        path: &Path,
        server: Option<&str>,
        now_ms: i64,
    ) -> std::result::Result<Self, OpenError> {
        let name = server.map_or_else(|| "commits".to_owned(), |server| format!("commits {server}"));
        database.execute(
            "INSERT INTO counters (name, value) VALUES (?1, 0) ON CONFLICT DO NOTHING",
            &[(&name).into()],
        )?;
        let counter = |name: &str| {
            let row = database.query_one("SELECT value FROM counters WHERE name = ?1", &[name.into()])?;
            row.map_or(Ok(0), |row| row.integer(0))
        };
        let (made_ms, number) = (counter("made_ms")?, counter(&name)? as u64);
        let io = |source| OpenError::Io { dir: path.to_owned(), source };
        let (record, found) = Record::open(path, made_ms).map_err(io)?;
        let mut commits = Self { name, last: number, record };
        let lost = match found {
            Found::Nothing => None,
            Found::Newer(found) => {
                return Err(OpenError::NewerRecord { path: path.to_owned(), found, known: VERSION });
            }
            Found::Number { made_ms: told, number: told_number } if told != made_ms => {
                tracing::error!(
                    "the inbox is not that of the last start: it was made anew, or another one is configured"
                );
                Some((told_number, told_number))
            }
            Found::Number { number: told, .. } => (told > number).then(|| (told, told - number)),
            Found::Broken => Some((number, 0)),
        };
        if let Some((told, lost)) = lost {
            database.begin()?;
            let marked =
                commits.mark(database, told.max(number), lost, now_ms).and_then(|()| database.commit());
            if let Err(error) = marked {
                database.roll_back();
                return Err(error.into());
            }
        }
        commits.record.write(commits.last);
        Ok(commits)
    }

    /// Counts the transaction, if anything was written in it. To be called last in it; the number is to be
    /// [`written`](Self::written) once it is committed.
    pub(super) fn count(&mut self, at: &Database, now_ms: i64) -> Result<Option<u64>> {
        let Some(number) = at.count_commit(&self.name)? else { return Ok(None) };
        if number > self.last {
            return Ok(Some(number));
        }
        let (last, lost) = (self.last, self.last + 1 - number);
        self.mark(at, last, lost, now_ms)?;
        // Until it is committed nothing is known to have changed.
        Ok(Some(std::mem::replace(&mut self.last, last)))
    }

    /// Writes the number of a transaction that is committed.
    pub(super) fn written(&mut self, number: u64) {
        self.last = number;
        self.record.write(number);
    }

    /// Marks that commits up to number `told` were lost, and goes on after it.
    fn mark(&mut self, at: &Database, told: u64, lost: u64, now_ms: i64) -> Result<()> {
        tracing::error!(
            commits = lost,
            "commits of the inbox were lost: notices that were taken may be missing, and objects that were done may be handled \
             again. The buckets are listed for what is missing"
        );
        let next = told + 1;
        at.execute("UPDATE counters SET value = ?2 WHERE name = ?1", &[(&self.name).into(), next.into()])?;
        let add = "INSERT INTO counters (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value";
        at.execute(add, &["lost_commits".into(), lost.into()])?;
        at.execute("DELETE FROM counters WHERE name = 'lost_ms'", &[])?;
        at.execute(add, &["lost_ms".into(), now_ms.into()])?;
        self.last = next;
        Ok(())
    }

    /// The counter's name, for whoever wants a commit to be one.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.record.sync();
    }
}

/// What was lost and is not made up for yet.
pub(super) fn loss(at: &Database) -> Result<Option<Loss>> {
    let counter = |name: &str| {
        let row = at.query_one("SELECT value FROM counters WHERE name = ?1", &[name.into()])?;
        row.map(|row| row.integer(0)).transpose()
    };
    let Some(since_ms) = counter("lost_ms")? else { return Ok(None) };
    Ok(Some(Loss { commits: counter("lost_commits")?.unwrap_or_default() as u64, since_ms }))
}

/// Dates a mark from the future to now: the clock was set back since.
pub(super) fn redate(at: &Database, now_ms: i64) -> Result<()> {
    at.execute("UPDATE counters SET value = ?1 WHERE name = 'lost_ms' AND value > ?1", &[now_ms.into()])?;
    Ok(())
}

/// Takes the mark away, if no further loss was found meanwhile.
pub(super) fn made_up_for(at: &Database, loss: Loss) -> Result<()> {
    at.execute(
        "DELETE FROM counters WHERE name IN ('lost_commits', 'lost_ms')
         AND EXISTS (SELECT 1 FROM counters WHERE name = 'lost_ms' AND value = ?1)",
        &[loss.since_ms.into()],
    )?;
    Ok(())
}

/// The file beside the database.
#[derive(Debug)]
struct Record {
    path: PathBuf,
    file: File,
    made_ms: i64,
    failing: bool,
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// It was just made.
    Nothing,
    /// The highest number in it.
    Number { made_ms: i64, number: u64 },
    /// Nothing that can be read.
    Broken,
    /// A version that we do not know.
    Newer(u32),
}

impl Record {
    fn open(path: &Path, made_ms: i64) -> io::Result<(Self, Found)> {
        let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            // Its name must survive a power cut; its content need not.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok((Self { path: path.to_owned(), file, made_ms, failing: false }, Found::read(&bytes)))
    }

    /// Failing is told once: a record that is behind proves less, and nothing that is wrong.
    fn write(&mut self, number: u64) {
        let place = PLACES[(number % 2) as usize] as u64;
        let written = self.file.write_all_at(&encoded(self.made_ms, number), place);
        if let Err(error) = &written
            && !self.failing
        {
            tracing::warn!(%error, path = %self.path.display(), "writing the record of the inbox's commits");
        }
        self.failing = written.is_err();
    }

    fn sync(&self) {
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(%error, path = %self.path.display(), "syncing the record of the inbox's commits");
        }
    }
}

impl Found {
    fn read(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        let places = PLACES.iter().filter_map(|place| bytes.get(*place..place + LENGTH));
        // A newer version before all numbers, the highest number before others.
        let best = places.filter_map(decoded).max_by_key(|found| match found {
            Self::Newer(_) => (1, 0),
            Self::Number { number, .. } => (0, *number),
            Self::Nothing | Self::Broken => (0, 0),
        });
        best.unwrap_or(Self::Broken)
    }
}

fn encoded(made_ms: i64, number: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&made_ms.to_le_bytes());
    bytes[20..28].copy_from_slice(&number.to_le_bytes());
    let crc32c = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc32c.to_le_bytes());
    bytes
}

fn decoded(bytes: &[u8]) -> Option<Found> {
    let (content, crc32c) = bytes.split_at_checked(LENGTH - 4)?;
    if content[..8] != MAGIC[..] || crc32c::crc32c(content).to_le_bytes() != crc32c {
        return None;
    }
    let version = u32::from_le_bytes(content[8..12].try_into().ok()?);
    if version != VERSION {
        return Some(Found::Newer(version));
    }
    Some(Found::Number {
        made_ms: i64::from_le_bytes(content[12..20].try_into().ok()?),
        number: u64::from_le_bytes(content[20..28].try_into().ok()?),
    })
}

#[cfg(test)]
mod tests;
