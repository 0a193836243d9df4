//! The failure queue as a file that people can look at: one JSON line an invocation.
//!
//! The catalog is what counts; the file is written from it at each start and after each redrive, and appended to in
//! between. Whoever changes either holds the lock, so that they say the same.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use tokio::sync::{Mutex, MutexGuard};

use super::FailedInvocation;
use crate::store::{self, Store, StoreError, io_context};

#[derive(Debug)]
pub(crate) struct FailureFile(Mutex<Lines>);

/// The file, locked.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
}

impl FailureFile {
    /// Writes the file anew from the catalog. Blocking.
    pub(super) fn open(store: &Store) -> Result<Self, StoreError> {
        let lines = Lines { path: store.layout().failed_invocations() };
        lines.rewrite(store)?;
        Ok(Self(Mutex::new(lines)))
    }

    pub(super) async fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().await
    }
}

impl Lines {
    /// Adds one.
    pub(super) fn append(&self, failed: &FailedInvocation) -> Result<(), StoreError> {
        let mut line = serde_json::to_vec(failed)?;
        line.push(b'\n');
        File::options()
            .append(true)
            .create(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(&line))
            .map_err(io_context(format!("appending to {}", self.path.display())))
    }

    /// Makes the file what the catalog says; there is none while nothing has failed.
    pub(super) fn rewrite(&self, store: &Store) -> Result<(), StoreError> {
        let context = || io_context(format!("writing {}", self.path.display()));
        let next = self.path.with_extension("jsonl_next");
        let mut file = BufWriter::new(File::create(&next).map_err(context())?);
        let mut is_empty = true;
        store.read_now(|rows| {
            store::failed(rows, |failed| {
                is_empty = false;
                serde_json::to_writer(&mut file, &failed)?;
                file.write_all(b"\n").map_err(context())
            })
        })?;
        file.flush().map_err(context())?;
        fs::rename(&next, &self.path).map_err(context())?;
        if is_empty { fs::remove_file(&self.path).map_err(context()) } else { Ok(()) }
    }
}
