//! A crash between every two steps, by name, and whatever can be different at the next start.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::disk::Disk as _;
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::partition::{self, PartitionOptions, PartitionTemplate};
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig, Seams};
use object_format::{Codec, Compressor};

use super::rig::{Open, Store, audit, config, objects, seams, staging_files, store};

/// What is different at the start after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Template,
    TimeZone,
    CodecLevel,
    /// Staging is lost, and what is made again is made by another version of the compression library.
    Library,
    StagingLost,
}

const AFTERS: [After; 6] =
    [After::Nothing, After::Template, After::TimeZone, After::CodecLevel, After::Library, After::StagingLost];

/// One crash: at which point, met for the how-manieth time, with objects in parts or in one put, and what then.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: &'static str,
    time: u64,
    parts: bool,
    after: After,
}

/// Two partitions by event time, compressed, in objects of a few parts each.
fn configured(parts: bool, template: &str, zone: &str, level: i32) -> S3SinkConfig {
    let options = PartitionOptions { time_zone: partition::time_zone(zone).unwrap(), ..Default::default() };
    let mut config = config("");
    config.partition = PartitionTemplate::parse(template, options).unwrap();
    config.codec = Codec::Zstd(level);
    config.roll.events = Some(10);
    config.journal_bytes = 1 << 16;
    (config.put_limit_bytes, config.part_bytes) = if parts { (1, 60) } else { (1 << 20, 60) };
    config
}

/// Another version of the library: the same codec, other bytes.
fn other_library(codec: Codec) -> io::Result<Compressor> {
    match codec {
        Codec::Zstd(_) => Codec::Zstd(-7).compressor(),
        other => other.compressor(),
    }
}

impl Case {
    /// What the store does before the crash, so that the point is met at all.
    fn plan(self) -> FaultPlan {
        let (create, complete, put) = (Operation::CreateUpload, Operation::CompleteUpload, Operation::Put);
        let plan = FaultPlan::default();
        match self.point {
            "after_look" if self.parts => plan.script(complete, [Some(Fault::After(ErrorKind::Timeout))]),
            // The first put is the claim.
            "after_look" => plan.script(put, [None, Some(Fault::After(ErrorKind::Timeout))]),
            "before_abort" | "after_abort" => {
                plan.script(complete, [Some(Fault::Before(ErrorKind::Timeout))])
            }
            "before_keep" if self.parts => plan.script(create, [Some(Fault::Before(ErrorKind::NeverValid))]),
            "before_keep" => plan.script(put, [None, Some(Fault::Before(ErrorKind::NeverValid))]),
            _ => plan,
        }
    }

    /// Whether such an object meets the point.
    fn is_met(self) -> bool {
        match self.point {
            "before_put" | "after_put" => !self.parts,
            point if point.contains("create") || point.contains("part") || point.contains("complete") => {
                self.parts
            }
            "after_upload_recorded" | "before_abort" | "after_abort" => self.parts,
            _ => true,
        }
    }

    /// Whether a cut is sealed when the point is met.
    fn is_sealed(self) -> bool {
        let place = |name| FailPoints::ALL.iter().position(|point| *point == name);
        place(self.point) >= place("after_seal")
    }

    fn stop_at(point: &'static str, time: u64) -> (FailPoints, Arc<AtomicU64>) {
        let met = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&met);
        let stop = move |name| name == point && count.fetch_add(1, Ordering::SeqCst) + 1 == time;
        (FailPoints::new(stop), met)
    }

    async fn run(self) {
        let (disk, store) = (SimDisk::new(), store());
        let open = Open::on(&disk);
        let bodies: Vec<String> = (0..20).map(|index| format!("event {index} {}", "x".repeat(60))).collect();
        open.append(bodies.iter().map(|body| ("x", body.clone()))).await;
        let before = configured(self.parts, "before/%{p}/%Y-%m-%d-%H", "UTC", 1);

        let mut disk = disk;
        let mut open = open;
        if self.point.ends_with("_attempt") {
            // Bytes are made again only where they were lost after a seal.
            let (points, _) = Self::stop_at("after_seal", 1);
            crash(&open, before.clone(), Seams { points, ..seams(&store) }).await;
            lose_staging(&disk);
            (disk, open) = restart(&disk);
        }
        store.set_plan(self.plan());
        let (points, met) = Self::stop_at(self.point, self.time);
        crash(&open, before.clone(), Seams { points, ..seams(&store) }).await;
        assert!(met.load(Ordering::SeqCst) >= self.time, "{self:?} was never met");
        store.set_plan(FaultPlan::default());
        if matches!(self.after, After::Library | After::StagingLost) {
            lose_staging(&disk);
        }
        let (_, open) = restart(&disk);

        let template = ["before/%{p}/%Y-%m-%d-%H", "quite/different/%Y"];
        let after = match self.after {
            After::Template => configured(self.parts, template[1], "UTC", 1),
            After::TimeZone => configured(self.parts, template[0], "Asia/Tokyo", 1),
            After::CodecLevel => configured(self.parts, template[0], "UTC", 9),
            After::Nothing | After::Library | After::StagingLost => before,
        };
        let mut seams = seams(&store);
        if self.after == After::Library {
            seams.compressors = other_library;
        }
        let running = open.start_as("s3", after, seams);
        running.flush().await;
        assert_eq!(running.metrics.totals().settled, 20, "I9 {self:?}");
        running.stop().await.unwrap();
        self.verdict(&store, &bodies).await;
    }

    /// One object a cut, each position once, nothing else in the bucket, no upload left.
    async fn verdict(self, store: &Store, bodies: &[String]) {
        let objects = objects(store).await;
        let lines = audit(&objects);
        assert!(bodies.iter().all(|body| lines.get(body) == Some(&1)), "{self:?}: {lines:?}");
        assert_eq!((lines.len(), objects.len()), (20, 2), "{self:?}: nothing unknown");
        assert_eq!(store.inner().list_uploads("").await.unwrap(), [], "{self:?}");
        let claims = store.inner().contents().len() - objects.len();
        assert!(claims <= 3, "{self:?}: nothing but a claim for each start is beside them");
        if self.is_sealed() {
            assert!(objects[0].key.starts_with("logs/before/x/"), "I4 {self:?}: {}", objects[0].key);
        }
    }
}

/// Runs the sink until the crash, which must come.
async fn crash(open: &Open, config: S3SinkConfig, seams: Seams) {
    let running = open.start_as("s3", config, seams);
    running.flush_or_end().await;
    running.crash().await;
}

/// The next process on the same disk.
fn restart(disk: &SimDisk) -> (SimDisk, Open) {
    let disk = disk.restart();
    let open = Open::on(&disk);
    (disk, open)
}

fn lose_staging(disk: &SimDisk) {
    for path in staging_files(disk) {
        disk.remove(&path).unwrap();
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_one_object_a_cut() {
    for point in FailPoints::ALL {
        for parts in [false, true] {
            // Each part of the first object, and the first of the second.
            let times = if point.ends_with("_part") { 1..4 } else { 1..2 };
            for time in times {
                for after in AFTERS {
                    let case = Case { point, time, parts, after };
                    if case.is_met() {
                        case.run().await;
                    }
                }
            }
        }
    }
}
