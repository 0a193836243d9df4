//! `--check-config --connect`: does the store do what the agent will ask of it, and if not, why and what to do.

use blob_store::{
    BlobStore as _, ConnectError, ErrorKind, Outcome, Probe, S3Store, StoreError, Wanted, advice, probe,
};
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
    let store = store
        .map_err(|error: ConnectError| Failure::new(exit::CONFIG, "setting up the connection", &error))?;
    let Some(control_prefix) = &config.control_prefix else {
        println!("  only looked at the bucket: with an empty control_prefix there is no place to try a put");
        return store.check().await.map_err(|error| Failure {
            code: exit_code(&error),
            text: [Some(error.to_string()), advice(&error).map(str::to_owned)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("\n"),
        });
    };
    let probe = probe(&store, &format!("{control_prefix}check"), wanted(config)).await;
    for line in probe.to_string().lines() {
        println!("  {line}");
    }
    verdict(&probe)
}

/// What the agent relies on: at AWS everything, elsewhere what is configured, and else what it finds.
fn wanted(config: &S3SinkConfig) -> Wanted {
    let asks = config.store.endpoint.is_some();
    Wanted {
        conditional: config.conditional.or((!asks).then_some(true)),
        composite: config.composite.or((!asks).then_some(false)),
    }
}

fn verdict(probe: &Probe) -> Result<(), Failure> {
    let Some((step, error)) = probe.failures().next() else { return Ok(()) };
    let failed =
        probe.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Failed(_))).count();
    let more = if failed > 1 { format!(" (and {} more, above)", failed - 1) } else { String::new() };
    Err(Failure { code: exit_code(error), text: format!("{step:?}: {error}{more}") })
}

fn exit_code(error: &StoreError) -> u8 {
    match error.kind {
        ErrorKind::AccessDenied | ErrorKind::Credentials | ErrorKind::CredentialsExpired => exit::PERMISSION,
        ErrorKind::NoSuchBucket
        | ErrorKind::Unsupported
        | ErrorKind::Rejected
        | ErrorKind::NeverValid
        | ErrorKind::PreconditionFailed => exit::CONFIG,
        _ => exit::UNAVAILABLE,
    }
}
