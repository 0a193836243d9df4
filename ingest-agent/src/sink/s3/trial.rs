//! Whose fault is a refusal? The store is sent a small object in the same manner as the one that it refused.
//!
//! A code such as `InvalidArgument` may be about one object, which is then set aside, or about a setting that all
//! share (a storage class, a checksum, a tag). Then each cut would be set aside, one after the other; the sink
//! stands still instead, and says so.

use blob_store::{BlobStore, Body, CONTROL, ErrorKind, PutOptions, StoreError};

/// What the object says to a person who finds it.
const CONTENT: &[u8] =
    b"Written by sluicegate to find out whether this store refuses one object, or all of them.\n";

/// Whether the store takes another object that is sent so, at `key`, which it is removed from again if it may be.
pub(super) async fn is_taken(
    store: &dyn BlobStore,
    key: &str,
    manner: &PutOptions,
    in_parts: bool,
) -> Result<bool, StoreError> {
    let metadata = vec![(CONTROL.to_owned(), "trial".to_owned())];
    let options = PutOptions { crc32c: crc32c::crc32c(CONTENT), metadata, ..manner.clone() };
    let answer = if in_parts {
        upload(store, key, &options).await
    } else {
        store.put_if_absent(key, Body::from(CONTENT.to_vec()), &options).await.map(drop)
    };
    match answer {
        Ok(()) => {
            // Where it may not be removed, it stays.
            let _ = store.discard(key).await;
            Ok(true)
        }
        // An earlier trial was taken.
        Err(error) if error.kind == ErrorKind::PreconditionFailed => Ok(true),
        Err(error)
            if matches!(error.kind, ErrorKind::Rejected | ErrorKind::Unsupported | ErrorKind::NeverValid) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn upload(store: &dyn BlobStore, key: &str, options: &PutOptions) -> Result<(), StoreError> {
    let upload = store.create_upload(key, options).await?;
    let part = store.upload_part(key, &upload, 1, Body::from(CONTENT.to_vec()), options.crc32c).await;
    let completed = match part {
        Ok(part) => store.complete_upload(key, &upload, &[part], options).await,
        Err(error) => Err(error),
    };
    if completed.is_err() {
        let _ = store.abort_upload(key, &upload).await;
    }
    completed.map(drop)
}
