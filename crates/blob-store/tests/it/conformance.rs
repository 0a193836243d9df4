//! The one suite, on each implementation of ours.

use std::sync::Arc;

use blob_store::conformance::{Report, run};
use blob_store::{Credentials, FaultPlan, FaultyStore, MemoryStore, S3Options, S3Store};
use local_cloud::{CloudOptions, LocalCloud};

fn assert_kept(report: &Report) {
    assert!(report.departures.is_empty(), "{report}");
    assert!(report.kept.len() > 20, "{report}");
}

#[tokio::test]
async fn the_memory_store_keeps_every_promise() {
    assert_kept(&run(Arc::new(MemoryStore::new("b")), "suite").await);
}

#[tokio::test]
async fn the_faulty_store_without_faults_keeps_every_promise() {
    let store = FaultyStore::new(MemoryStore::new("b"), FaultPlan::default());
    assert_kept(&run(Arc::new(store.clone()), "suite").await);
    assert_eq!(store.injected(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_store_keeps_every_promise_with_the_local_cloud() {
    let dir = tempfile::tempdir().unwrap();
    let cloud =
        LocalCloud::start(CloudOptions { sync: false, ..CloudOptions::new(dir.path()) }).await.unwrap();
    cloud.create_bucket("bucket").await.unwrap();
    let options = S3Options {
        endpoint: Some(cloud.s3_url()),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: "local".into(),
            secret_access_key: "local-secret".into(),
            session_token: None,
        },
        ..S3Options::new("bucket")
    };
    for payload_signing in [false, true] {
        let options = S3Options { payload_signing, ..options.clone() };
        let store = S3Store::connect(options).await.unwrap();
        assert_kept(&run(Arc::new(store), &format!("suite-{payload_signing}")).await);
    }
    cloud.shutdown().await;
}
