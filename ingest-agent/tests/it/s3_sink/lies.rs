//! A store that lies, through the whole sink: any wrong answer to any request. No lie makes an event count as stored, none
//! stays unsaid, and once the truth is told again every event is stored once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, Body, Credentials, Lie, LyingStore, Operation, S3Options, S3Store, Wrong, lies};
use contract::ObjectMetadata;
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::{Buckets, FailPoints, S3SinkConfig, Seams};
use local_cloud::{CloudOptions, LocalCloud};

use super::rig::{Found, Open, Running, audit, config, until};

const EVENTS: usize = 20;
const ERROR: [(&str, &str); 1] = [("content-type", "application/xml")];

/// A store that tells the truth, and one before it that lies.
struct Site {
    lying: LyingStore,
    /// The way by which the sink comes.
    lied_to: S3Store,
    truth: S3Store,
    cloud: LocalCloud,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path()) };
        let cloud = LocalCloud::start(options).await.unwrap();
        cloud.create_bucket("bucket").await.unwrap();
        let lying = LyingStore::before(&cloud.s3_url()).await.unwrap();
        let lied_to = connect(lying.url(), Duration::from_millis(300)).await;
        let truth = connect(&cloud.s3_url(), Duration::from_secs(30)).await;
        Self { lying, lied_to, truth, cloud, _dir: dir }
    }

    fn seams(&self, points: FailPoints) -> Seams {
        let store = self.lied_to.clone();
        let buckets: Buckets = Arc::new(move |_| Arc::new(store.clone()) as Arc<dyn BlobStore>);
        Seams { points, ..Seams::new(buckets) }
    }

    /// Every object below `prefix`; each is what its metadata says.
    async fn objects(&self, prefix: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for listed in self.truth.list(prefix, None, 1000).await.unwrap().objects {
            let object = self.truth.get(&listed.key, None, None).await.unwrap();
            let info = object.info;
            let bytes = Body::from_stream(listed.length, object.body).collect().await.unwrap();
            let metadata =
                ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str)).unwrap();
            assert_eq!((metadata.length, metadata.crc32c), (bytes.len() as u64, crc32c::crc32c(&bytes)));
            let lines = str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect();
            let content_encoding = info.content_encoding;
            found.push(Found { key: listed.key, metadata, content_encoding, lines, bytes: bytes.len() });
        }
        found.sort_by_key(|found| found.metadata.cut.number);
        found
    }

    async fn lines(&self, prefix: &str) -> BTreeMap<String, usize> {
        audit(&self.objects(prefix).await)
    }
}

async fn connect(url: &str, patience: Duration) -> S3Store {
    let options = S3Options {
        endpoint: Some(url.to_owned()),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: "local".into(),
            secret_access_key: "local-secret".into(),
            session_token: None,
        },
        operation_timeout: patience,
        complete_timeout: patience,
        ..S3Options::new("bucket")
    };
    S3Store::connect(options).await.unwrap()
}

/// Whatever lasts is soon an alarm.
fn told_soon(prefix: &str) -> S3SinkConfig {
    let mut config = config("");
    config.journal_bytes = 1 << 16;
    config.control_prefix = None;
    config.alarm_after = Duration::from_millis(20);
    config.prefix = format!("{prefix}/logs/");
    config
}

fn answer(status: u16, xml: &'static str) -> Lie {
    Lie { name: "scripted", heard: false, answer: Wrong::Instead(status, ERROR.to_vec(), xml) }
}

/// Sees to it that `operation` is asked.
fn provoke(site: &Site, operation: Operation, prefix: &str) {
    match operation {
        // A look follows a put whose answer was lost; so does the reading of a claim.
        Operation::Head | Operation::Get => {
            let lost = Lie { name: "lost", heard: true, answer: Wrong::Nothing };
            site.lying.tell(Operation::Put, prefix, lost, 1);
        }
        Operation::AbortUpload => {
            let gone = answer(404, "<Error><Code>NoSuchUpload</Code></Error>");
            site.lying.tell(Operation::CompleteUpload, prefix, gone, 1);
        }
        _ => {}
    }
}

async fn flushed(running: &Running, meanwhile: impl Future<Output = ()>) -> bool {
    tokio::select! {
        _ = running.flush() => true,
        () = meanwhile => false,
    }
}

