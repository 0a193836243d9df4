//! `--check-config --connect`: is the bucket there, may we put, does the store keep its promise.

use blob_store::{BlobStore as _, ErrorKind, S3Store, StoreError, probe};
use contract::exit;

use super::Failure;
use crate::config::Config;
use crate::sink::SinkKind;
use crate::sink::s3::S3SinkConfig;

/// Probes the store of every S3 sink and reports each step; fails with the first sink's failure.
pub(super) async fn check(config: &Config) -> Result<(), Failure> {
    let mut result = Ok(());
    for sink in &config.sinks {
        if let SinkKind::S3(s3) = &sink.kind {
            println!("sink {}, bucket {}:", sink.name, s3.store.bucket);
            result = result.and(check_one(s3).await);
        }
    }
    result
}

async fn check_one(config: &S3SinkConfig) -> Result<(), Failure> {
    let store = S3Store::connect(config.store.clone()).await;
    let store = store.map_err(|error| Failure::new(exit::CONFIG, "connecting", &error))?;
    let Some(control_prefix) = &config.control_prefix else {
        println!("  puts are not tried, because control_prefix is empty");
        return store.check().await.map_err(|error| failure(&error, "s3:ListBucket"));
    };
    let probe = probe(&store, &format!("{control_prefix}check")).await;
    for finding in &probe.findings {
        match &finding.outcome {
            Ok(()) => println!("  {:?}: ok", finding.step),
            Err(error) => println!("  {:?}: {error}", finding.step),
        }
    }
    probe.failures().try_for_each(|(step, error)| Err(failure(error, step.iam_action())))
}

fn failure(error: &StoreError, iam_action: &str) -> Failure {
    let (code, hint) = match error.kind {
        ErrorKind::AccessDenied => (exit::PERMISSION, format!("these credentials need {iam_action}")),
        ErrorKind::Credentials | ErrorKind::CredentialsExpired => {
            (exit::PERMISSION, "the credentials are missing, wrong or expired".to_owned())
        }
        ErrorKind::NoSuchBucket => (exit::CONFIG, "there is no such bucket in this region".to_owned()),
        _ => (exit::UNAVAILABLE, "the store does not do what is needed".to_owned()),
    };
    let Failure { text, .. } = Failure::new(code, &hint, error);
    Failure { code, text }
}
