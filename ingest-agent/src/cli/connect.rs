//! `--check-config --connect`: is the bucket there, may we put, does the store keep its promise.

use blob_store::{BlobStore as _, ErrorKind, Probe, S3Store, StoreError, probe};
use contract::exit;

use super::Failure;
use crate::config::Config;
use crate::sink::SinkKind;
use crate::sink::s3::S3SinkConfig;

/// Probes the store of every S3 sink and tells each step; fails with the first sink's failure.
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
    let store = store.map_err(|error| Failure::new(exit::CONFIG, "setting up the connection", &error))?;
    let Some(control_prefix) = &config.control_prefix else {
        println!("  only looked at the bucket: with an empty control_prefix there is no place to try a put");
        return store.check().await.map_err(|error| Failure::new(exit_code(&error), "the bucket", &error));
    };
    let probe: Probe = probe(&store, &format!("{control_prefix}check")).await;
    for finding in &probe.findings {
        let outcome = if finding.outcome.is_ok() { "ok" } else { "FAILED" };
        println!("  {:?}: {outcome}", finding.step);
    }
    if probe.honours_conditions() == Some(false) && config.conditional != Some(true) {
        println!(
            "  conditional puts are not kept, and this sink is told not to ask for them: weaker, as configured"
        );
    }
    match probe
        .failures()
        .find(|(_, error)| config.conditional == Some(true) || error.kind != ErrorKind::Unsupported)
    {
        None => Ok(()),
        Some((_, error)) => {
            Err(Failure { code: exit_code(error), text: probe.to_string().trim_end().to_owned() })
        }
    }
}

fn exit_code(error: &StoreError) -> u8 {
    match error.kind {
        ErrorKind::AccessDenied | ErrorKind::Credentials | ErrorKind::CredentialsExpired => exit::PERMISSION,
        ErrorKind::NoSuchBucket | ErrorKind::Unsupported | ErrorKind::NeverValid => exit::CONFIG,
        _ => exit::UNAVAILABLE,
    }
}
