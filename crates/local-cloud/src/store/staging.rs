//! Bytes on their way in: written and hashed as they come, never held whole.

use std::fs::File;
use std::io::{self, Read, Write};

use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc64Nvme, Md5, Sha1, Sha256};

use super::{Checksums, Layout, StoreError, io_context, random_name, remove_if_there};

/// How much is in memory while a file is read back.
const COPY_BYTES: usize = 256 * 1024;

/// What is computed over the bytes besides CRC32C, which always is (it is nearly free).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashes {
    pub(crate) md5: bool,
    pub(crate) crc32: bool,
    pub(crate) crc64nvme: bool,
    pub(crate) sha1: bool,
    pub(crate) sha256: bool,
}

/// A staged file that is being written. Dropped without [`finish`](Self::finish), the file is removed.
pub(crate) struct StagedFile {
    file: File,
    staged: Staged,
    md5: Option<Md5>,
    others: ChecksumHasher,
    sync: bool,
}

/// A staged file, complete and synced. Dropped before the writer took it over, the file is removed.
#[derive(Debug)]
pub(crate) struct Staged {
    layout: Layout,
    blob: String,
    taken_over: bool,
    pub(crate) size: u64,
    pub(crate) crc32c: u32,
    /// Present if [`Hashes::md5`] was asked for.
    pub(crate) md5: Option<[u8; 16]>,
    /// CRC32C and those that were asked for.
    pub(crate) checksums: Checksums,
}

impl StagedFile {
    pub(super) fn create(layout: &Layout, hashes: Hashes, sync: bool) -> Result<Self, StoreError> {
        let blob = random_name();
        let path = layout.staged(&blob);
        // Readable too, because a completed upload may have to be read once more for its checksum.
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(io_context(format!("creating {}", path.display())))?;
        let staged = Staged {
            layout: layout.clone(),
            blob,
            taken_over: false,
            size: 0,
            crc32c: 0,
            md5: None,
            checksums: Checksums::default(),
        };
        let md5 = hashes.md5.then(Md5::new);
        Ok(Self { file, staged, md5, others: hasher(hashes), sync })
    }

    /// Appends bytes and hashes them.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.staged.crc32c = crc32c::crc32c_append(self.staged.crc32c, bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.others.update(bytes);
        self.staged.size += bytes.len() as u64;
        self.file.write_all(bytes).map_err(io_context("writing to a staged file"))
    }

    /// Appends another file's bytes.
    pub(crate) fn write_all_of(&mut self, mut source: File) -> Result<(), StoreError> {
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match source.read(&mut buffer).map_err(io_context("reading what is copied"))? {
                0 => return Ok(()),
                read => self.write(&buffer[..read])?,
            }
        }
    }

    /// Appends a part of which size and CRC32C are known, in the kernel where the file system can.
    pub(super) fn append_part(&mut self, blob: &str, size: u64, crc32c: u32) -> Result<(), StoreError> {
        let path = self.staged.layout.staged(blob);
        let copied = File::open(&path)
            .and_then(|mut part| io::copy(&mut part, &mut self.file))
            .map_err(io_context(format!("appending the part {}", path.display())))?;
        if copied != size {
            return Err(StoreError::Io {
                what: format!(
                    "appending the part {}: it has {copied} bytes instead of {size}",
                    path.display()
                ),
                source: io::ErrorKind::InvalidData.into(),
            });
        }
        let length = usize::try_from(size).expect("a part's size fits an address on a 64-bit system");
        self.staged.crc32c = crc32c::crc32c_combine(self.staged.crc32c, crc32c, length);
        self.staged.size += size;
        Ok(())
    }

    /// Hashes what [`append_part`](Self::append_part) copied unseen, if a checksum was asked for.
    pub(super) fn hash_copied(&mut self, hashes: Hashes) -> Result<(), StoreError> {
        if !(hashes.crc32 || hashes.crc64nvme || hashes.sha1 || hashes.sha256) {
            return Ok(());
        }
        let mut file = File::open(self.staged.layout.staged(&self.staged.blob))
            .map_err(io_context("reading a staged file back"))?;
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            match file.read(&mut buffer).map_err(io_context("reading a staged file back"))? {
                0 => return Ok(()),
                read => self.others.update(&buffer[..read]),
            }
        }
    }

    /// Syncs the bytes; the file's name is synced by the writer, once for a whole group.
    pub(crate) fn finish(mut self) -> Result<Staged, StoreError> {
        if self.sync {
            self.file.sync_data().map_err(io_context("syncing a staged file"))?;
        }
        let others = self.others.finalize();
        self.staged.md5 = self.md5.map(Md5::finalize);
        self.staged.checksums = Checksums {
            crc32c: Some(crc32c_text(self.staged.crc32c)),
            crc32: others.checksum_crc32,
            crc64nvme: others.checksum_crc64nvme,
            sha1: others.checksum_sha1,
            sha256: others.checksum_sha256,
        };
        Ok(self.staged)
    }
}

impl Staged {
    pub(super) fn blob(&self) -> &str {
        &self.blob
    }

    /// From here on the catalog owns the file.
    pub(super) fn take_over(mut self) {
        self.taken_over = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.taken_over
            && let Err(error) = remove_if_there(&self.layout.staged(&self.blob))
        {
            tracing::warn!(blob = self.blob, %error, "removing a staged file failed; the next start removes it");
        }
    }
}

/// CRC32C as S3 writes it: base64 of the big-endian bytes.
pub(crate) fn crc32c_text(crc: u32) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    BASE64_STANDARD.encode(crc.to_be_bytes())
}

fn hasher(hashes: Hashes) -> ChecksumHasher {
    ChecksumHasher {
        crc32: hashes.crc32.then(Crc32::new),
        crc32c: None,
        sha1: hashes.sha1.then(Sha1::new),
        sha256: hashes.sha256.then(Sha256::new),
        crc64nvme: hashes.crc64nvme.then(Crc64Nvme::new),
    }
}
