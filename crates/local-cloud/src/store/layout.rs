//! Where things lie in the cloud's folder, and which file an object gets.
//!
//! An object's file is `<bucket>/<key>`, so that people find it. A key gets `<bucket>/%/<SHA-256 of the key, hex>`
//! instead when it cannot be a path of its own:
//! - a part of it is empty, `.`, `..`, longer than 255 bytes, or holds a zero byte; or its first part is `%`;
//! - a part before its last names an object (`a` is there when `a/b` comes), or something else is in its place
//!   (`a/b` is there when `a` comes; a file that a person put there; on a system that folds case, `A`).
//!
//! An object keeps its file for as long as it exists. The catalog knows key and file: nothing is parsed back.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{StoreError, catalog, io_context};

/// The folder of files whose keys cannot be paths; no part of a plain path starts a key with it.
const ODD_KEYS: &str = "%";

/// The longest file name that common file systems take, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The paths of one cloud's folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    hidden: PathBuf,
    staging: PathBuf,
}

impl Layout {
    /// Makes the folders and takes the lock, held as long as the files are open: one cloud at a time serves a folder. The
    /// folder is locked with the file in it, so that whoever deletes that lets no second one in.
    pub(super) fn create(dir: &Path) -> Result<(Self, [fs::File; 2]), StoreError> {
        let hidden = dir.join(".cloud");
        let staging = hidden.join("staging");
        fs::create_dir_all(&staging)
            .map_err(io_context(format!("making the folder {}", staging.display())))?;
        let lock_path = hidden.join("lock");
        let lock = fs::File::create(&lock_path)
            .map_err(io_context(format!("opening the lock {}", lock_path.display())))?;
        let folder = fs::File::open(&hidden)
            .map_err(io_context(format!("opening the folder {}", hidden.display())))?;
        for lock in [&folder, &lock] {
            lock.try_lock().map_err(|error| StoreError::Io {
                what: format!("locking {}: another process may serve this folder", dir.display()),
                source: error.into(),
            })?;
        }
        Ok((Self { dir: dir.to_owned(), hidden, staging }, [folder, lock]))
    }

    pub(crate) fn failed_invocations(&self) -> PathBuf {
        // No bucket can have this name: bucket names have no underscore.
        self.dir.join("failed_invocations.jsonl")
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.hidden.join("catalog.sqlite")
    }

    pub(super) fn staging(&self) -> &Path {
        &self.staging
    }

    pub(super) fn staged(&self, blob: &str) -> PathBuf {
        self.staging.join(blob)
    }

    pub(super) fn bucket(&self, bucket: &str) -> PathBuf {
        self.dir.join(bucket)
    }

    pub(super) fn visible(&self, bucket: &str, path: &str) -> PathBuf {
        self.dir.join(bucket).join(path)
    }

    /// Chooses the file of a key that has no object yet and makes the folders above it.
    pub(super) fn place(
        &self,
        connection: &Connection,
        bucket: &str,
        key: &str,
    ) -> Result<String, StoreError> {
        if is_plain(key) && !has_object_above(connection, bucket, key)? {
            let file = self.visible(bucket, key);
            let folder = file.parent().expect("an object's file is below its bucket's folder");
            if fs::create_dir_all(folder).is_ok() && file.symlink_metadata().is_err() {
                return Ok(key.to_owned());
            }
        }
        let path = format!("{ODD_KEYS}/{}", hex::encode(Sha256::digest(key)));
        let folder = self.visible(bucket, ODD_KEYS);
        fs::create_dir_all(&folder).map_err(io_context(format!("making the folder {}", folder.display())))?;
        Ok(path)
    }

    /// Removes the folders that an object's removal left empty, up to its bucket's.
    pub(super) fn prune(&self, bucket: &str, path: &str) {
        for above in Path::new(path).ancestors().skip(1) {
            // The first folder that is not empty, or is not ours to remove, ends the walk.
            if above.as_os_str().is_empty() || fs::remove_dir(self.bucket(bucket).join(above)).is_err() {
                break;
            }
        }
    }
}

/// Whether every part of a key can be a file's name.
fn is_plain(key: &str) -> bool {
    key.split('/').next() != Some(ODD_KEYS)
        && key.split('/').all(|part| {
            !matches!(part, "" | "." | "..") && part.len() <= MAX_NAME_BYTES && !part.contains('\0')
        })
}

/// Whether a folder that this key needs is an object's file, written or about to be.
fn has_object_above(connection: &Connection, bucket: &str, key: &str) -> Result<bool, StoreError> {
    for (at, _) in key.match_indices('/') {
        if catalog::has_path(connection, bucket, &key[..at])? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn only_keys_whose_every_part_can_be_a_file_name_are_paths() {
        for key in ["a", "a/b.json", "%25/..a/ü", " ", "a/%"] {
            assert!(is_plain(key), "{key:?}");
        }
        let long = "x".repeat(256);
        for key in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "%", "%/a", "a\0", &long] {
            assert!(!is_plain(key), "{key:?}");
        }
    }
}
