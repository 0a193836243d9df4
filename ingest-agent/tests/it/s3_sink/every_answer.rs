//! Every answer to every kind of request, with and without its effect: the outcome is always the same bucket.

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use durable_channel::sim::SimDisk;
use ingest_agent::sink::s3::FailPoints;

use super::rig::{Open, audit, config, objects, store};

/// Answers after which a cut is stored in the end; the status that S3 gives with each is in `blob_store`'s tests.
const KINDS: [ErrorKind; 17] = [
    ErrorKind::AccessDenied,
    ErrorKind::CredentialsExpired,
    ErrorKind::Credentials,
    ErrorKind::NoSuchBucket,
    ErrorKind::NoSuchKey,
    ErrorKind::NoSuchUpload,
    ErrorKind::ConditionalConflict,
    ErrorKind::PreconditionFailed,
    ErrorKind::Throttled,
    ErrorKind::Server,
    ErrorKind::Timeout,
    ErrorKind::Connection,
    ErrorKind::ErrorIn200,
    ErrorKind::NotS3,
    ErrorKind::ChecksumMismatch,
    ErrorKind::Body,
    ErrorKind::Unsupported,
];

/// A plan by which `operation` is asked, and answers with `fault`.
fn plan(operation: Operation, fault: Fault) -> FaultPlan {
    let plan = FaultPlan::default();
    let plan = match operation {
        // A look follows a put whose answer was lost, an abort a completion that came to nothing.
        Operation::Head => plan.script(Operation::Put, [Some(Fault::After(ErrorKind::Timeout))]),
        Operation::AbortUpload => {
            plan.script(Operation::CompleteUpload, [Some(Fault::Before(ErrorKind::NoSuchUpload))])
        }
        _ => plan,
    };
    plan.script(operation, [Some(fault)])
}

async fn verdict(operation: Operation, fault: Fault) {
    let (disk, store) = (SimDisk::new(), store());
    let open = Open::on(&disk);
    open.append((0..20).map(|index| ("", format!("event {index}")))).await;
    let mut config = config("");
    config.journal_bytes = 1 << 16;
    config.control_prefix = None;
    if !matches!(operation, Operation::Put | Operation::Head) {
        (config.put_limit_bytes, config.part_bytes) = (1, 50);
    }
    store.set_plan(plan(operation, fault));
    let running = open.start(config.clone(), &store, FailPoints::default());
    running.flush().await;
    let totals = running.metrics.totals();
    assert_eq!((totals.settled, totals.shipped), (20, 20), "{operation:?} {fault:?}: I9");
    running.stop().await.unwrap();
    assert!(store.injected() >= 1, "{operation:?} {fault:?}: it was asked");

    // What could not be aborted is the next start's.
    let open = Open::on(&disk.restart());
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let objects = objects(&store).await;
    let lines = audit(&objects);
    let once = lines.values().all(|times| *times == 1);
    assert!(objects.len() == 1 && lines.len() == 20 && once, "{operation:?} {fault:?}: I5, {lines:?}");
    assert_eq!(store.inner().contents().len(), 1, "{operation:?} {fault:?}: nothing else");
    assert_eq!(store.inner().list_uploads("").await.unwrap(), [], "{operation:?} {fault:?}");
}

#[tokio::test]
async fn every_answer_to_every_request_leaves_one_object_a_cut() {
    for operation in [
        Operation::Put,
        Operation::Head,
        Operation::CreateUpload,
        Operation::UploadPart,
        Operation::CompleteUpload,
        Operation::AbortUpload,
        Operation::ListUploads,
    ] {
        for kind in KINDS {
            verdict(operation, Fault::Before(kind)).await;
            verdict(operation, Fault::After(kind)).await;
        }
    }
    // A refusal for good of what was stored all the same is found by the look before anything is set aside.
    for operation in [Operation::Put, Operation::CompleteUpload] {
        verdict(operation, Fault::After(ErrorKind::NeverValid)).await;
    }
}
