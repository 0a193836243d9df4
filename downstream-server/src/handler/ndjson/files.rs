//! Which file lines go to, how much of it counts, and when the next one begins.
//!
//! Files are numbered: `out.ndjson` is the first, then come `out-000001.ndjson` and so on, none of
//! them ever renamed. Rotation makes the next file and commits its number; whatever is killed in
//! between, a start finds the old number and a next file that is empty, or the new number. A
//! file with a successor is whole and its reader's to move or delete: the server never looks at
//! it again.
//!
//! The one that is written to is ours alone. Before each object, after its sync and right before its
//! commit the file is compared with its name and with the length that we left; what an outsider did to
//! it stops the handler until it is put back, and nothing is committed meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use output_file::{Disturbed, OutputFile};
use tokio::sync::Mutex;

use super::form::Form;
use crate::inbox::{Inbox, InboxError, Output as CommittedOutput};

/// Wait before a next file that could not be begun is tried again.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// When a file is left for the next one. One that holds nothing stays. An object is never
/// divided, so a file may be larger by one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes from which on a file is full.
    pub bytes: Option<u64>,
    /// Time since its making after which a file is old.
    pub age: Option<Duration>,
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The system refused.
    #[error("writing {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Lines that were committed are gone.
    #[error(
        "{} holds {found} bytes, and {committed} are committed: it was cut, moved or replaced; \
         put it back, or name another file",
        path.display()
    )]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        found: u64,
        /// Bytes that the inbox says are in it.
        committed: u64,
    },
    /// Somebody else's lines, or ours from before the file was moved; they are not cut off.
    #[error(
        "{} holds {found} bytes, and the inbox does not know the file: move it away, or name another",
        path.display()
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        found: u64,
    },
    /// Somebody did something to the file while the server runs.
    #[error(
        "{0}. Nothing is written until it is put back as it was; if that cannot be, name another file in handler.path and \
         restart. To rotate, set handler.rotate_bytes or handler.rotate_age: this server's files are not for logrotate"
    )]
    Disturbed(#[from] Disturbed),
    /// A commit's outcome is unknown.
    #[error("the file's committed length is unknown until a restart")]
    Unknown,
    /// A later server's.
    #[error("the file has form {0}, which this server does not know; use the newer server")]
    Form(u64),
    /// The inbox did not tell or take the committed length.
    #[error("the committed length: {0}")]
    Inbox(#[from] InboxError),
}

#[derive(Debug)]
pub(super) struct Output {
    /// As configured, in its folder's real name.
    base: PathBuf,
    rotation: Rotation,
    /// How events are to stand in files that begin from now on.
    wanted: Form,
    inbox: Arc<Inbox>,
    number: u64,
    /// The name under which the inbox keeps the committed length and the form.
    pub(super) name: String,
    /// How events stand in this file.
    pub(super) form: Form,
    pub(super) file: OutputFile,
    made: SystemTime,
    pub(super) committed: u64,
    /// An outsider did something to the file, and that was told.
    pub(super) disturbed: bool,
    /// A commit's outcome is unknown: what follows the committed length may count as well, and
    /// only a restart can tell. Nothing is written or cut off any more.
    pub(super) unknown: bool,
}

impl Output {
    pub(super) async fn open(
        path: &Path,
        rotation: Rotation,
        wanted: Form,
        inbox: Arc<Inbox>,
    ) -> Result<Self, OutputError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder =
            folder.canonicalize().map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
        let base = folder.join(path.file_name().unwrap_or_default());
        let number = inbox.output(&number_name(&base, &inbox)).await?.map_or(0, |output| output.length);
        let (mut file, path) = make(&numbered(&base, number))?;
        let name = output_name(&path, &inbox);
        let found = file.end();
        let (committed, form) = match inbox.output(&name).await? {
            Some(output) => (output.length, Form::of_number(output.form)?),
            None if found == 0 => (0, wanted),
            None => return Err(OutputError::NotOurs { path, found }),
        };
        if found < committed {
            return Err(OutputError::Shorter { path, found, committed });
        }
        if found > committed {
            tracing::warn!(path = %path.display(), bytes = found - committed, "cutting off lines of an object that was not done");
            file.cut_back(committed)?;
        }
        let form = if committed == 0 { wanted } else { form };
        if committed == 0 {
            inbox.set_outputs(vec![(name.clone(), Some(empty(form)))]).await?;
        }
        if form != wanted {
            tracing::warn!(
                path = %base.display(),
                "the file holds events as the handler `{}` writes them, and goes on so; the next file begins as `{}` \
                 (handler.rotate_bytes, handler.rotate_age), or name another one",
                form.kind(),
                wanted.kind()
            );
        }
        // Not every file system knows when a file was made.
        let made = file.made().unwrap_or_else(SystemTime::now);
        Ok(Self {
            base,
            rotation,
            wanted,
            inbox,
            number,
            name,
            form,
            file,
            made,
            committed,
            disturbed: false,
            unknown: false,
        })
    }

    /// Whether an object may be written: the file is ours, and ends where the committed lines do.
    pub(super) fn check(&mut self) -> Result<(), OutputError> {
        if self.unknown {
            return Err(OutputError::Unknown);
        }
        // What an earlier turn could not take back is taken back now.
        let checked = self.file.cut_back(self.committed).and_then(|()| self.file.check());
        let path = self.file.path().display();
        match &checked {
            Err(error) if !self.disturbed => {
                tracing::error!(%error, %path, "the handler stands still: its file is not as it was left");
            }
            Ok(()) if self.disturbed => {
                tracing::info!(%path, "the handler goes on: its file is as it was left");
            }
            _ => {}
        }
        self.disturbed = checked.is_err();
        Ok(checked?)
    }

    /// Begins the next file if this one is full or old.
    pub(super) async fn rotate_if_due(&mut self) -> Result<(), OutputError> {
        let is_full = self.rotation.bytes.is_some_and(|bytes| self.committed >= bytes);
        if self.unknown || self.committed == 0 || !(is_full || self.old_in() == Some(Duration::ZERO)) {
            return Ok(());
        }
        // A file that is left is its reader's for good, so it has to be whole.
        self.check()?;
        let number = self.number + 1;
        let (file, path) = make(&numbered(&self.base, number))?;
        let name = output_name(&path, &self.inbox);
        if file.end() > 0 {
            return Err(OutputError::NotOurs { path, found: file.end() });
        }
        let made = file.made().unwrap_or_else(SystemTime::now);
        // One transaction: there is never a number without its file's length. Cancelled here,
        // nobody knows which number counts.
        self.unknown = true;
        let committed = self
            .inbox
            .set_outputs(vec![
                (self.name.clone(), None),
                (name.clone(), Some(empty(self.wanted))),
                (number_name(&self.base, &self.inbox), Some(CommittedOutput { length: number, form: 1 })),
            ])
            .await;
        self.unknown = matches!(committed, Err(InboxError::Poisoned(_)));
        committed?;
        tracing::info!(path = %path.display(), bytes = self.committed, "a file is whole, and the next one begins");
        (self.number, self.name, self.file, self.made, self.committed) = (number, name, file, made, 0);
        self.form = self.wanted;
        Ok(())
    }

    /// Time until the file is old; `None` if it never is.
    fn old_in(&self) -> Option<Duration> {
        // A clock that was set back makes the file young again, not old.
        let age = self.made.elapsed().unwrap_or_default();
        Some(self.rotation.age?.saturating_sub(age))
    }
}