async fn verdict(site: &Site, operation: Operation, lie: Lie, prefix: &str) {
    let what = format!("{operation:?}: {}, heard: {}", lie.name, lie.heard);
    let mut config = told_soon(prefix);
    let mut about = config.prefix.clone();
    match operation {
        Operation::Put | Operation::Head => {}
        Operation::Get => {
            about = format!("{prefix}/control/");
            config.control_prefix = Some(about.clone());
        }
        // One part: every other one would have to be 5 MiB.
        _ => config.put_limit_bytes = 1,
    }
    provoke(site, operation, &about);
    let scripted = site.lying.told();
    site.lying.tell(operation, &about, lie, u64::MAX);

    let disk = SimDisk::new();
    let open = Open::on(&disk);
    open.append((0..EVENTS).map(|index| ("", format!("event {index}")))).await;
    let running = open.start_as("s3", config.clone(), site.seams(FailPoints::default()));
    let told = || site.lying.told() - scripted;
    // Until it is done all the same, or somebody has been called.
    let metrics = Arc::clone(&running.metrics);
    let done = flushed(&running, until(|| told() >= 3 && metrics.alarm.get() > 0)).await;
    assert!(told() >= 1, "{what}: it was told");
    let settled = metrics.totals().settled;
    if settled > 0 {
        assert_eq!(
            site.lines(&config.prefix).await.len(),
            EVENTS,
            "{what}: it counts as stored, so it is there"
        );
    }
    assert!(!done || settled == EVENTS as u64, "{what}: I9");
    assert!(!running.is_finished(), "{what}: no lie stops the sink");

    site.lying.repent();
    running.flush().await;
    assert_eq!(metrics.alarm.get(), 0, "{what}: the alarm ends with the trouble");
    let totals = metrics.totals();
    assert_eq!((totals.shipped, totals.dead_lettered), (EVENTS as u64, 0), "{what}: I9");
    running.stop().await.unwrap();

    // What could not be aborted is the next start's.
    let open = Open::on(&disk.restart());
    let running = open.start_as("s3", config.clone(), site.seams(FailPoints::default()));
    running.flush().await;
    running.stop().await.unwrap();
    let lines = site.lines(&config.prefix).await;
    assert!(lines.len() == EVENTS && lines.values().all(|times| *times == 1), "{what}: {lines:?}");
    assert_eq!(site.truth.list_uploads(&config.prefix).await.unwrap(), [], "{what}");
}

async fn no_lie_is_believed(operation: Operation) {
    let site = Site::open().await;
    let all = lies(operation);
    assert!(all.len() > 30);
    for (index, lie) in all.into_iter().enumerate() {
        verdict(&site, operation, lie, &format!("{operation:?}-{index}")).await;
    }
    site.cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_put_is_believed_or_silent() {
    no_lie_is_believed(Operation::Put).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_look_is_believed_or_silent() {
    no_lie_is_believed(Operation::Head).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_the_beginning_of_an_upload_is_believed_or_silent() {
    no_lie_is_believed(Operation::CreateUpload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_part_is_believed_or_silent() {
    no_lie_is_believed(Operation::UploadPart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_completion_is_believed_or_silent() {
    no_lie_is_believed(Operation::CompleteUpload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_leftovers_is_believed_or_silent() {
    no_lie_is_believed(Operation::AbortUpload).await;
    no_lie_is_believed(Operation::ListUploads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_claim_makes_the_channel_a_copy() {
    no_lie_is_believed(Operation::Get).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_refuses_of_one_object_is_set_aside_and_what_it_refuses_of_all_is_a_standstill() {
    let refused =
        || answer(400, "<Error><Code>InvalidArgument</Code><Message>x-amz-checksum</Message></Error>");
    let site = Site::open().await;
    for (parts, operation) in
        [(false, Operation::Put), (true, Operation::CreateUpload), (true, Operation::CompleteUpload)]
    {
        for (all, control) in [(false, true), (true, true), (false, false)] {
            let prefix = format!("{operation:?}-{all}-{control}");
            let mut config = told_soon(&prefix);
            config.alarm_after = Duration::from_secs(3600);
            config.control_prefix = control.then(|| format!("{prefix}/control/"));
            if parts {
                config.put_limit_bytes = 1;
            }
            site.lying.tell(operation, &config.prefix, refused(), u64::MAX);
            if all {
                site.lying.tell(operation, &format!("{prefix}/control/trials"), refused(), u64::MAX);
            }
            let disk = SimDisk::new();
            let open = Open::on(&disk);
            open.append((0..EVENTS).map(|index| ("", format!("event {index}")))).await;
            let running = open.start_as("s3", config.clone(), site.seams(FailPoints::default()));
            let metrics = Arc::clone(&running.metrics);
            let dead = flushed(&running, until(|| metrics.retries.get() >= 5)).await;
            let what = format!("{operation:?}, all: {all}, control: {control}");
            // Without a place to try it cannot be told, and then nothing is given up.
            assert_eq!(dead, !all && control, "{what}");
            if !dead {
                assert_eq!((metrics.alarm.get(), metrics.cuts_dead.get()), (1, 0), "{what}");
                site.lying.repent();
                running.flush().await;
                assert_eq!(metrics.alarm.get(), 0, "{what}");
            }
            let totals = metrics.totals();
            let expected = if dead { (0, EVENTS as u64) } else { (EVENTS as u64, 0) };
            assert_eq!((totals.shipped, totals.dead_lettered), expected, "{what}");
            running.stop().await.unwrap();
            site.lying.repent();
            let tried = site.truth.list(&format!("{prefix}/control/trials"), None, 9).await.unwrap();
            assert_eq!(tried.objects, [], "{what}: the trial is removed again");
        }
    }
    site.cloud.shutdown().await;
}
