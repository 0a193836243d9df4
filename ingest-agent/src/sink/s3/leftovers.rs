//! Multipart uploads that an earlier run of this sink began and did not finish.
//!
//! Ours are the journalled ids of pending cuts, and whatever the listing shows under a key that names a cut of this channel
//! and sink, or where this sink alone tries the store out. Neighbours share the prefix: nothing else is ever aborted. What cannot be aborted now is left to the next
//! start, and to the bucket's lifecycle rule.

use blob_store::{ErrorKind, StoreError, UploadId};
use contract::ObjectKey;

use super::learn;
use super::shared::Shared;

/// Aborts what an earlier run left.
pub(crate) async fn abort(shared: &Shared) {
    let journalled: Vec<_> = {
        let ledger = shared.ledger();
        let pending = ledger.state().pending.values();
        let uploads = pending.flat_map(|pending| pending.uploads.iter().map(move |id| (&pending.cut, id)));
        uploads.map(|(cut, id)| (cut.bucket.clone(), cut.key.clone(), UploadId(id.clone()))).collect()
    };
    for (bucket, key, id) in journalled {
        abort_one(shared, &bucket, &key, &id).await;
    }
    let bucket = &shared.config.store.bucket;
    let listed = shared.bucket(bucket).list_uploads(&shared.config.prefix).await;
    shared.metrics.requests.inc();
    match listed {
        Ok(uploads) => {
            let is_ours = |key: &str| {
                ObjectKey::cut_of(key)
                    .is_some_and(|cut| cut.channel == shared.channel && cut.sink == shared.name)
            };
            for upload in uploads.into_iter().filter(|upload| is_ours(&upload.key)) {
                abort_one(shared, bucket, &upload.key, &upload.id).await;
            }
        }
        Err(error) => left("listing unfinished uploads failed", &error),
    }
    let Some(tried) = learn::key(shared) else { return };
    let listed = shared.bucket(bucket).list_uploads(&tried).await;
    shared.metrics.requests.inc();
    for upload in listed.unwrap_or_default() {
        abort_one(shared, bucket, &upload.key, &upload.id).await;
    }
}

async fn abort_one(shared: &Shared, bucket: &str, key: &str, id: &UploadId) {
    let aborted = shared.bucket(bucket).abort_upload(key, id).await;
    shared.metrics.requests.inc();
    match aborted {
        Ok(()) => tracing::info!(key, "aborted an upload that an earlier run had left"),
        Err(error) if error.kind == ErrorKind::NoSuchUpload => {}
        Err(error) => left("an upload of an earlier run is left", &error),
    }
}

fn left(what: &str, error: &StoreError) {
    tracing::warn!(error = %error, "{what}; the next start tries again, as does a lifecycle rule for unfinished uploads");
}
