//! Damage of the sink's own files, byte by byte, and disks that cannot be read: two things that are never confused.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use blob_store::{FaultPlan, FaultyStore, Lacks, MemoryStore};
use durable_channel::disk::{Disk, DiskFile, Entry, Free, Lock, Mode, OpenDir};
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig, S3SinkError, Seams};
use object_format::Codec;

use super::rig::{Open, Store, audit, config, objects, seams, staging_files, start_as, store};

fn staged() -> S3SinkConfig {
    let mut config = config("%{p}");
    config.control_prefix = None;
    config.journal_bytes = 1 << 14;
    config.codec = Codec::Zstd(1);
    config.upload_concurrency = 1;
    config.roll.events = Some(10);
    config
}

/// Two cuts are sealed, and the first one's object is stored when the process dies.
async fn two_cuts() -> (SimDisk, Store) {
    let (disk, store) = (SimDisk::new(), store());
    let open = Open::on(&disk);
    open.append((0..20).map(|index| ("x", format!("event {index} {}", "x".repeat(30))))).await;
    let points = FailPoints::new(|name| name == "after_put");
    let running = open.start(staged(), &store, points);
    running.flush_or_end().await;
    running.crash().await;
    (disk.restart(), store)
}

/// Starts on what is left: each event once, or the error that stopped it.
async fn outcome(disk: &SimDisk, store: &Store, what: &str) -> Result<(), S3SinkError> {
    let open = Open::on(disk);
    let running = open.start(staged(), store, FailPoints::default());
    running.flush_or_end().await;
    if running.is_finished() {
        return running.ended().await;
    }
    running.stop().await?;
    let objects = objects(store).await;
    let lines = audit(&objects);
    assert_eq!((objects.len(), lines.len(), lines.values().max()), (2, 20, Some(&1)), "{what}");
    Ok(())
}

