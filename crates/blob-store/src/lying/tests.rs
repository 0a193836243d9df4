use std::sync::Arc;

use local_cloud::{CloudOptions, LocalCloud};

use super::*;
use crate::conformance::run;
use crate::{BlobStore, Credentials, S3Options, S3Store};

async fn behind(url: &str) -> S3Store {
    let options = S3Options {
        endpoint: Some(url.to_owned()),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: "local".into(),
            secret_access_key: "local-secret".into(),
            session_token: None,
        },
        ..S3Options::new("bucket")
    };
    S3Store::connect(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_store_without_lies_keeps_every_promise_and_knows_what_it_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path()) };
    let cloud = LocalCloud::start(options).await.unwrap();
    cloud.create_bucket("bucket").await.unwrap();
    let lying = LyingStore::before(&cloud.s3_url()).await.unwrap();
    let store: Arc<dyn BlobStore> = Arc::new(behind(lying.url()).await);
    let report = run(Arc::clone(&store), "suite").await;
    assert!(report.departures.is_empty() && report.kept.len() > 20, "{report}");
    let asked = lying.requests();
    for operation in Operation::ALL {
        let of = asked.iter().filter(|(asked, _)| *asked == operation);
        assert!(of.clone().count() > 0, "{operation:?} was told from others");
        assert!(
            operation == Operation::Check || of.clone().all(|(_, key)| key.starts_with("suite")),
            "{operation:?}"
        );
    }
    assert_eq!(lying.told(), 0);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_is_told_of_what_it_is_planned_for_and_as_often() {
    let dir = tempfile::tempdir().unwrap();
    let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path()) };
    let cloud = LocalCloud::start(options).await.unwrap();
    cloud.create_bucket("bucket").await.unwrap();
    let lying = LyingStore::before(&cloud.s3_url()).await.unwrap();
    let store = behind(lying.url()).await;
    let lie = Lie { name: "500", heard: false, answer: Wrong::Instead(500, vec![], "") };
    lying.tell(Operation::List, "a/", lie, 2);
    let mut right = Vec::new();
    for prefix in ["b/", "a/x", "a/y", "a/z"] {
        right.push(store.list(prefix, None, 1).await.is_ok());
    }
    assert_eq!((right, lying.told()), (vec![true, false, false, true], 2));
    cloud.shutdown().await;
}
