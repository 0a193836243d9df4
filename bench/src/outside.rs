//! An S3 endpoint of somebody else's: what the agent put there is listed and read again when the clocks have stopped.

use std::env::var;
use std::path::Path;

use anyhow::Context;
use blob_store::{BlobStore, Credentials, S3Options, S3Store};
use futures_util::TryStreamExt;

use crate::endpoint::{Encoding, Found, Object};

/// The keys of the run in `dir` begin with it, so that runs share a bucket.
pub(crate) fn prefix(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("data-{}/", name.trim_start_matches('.'))
}

/// What the agent's file takes its credentials from.
pub(crate) fn credentials() -> [(&'static str, String); 2] {
    let or_bench = |name| var(name).unwrap_or_else(|_| "bench".to_owned());
    [("BENCH_KEY_ID", or_bench("AWS_ACCESS_KEY_ID")), ("BENCH_SECRET", or_bench("AWS_SECRET_ACCESS_KEY"))]
}

/// Looks for ids below `events` in the objects under `prefix`.
pub(crate) fn check(url: &str, prefix: &str, events: u32) -> anyhow::Result<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let [(_, access_key_id), (_, secret_access_key)] = credentials();
        let store = S3Store::connect(S3Options {
            endpoint: Some(url.to_owned()),
            path_style: true,
            credentials: Credentials::Static { access_key_id, secret_access_key, session_token: None },
            ..S3Options::new("bench")
        })
        .await?;
        let mut found = Found::new(events);
        let mut after: Option<String> = None;
        loop {
            let page = store.list(prefix, after.as_deref(), 1_000).await.context("listing what was put")?;
            for listed in &page.objects {
                let object = store.get(&listed.key, None, None).await?;
                let bytes = object.body.try_fold(Vec::new(), |mut bytes, slice| async move {
                    bytes.extend_from_slice(&slice);
                    Ok(bytes)
                });
                let (key, encoding) = (listed.key.clone(), Encoding::of(&listed.key, None));
                found.add(&Object { key, part: 0, encoding, in_pieces: false, bytes: bytes.await? });
            }
            match page.objects.last() {
                Some(last) if page.truncated => after = Some(last.key.clone()),
                _ => return Ok(found.report(None)),
            }
        }
    })
}