type Damage = (&'static str, fn(&mut Vec<u8>, usize));

/// What a disk may do to the bytes from a place on.
const DAMAGES: [Damage; 5] = [
    ("flipped", |bytes, at| bytes[at] ^= 0x10),
    ("cut", |bytes, at| bytes.truncate(at)),
    ("zeroed", |bytes, at| {
        let end = bytes.len().min(at + 64);
        bytes[at..end].fill(0);
    }),
    ("recycled", |bytes, at| {
        let end = bytes.len().min(at + 64);
        let older: Vec<u8> = bytes[..end - at].to_vec();
        bytes[at..end].copy_from_slice(&older);
    }),
    ("duplicated", |bytes, at| {
        let end = bytes.len().min(at + 64);
        let again = bytes[at..end].to_vec();
        let length = bytes.len();
        bytes.splice(at..at, again);
        bytes.truncate(length);
    }),
];

#[tokio::test]
async fn damaged_staging_costs_nothing_wherever_it_is_hit() {
    let (disk, _) = two_cuts().await;
    let length = disk.open(&staging_files(&disk)[0], Mode::Read).unwrap().size().unwrap() as usize;
    for (name, damage) in DAMAGES {
        for at in (0..length).step_by(length / 12) {
            let (disk, store) = two_cuts().await;
            let files = staging_files(&disk);
            assert_eq!(files.len(), 1);
            disk.damage(&files[0], |bytes| damage(bytes, at));
            let what = format!("{name} at {at}");
            outcome(&disk, &store, &what).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

#[tokio::test]
async fn rotten_staging_is_never_shipped_where_the_store_checks_no_more_than_parts() {
    for parts in [false, true] {
        let mut config = staged();
        (config.conditional, config.composite) = (Some(true), Some(true));
        (config.put_limit_bytes, config.part_bytes) = if parts { (1, 40) } else { (1 << 20, 40) };
        let lacks = Lacks { whole_checksums: true, ..Lacks::default() };
        let memory = MemoryStore::new("bucket").with_smallest_part(1).lacking(lacks);
        let store = FaultyStore::new(memory, FaultPlan::default());
        let disk = SimDisk::new();
        let open = Open::on(&disk);
        open.append((0..20).map(|index| ("x", format!("event {index} {}", "x".repeat(30))))).await;
        let running = open.start(config.clone(), &store, FailPoints::new(|name| name == "after_seal"));
        running.flush_or_end().await;
        running.crash().await;

        let disk = disk.restart();
        disk.damage(&staging_files(&disk)[0], |bytes| bytes[20] ^= 0x10);
        let open = Open::on(&disk);
        let running = open.start(config, &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        // Each object is what its metadata says: `objects` holds them against it.
        let lines = audit(&objects(&store).await);
        assert_eq!((lines.len(), lines.values().max()), (20, Some(&1)), "in parts: {parts}");
    }
}

#[tokio::test]
async fn a_damaged_journal_is_refused_or_right_and_never_believed() {
    let (disk, _) = two_cuts().await;
    let journal = Path::new("/channel/readers/s3/cuts.b");
    let used = {
        let mut bytes = vec![0; 1 << 14];
        let file = disk.open(journal, Mode::Read).unwrap();
        durable_channel::disk::read_full(&*file, &mut bytes, 0).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1
    };
    let (mut refused, mut right) = (0, 0);
    for (name, damage) in DAMAGES {
        for at in (0..64).step_by(7).chain((4096..used).step_by(11)) {
            let (disk, store) = two_cuts().await;
            disk.damage(journal, |bytes| damage(bytes, at));
            match outcome(&disk, &store, &format!("{name} at {at}")).await {
                Ok(()) => right += 1,
                Err(S3SinkError::Journal(error)) => {
                    let text = error.to_string();
                    assert!(text.contains("cuts."), "{name} at {at}: {text}");
                    refused += 1;
                }
                Err(error) => panic!("{name} at {at}: {error}"),
            }
        }
    }
    assert!(refused > 3 && right > 20, "{refused} refused, {right} right");
}

/// A disk on which files of some name cannot be read.
#[derive(Clone)]
struct Unreadable(SimDisk, &'static str);

struct UnreadableFile(Arc<dyn DiskFile>);

impl Disk for Unreadable {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(dir)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        let readable = !path.to_string_lossy().contains(self.1);
        Ok(if readable { file } else { Arc::new(UnreadableFile(file)) })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn open_dir(&self, dir: &Path) -> io::Result<Arc<dyn OpenDir>> {
        self.0.open_dir(dir)
    }
    fn free(&self, dir: &Path) -> io::Result<Free> {
        self.0.free(dir)
    }
    fn lock(&self, dir: &Path) -> io::Result<Option<Lock>> {
        self.0.lock(dir)
    }
}

impl DiskFile for UnreadableFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::Error::other("the sector cannot be read"))
    }
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_at(slices, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.0.allocate(bytes)
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

#[tokio::test]
async fn staging_and_journal_that_cannot_be_read_stop_the_sink_and_are_as_they_were_afterwards() {
    for name in ["/staging-", "/cuts."] {
        let (disk, store) = two_cuts().await;
        let open = Open::on(&disk);
        let unreadable = Seams { disk: Arc::new(Unreadable(disk.clone(), name)), ..seams(&store) };
        let running = start_as(&open.channel, "s3", staged(), unreadable);
        running.flush_or_end().await;
        let ended = running.ended().await;
        let told = match (&ended, name) {
            (Err(S3SinkError::Io { source, .. }), "/staging-") => source.to_string(),
            (Err(S3SinkError::Journal(error)), "/cuts.") => format!("{error:?}"),
            _ => panic!("{name}: {ended:?}"),
        };
        assert!(told.contains("cannot be read"), "{name}: {told}");
        // The next start reads them: nothing was made again, and nothing given up.
        outcome(&disk.restart(), &store, name).await.unwrap();
    }
}
