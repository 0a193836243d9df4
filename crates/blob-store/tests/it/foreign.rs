//! The suite on an S3 server that is not ours, which `cargo xtask test --only foreign-s3` starts.

use std::env;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use blob_store::conformance::run;
use blob_store::{
    BlobStore, Credentials, MultipartChecksum, Once, S3Options, S3Store, Wanted, probe, promises,
};

/// The server is named by the environment:
/// `SLUICEGATE_TEST_S3_ENDPOINT`, `_BUCKET`, `_ACCESS_KEY`,
/// `_SECRET_KEY`, `_MULTIPART_CHECKSUM` (`composite` for servers that know no other), and
/// `_DEPARTURES`: the promises it is known not to keep, separated by commas.
/// One more or one fewer fails the test, so that what we tell users of a server stays true; a name
/// that ends in `?` is of a race that this server loses only sometimes.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_s3_departs_only_as_known() {
    let value = |name: &str| env::var(format!("SLUICEGATE_TEST_S3_{name}")).ok();
    let endpoint = value("ENDPOINT").expect("the foreign-s3 stage names a server");
    let multipart_checksum = match value("MULTIPART_CHECKSUM").as_deref() {
        None | Some("full-object") => MultipartChecksum::FullObject,
        Some("composite") => MultipartChecksum::Composite,
        Some(other) => panic!("SLUICEGATE_TEST_S3_MULTIPART_CHECKSUM is {other}"),
    };
    let options = S3Options {
        multipart_checksum,
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
    let (sometimes, always): (Vec<&str>, Vec<&str>) = known.iter().partition(|name| name.ends_with('?'));
    let mut departed = report.departed();
    departed.retain(|name| !sometimes.iter().any(|race| race.trim_end_matches('?') == *name));
    assert_eq!(departed, always, "{report}");

    let kept = promises(&*store, &format!("suite-{now}/promises"), &Once).await.unwrap();
    eprintln!("{kept:?}");
    assert_eq!(kept.conditions, !known.contains(&"put-if-absent"));

    let wanted = Wanted { conditional: Some(true), composite: None };
    let probe = probe(&*store, &format!("suite-{now}/control"), wanted).await;
    eprintln!("{probe}");
    // What the agent lives with, the check does not call a failure.
    assert_eq!(probe.failures().count(), usize::from(known.contains(&"put-if-absent")), "{probe}");
    assert_eq!(probe.honours_conditions(), Some(!known.contains(&"put-if-absent")), "{probe}");
}