/// Rotates by age as long as there is an output, so that the last lines of a quiet day do not
/// wait in a file that nobody may take yet.
pub(super) async fn age(output: Weak<Mutex<Output>>) {
    let mut told = String::new();
    while let Some(alive) = output.upgrade() {
        let mut output = alive.lock().await;
        // An empty file, or one that could not be left, is looked at again a little later.
        let mut rest = Duration::from_millis(100);
        if let Err(error) = output.rotate_if_due().await {
            rest = REST_AFTER_FAILURE;
            let reason = error.to_string();
            if reason != told {
                tracing::error!(%error, "beginning the next file; it is tried again");
                told = reason;
            }
        }
        let wait = output.old_in().unwrap_or_default().max(rest);
        drop(output);
        drop(alive);
        tokio::time::sleep(wait).await;
    }
}

/// Opens a file for appending, making it where absent; the path is where it really lies.
fn make(path: &Path) -> Result<(OutputFile, PathBuf), OutputError> {
    let opened = OutputFile::open(path).and_then(|file| Ok((file, path.canonicalize()?)));
    opened.map_err(|source| OutputError::Io { path: path.to_owned(), source })
}

/// What is committed of a file that holds nothing.
fn empty(form: Form) -> CommittedOutput {
    CommittedOutput { length: 0, form: form.number() }
}

/// The path of a file: the configured one, then numbers before its extension.
fn numbered(base: &Path, number: u64) -> PathBuf {
    if number == 0 {
        return base.to_owned();
    }
    let stem = base.file_stem().unwrap_or_default().to_string_lossy();
    let extension = base.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    base.with_file_name(format!("{stem}-{number:06}{}", extension.unwrap_or_default()))
}

/// A file in the inbox's folder is named from there, so that both may be moved as one. Any
/// other is named by its absolute path: started from another folder it is the same output.
fn output_name(path: &Path, inbox: &Inbox) -> String {
    inbox.output_name(&format!("ndjson {}", path.strip_prefix(inbox.dir()).unwrap_or(path).display()))
}

/// Under this name the inbox keeps which file is written to.
fn number_name(base: &Path, inbox: &Inbox) -> String {
    inbox.output_name(&format!("ndjson-number {}", base.strip_prefix(inbox.dir()).unwrap_or(base).display()))
}
