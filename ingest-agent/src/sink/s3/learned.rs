//! What a store that is not AWS was found to keep, on disk: the file `store` in the sink's folder.
//!
//! Two lines. The first is a JSON object: `version` (1), `endpoint` and `bucket` that were asked, `asked_ms` (when, in
//! milliseconds since the epoch), and what was found: `conditions`, `whole_checksums`, `right_checksums`. The second is
//! the CRC32C of the first without its newline, eight hexadecimal digits. The file is written under another name,
//! synced and renamed, so that a crash leaves the one before or the new one. It saves asking, nothing else: a file that
//! is damaged, of another version, or of another store is as good as none.

use std::io;
use std::path::Path;

use blob_store::Promises;
use durable_channel::disk::{self, Disk, Mode};
use serde::{Deserialize, Serialize};

const FILE: &str = "store";
const VERSION: u32 = 1;
/// More than any file of ours has.
const LARGEST: u64 = 64 << 10;

/// What was found, of which store and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Learned {
    version: u32,
    endpoint: String,
    bucket: String,
    /// When, in milliseconds since the epoch.
    pub(super) asked_ms: u64,
    conditions: bool,
    whole_checksums: bool,
    right_checksums: bool,
}

/// Why a file is as good as none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is damaged")]
    Damaged,
    #[error("it is of version {0}, and this program knows version {VERSION}")]
    Version(u64),
    #[error("it is of the bucket {bucket} at {endpoint}")]
    Elsewhere { endpoint: String, bucket: String },
}

impl Learned {
    pub(super) fn new(endpoint: &str, bucket: &str, asked_ms: u64, found: Promises) -> Self {
        Self {
            version: VERSION,
            endpoint: endpoint.to_owned(),
            bucket: bucket.to_owned(),
            asked_ms,
            conditions: found.conditions,
            whole_checksums: found.whole_checksums,
            right_checksums: found.right_checksums,
        }
    }

    pub(super) fn promises(&self) -> Promises {
        Promises {
            conditions: self.conditions,
            whole_checksums: self.whole_checksums,
            right_checksums: self.right_checksums,
        }
    }

    /// What is known of this store; `None` if there is no file.
    pub(super) fn read(
        disk: &dyn Disk,
        dir: &Path,
        endpoint: &str,
        bucket: &str,
    ) -> Result<Option<Self>, Unusable> {
        let file = match disk.open(&dir.join(FILE), Mode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let size = file.size()?;
        if size > LARGEST {
            return Err(Unusable::Damaged);
        }
        let mut bytes = vec![0; size as usize];
        disk::read_full(&*file, &mut bytes, 0)?;
        let learned = Self::decode(&bytes)?;
        if (learned.endpoint.as_str(), learned.bucket.as_str()) != (endpoint, bucket) {
            return Err(Unusable::Elsewhere { endpoint: learned.endpoint, bucket: learned.bucket });
        }
        Ok(Some(learned))
    }

    /// Writes it in place of what is there.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join(format!("{FILE}.tmp"));
        let file = disk.open(&unfinished, Mode::Create)?;
        disk::write_piece(&*file, &self.encode(), 0)?;
        file.sync()?;
        disk.rename(&unfinished, &dir.join(FILE))?;
        disk.sync_dir(dir)
    }

    fn encode(&self) -> Vec<u8> {
        let line = serde_json::to_string(self).expect("numbers, words and flags are JSON");
        format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes())).into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let text = str::from_utf8(bytes).map_err(|_| Unusable::Damaged)?;
        let (line, sum) =
            text.strip_suffix('\n').and_then(|text| text.split_once('\n')).ok_or(Unusable::Damaged)?;
        if sum != format!("{:08x}", crc32c::crc32c(line.as_bytes())) {
            return Err(Unusable::Damaged);
        }
        // A later version may have other members, or mean others by these.
        let value: serde_json::Value = serde_json::from_str(line).map_err(|_| Unusable::Damaged)?;
        let version = value.get("version").and_then(serde_json::Value::as_u64).ok_or(Unusable::Damaged)?;
        if version != u64::from(VERSION) {
            return Err(Unusable::Version(version));
        }
        serde_json::from_value(value).map_err(|_| Unusable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use durable_channel::sim::SimDisk;

    use super::*;

    /// A file as version 1 writes it.
    const FIXTURE: &str = include_str!("learned/store-v1");
    const ENDPOINT: &str = "http://127.0.0.1:9000";

    fn learned() -> Learned {
        let found = Promises { conditions: true, whole_checksums: false, right_checksums: true };
        Learned::new(ENDPOINT, "events", 1_790_000_000_000, found)
    }

    fn disk() -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/s3")).unwrap();
        disk
    }

    fn read(disk: &SimDisk) -> Result<Option<Learned>, Unusable> {
        Learned::read(disk, Path::new("/s3"), ENDPOINT, "events")
    }

    #[test]
    fn a_file_of_version_1_is_read_and_written_as_it_always_was() {
        assert_eq!(String::from_utf8(learned().encode()).unwrap(), FIXTURE);
        assert_eq!(Learned::decode(FIXTURE.as_bytes()).unwrap(), learned());
    }

    #[test]
    fn a_damaged_byte_a_missing_end_and_another_version_are_as_good_as_none() {
        for at in 0..FIXTURE.len() {
            let mut bytes = FIXTURE.as_bytes().to_vec();
            bytes[at] ^= 0x04;
            assert!(matches!(Learned::decode(&bytes), Err(Unusable::Damaged)), "flipped at {at}");
            assert!(
                matches!(Learned::decode(&FIXTURE.as_bytes()[..at]), Err(Unusable::Damaged)),
                "cut at {at}"
            );
        }
        let later = Learned { version: 2, ..learned() }.encode();
        assert!(matches!(Learned::decode(&later), Err(Unusable::Version(2))));
    }

    #[test]
    fn what_is_known_of_another_store_is_not_believed_of_this_one() {
        let disk = disk();
        assert!(matches!(read(&disk), Ok(None)));
        learned().write(&disk, Path::new("/s3")).unwrap();
        assert_eq!(read(&disk).unwrap(), Some(learned()));
        for (endpoint, bucket) in [("http://127.0.0.1:9001", "events"), (ENDPOINT, "other")] {
            let found = Learned::read(&disk, Path::new("/s3"), endpoint, bucket);
            assert!(matches!(found, Err(Unusable::Elsewhere { .. })), "{endpoint} {bucket}");
        }
    }

    #[test]
    fn a_loss_of_power_while_it_is_written_leaves_the_old_or_the_new() {
        let old = learned();
        let new = Learned { asked_ms: 1_790_000_000_001, conditions: false, ..learned() };
        for step in 0.. {
            let mut whole = false;
            for seed in 0..8 {
                let disk = disk();
                old.write(&disk, Path::new("/s3")).unwrap();
                disk.sync_dir(Path::new("/")).unwrap();
                disk.stop_after(step);
                whole = new.write(&disk, Path::new("/s3")).is_ok();
                let found = read(&disk.power_cut(seed)).unwrap().unwrap();
                assert!(found == new || (found == old && !whole), "after {step} steps: {found:?}");
            }
            if whole {
                return;
            }
        }
    }
}
