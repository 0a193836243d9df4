//! The one suite, on each implementation and on servers that are not ours.

use std::env;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use blob_store::conformance::{Report, run};
use blob_store::{BlobStore, Credentials, FaultPlan, FaultyStore, MemoryStore, S3Options, S3Store, probe};

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

/// The server is named by the environment:
/// `SLUICEGATE_TEST_S3_ENDPOINT` (without it there is nothing to test), `_BUCKET`, `_ACCESS_KEY`,
/// `_SECRET_KEY`, and `_DEPARTURES`: the promises it is known not to keep, separated by commas.
/// One more or one fewer fails the test, so that what we tell users of a server stays true.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ours_departs_only_as_known() {
    let value = |name: &str| env::var(format!("SLUICEGATE_TEST_S3_{name}")).ok();
    let Some(endpoint) = value("ENDPOINT") else {
        eprintln!("not run: SLUICEGATE_TEST_S3_ENDPOINT names no server");
        return;
    };
    let options = S3Options {
        endpoint: Some(endpoint),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: value("ACCESS_KEY").unwrap_or_else(|| "test".into()),
            secret_access_key: value("SECRET_KEY").unwrap_or_else(|| "test".into()),
            session_token: None,
        },
        ..S3Options::new(value("BUCKET").unwrap_or_else(|| "sluicegate-test".into()))
    };
    let store: Arc<dyn BlobStore> = Arc::new(S3Store::connect(options).await.unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let report = run(Arc::clone(&store), &format!("suite-{now}")).await;
    eprintln!("{report}");
    let known = value("DEPARTURES").unwrap_or_default();
    let known: Vec<_> = known.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(report.departed(), known, "{report}");

    let probe = probe(&*store, &format!("suite-{now}/control")).await;
    assert_eq!(probe.honours_conditions(), Some(!known.contains(&"put-if-absent")), "{probe}");
}
