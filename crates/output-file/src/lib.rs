//! A file that one program appends to, and what others did to it meanwhile.
//!
//! An open file outlives its name: after somebody deleted, renamed or replaced it, writes go on to succeed and reach
//! nobody. A truncated one takes them at its new end. So whoever is about to commit "this file holds so many bytes"
//! asks first whether the file is still the one under its name, and as long as it was left: [`OutputFile::check`].
//!
//! Found is what changes the device, the inode or the length. Not found is what an outsider writes over bytes
//! within the length, or truncates and fills up again to the very same length.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that is open for appending. It knows where its own writes ended.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
    end: u64,
}

/// What an outsider did to the file. Nothing that was appended since may be taken for written.
#[derive(Debug, thiserror::Error)]
pub enum Disturbed {
    /// Nothing is under its name any more.
    #[error("{} was deleted or renamed by somebody else", .0.display())]
    Gone(PathBuf),
    /// Another file is under its name.
    #[error("{} was replaced by somebody else: another file lies there now", .0.display())]
    Replaced(PathBuf),
    /// It ends before the last byte that was written to it.
    #[error("{} was truncated by somebody else: it holds {found} bytes instead of {expected}", path.display())]
    Shorter {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        found: u64,
        /// Bytes that should be in it.
        expected: u64,
    },
    /// It goes on after the last byte that was written to it.
    #[error("{} was written to by somebody else: it holds {found} bytes instead of {expected}", path.display())]
    Longer {
        /// The file.
        path: PathBuf,
        /// Bytes in it.
        found: u64,
        /// Bytes that should be in it.
        expected: u64,
    },
    /// The system does not let us look.
    #[error("looking at {}: {source}", path.display())]
    Unseen {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OutputFile {
    /// Opens the file for appending, and makes it where absent; its name is synced. The path may be a link: it is the
    /// link that must go on leading to this file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        if let Some(folder) = path.canonicalize()?.parent() {
            File::open(folder)?.sync_all()?;
        }
        let end = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, end })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes, as found when it was opened and changed by this program since.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// When the file was made, where the file system knows.
    pub fn made(&self) -> Option<SystemTime> {
        self.file.metadata().and_then(|about| about.created()).ok()
    }

    /// Writes `bytes` at the file's end. After an error a part of them may be there; [`end`](Self::end) counts it.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.end += written as u64;
                    bytes = &bytes[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Brings what was written to the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether the file is still the one under its name, and as long as this program left it. Two system calls.
    pub fn check(&self) -> Result<(), Disturbed> {
        let named = match std::fs::metadata(&self.path) {
            Ok(named) => named,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Disturbed::Gone(self.path.clone()));
            }
            Err(source) => return Err(self.unseen(source)),
        };
        let open = self.about()?;
        if (named.dev(), named.ino()) != (open.dev(), open.ino()) {
            return Err(Disturbed::Replaced(self.path.clone()));
        }
        self.compare(open.len(), self.end)
    }

    /// Takes back what this program wrote beyond `length`. A file that ends elsewhere than it was left is not touched:
    /// a cut would take an outsider's bytes, or fill the place of lost ones with zeros.
    pub fn cut_back(&mut self, length: u64) -> Result<(), Disturbed> {
        let found = self.about()?.len();
        if found != length {
            self.compare(found, self.end.max(length))?;
            self.file.set_len(length).map_err(|source| self.unseen(source))?;
        }
        self.end = length;
        Ok(())
    }

    fn about(&self) -> Result<Metadata, Disturbed> {
        self.file.metadata().map_err(|source| self.unseen(source))
    }

    fn compare(&self, found: u64, expected: u64) -> Result<(), Disturbed> {
        let path = || self.path.clone();
        match found.cmp(&expected) {
            std::cmp::Ordering::Less => Err(Disturbed::Shorter { path: path(), found, expected }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Disturbed::Longer { path: path(), found, expected }),
        }
    }

    fn unseen(&self, source: io::Error) -> Disturbed {
        Disturbed::Unseen { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn written() -> (TempDir, PathBuf, OutputFile) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("out");
        let mut file = OutputFile::open(&path).unwrap();
        file.append(b"12345").unwrap();
        file.sync().unwrap();
        file.check().unwrap();
        (dir, path, file)
    }

    #[test]
    fn a_file_that_was_deleted_renamed_or_replaced_is_found_and_put_back_it_is_itself_again() {
        let (dir, path, file) = written();
        let aside = dir.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Gone(_))));
        // Of the very same length and content.
        fs::copy(&aside, &path).unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Replaced(_))));
        fs::rename(&aside, &path).unwrap();
        file.check().unwrap();
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Gone(_))));
    }

    #[test]
    fn a_link_must_go_on_leading_to_the_file() {
        let dir = TempDir::new().unwrap();
        let [link, one, other] = ["link", "one", "other"].map(|name| dir.path().join(name));
        for path in [&one, &other] {
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(&one, &link).unwrap();
        let file = OutputFile::open(&link).unwrap();
        file.check().unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Replaced(_))));
        fs::remove_file(&other).unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Gone(_))), "a link that leads nowhere");
    }

    #[test]
    fn a_file_that_was_truncated_or_written_to_is_found() {
        let (_dir, path, file) = written();
        fs::write(&path, "123").unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Shorter { found: 3, expected: 5, .. })));
        fs::write(&path, "1234567").unwrap();
        assert!(matches!(file.check(), Err(Disturbed::Longer { found: 7, expected: 5, .. })));
        fs::write(&path, "12345").unwrap();
        file.check().unwrap();
    }

    #[test]
    fn what_was_written_is_taken_back_and_nothing_else_is_ever_cut_or_filled_with_zeros() {
        let (_dir, path, mut file) = written();
        file.append(b"678").unwrap();
        file.cut_back(5).unwrap();
        assert_eq!((fs::read(&path).unwrap(), file.end()), (b"12345".to_vec(), 5));

        file.append(b"678").unwrap();
        fs::write(&path, "123").unwrap();
        assert!(matches!(file.cut_back(5), Err(Disturbed::Shorter { found: 3, .. })));
        assert_eq!(fs::read(&path).unwrap(), b"123");
        fs::write(&path, "12345678 and theirs").unwrap();
        assert!(matches!(file.cut_back(5), Err(Disturbed::Longer { found: 19, .. })));
        // Whoever puts it back without what was to be taken back has done that already.
        fs::write(&path, "12345").unwrap();
        file.cut_back(5).unwrap();
        file.check().unwrap();
    }
}
