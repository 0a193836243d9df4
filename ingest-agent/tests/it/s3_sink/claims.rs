//! Copies of a channel's folder, and stores that do not let a claim be made.

use std::path::Path;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use ingest_agent::sink::s3::{FailPoints, S3SinkError};

use super::rig::{CONTROL, Open, audit, config, objects, store};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_of_a_channel_refuses_to_ship() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let original = dir.path().join("original");
    let open = Open::at(&original).await;
    open.append([("", "one".to_owned())]).await;
    open.close();
    copy(&original, &dir.path().join("copy"));

    let open = Open::at(&original).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();

    let cloned = Open::at(&dir.path().join("copy")).await;
    cloned.append([("", "two".to_owned())]).await;
    let ended = cloned.start(config(""), &store, FailPoints::default()).ended().await;
    assert!(matches!(ended, Err(S3SinkError::Cloned { .. })), "{ended:?}");
    assert_eq!(audit(&objects(&store).await).len(), 1);
    cloned.close();

    // The original goes on.
    let open = Open::at(&original).await;
    open.append([("", "three".to_owned())]).await;
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    assert_eq!(audit(&objects(&store).await).len(), 2);
    open.close();
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_ours_and_one_that_is_forbidden_is_a_warning() {
    for fault in [
        Fault::After(ErrorKind::Timeout),
        Fault::Before(ErrorKind::Server),
        Fault::Before(ErrorKind::AccessDenied),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        store.set_plan(FaultPlan::default().script(Operation::Put, [Some(fault)]));
        let open = Open::at(dir.path()).await;
        open.append([("", "one".to_owned())]).await;
        let running = open.start(config(""), &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        assert_eq!(audit(&objects(&store).await).len(), 1, "{fault:?}");
        let claims = store.inner().contents().keys().filter(|key| key.starts_with(CONTROL)).count();
        assert_eq!(claims, usize::from(fault != Fault::Before(ErrorKind::AccessDenied)));
        open.close();
    }
}
