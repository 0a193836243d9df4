//! Is this channel a copy? Asked once, before an incarnation seals its first cut.
//!
//! Each start raises the channel's incarnation and draws a number for it. An object under the control prefix is put
//! for the incarnation, if absent, with that number. Whoever runs a copy of the folder, or an old snapshot of it, comes to an incarnation that is taken by
//! another number, and refuses to ship. (Two copies that are started at once and never again are told apart only
//! when their cuts meet: that is a fork, and loses nothing either.)

use blob_store::{BlobStore, ErrorKind, PutOptions, StoreError};
use futures_util::TryStreamExt;

use super::error::S3SinkError;

/// What the answer to a claim was.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The incarnation is ours.
    Ours,
    /// The store does not let us ask.
    Forbidden(StoreError),
}

/// Claims `key` with `nonce`. `Err(Ok(_))` is an answer that may be another one later.
pub(crate) async fn claim(
    store: &dyn BlobStore,
    key: &str,
    nonce: &str,
) -> Result<Claimed, Result<StoreError, S3SinkError>> {
    let options = PutOptions {
        content_type: "text/plain".to_owned(),
        crc32c: crc32c::crc32c(nonce.as_bytes()),
        conditional: true,
        ..PutOptions::default()
    };
    let put = store.put_if_absent(key, nonce.as_bytes().to_vec().into(), &options).await;
    let Err(error) = put else { return Ok(Claimed::Ours) };
    if error.kind != ErrorKind::PreconditionFailed {
        return refused(error);
    }
    match store.get(key, None, None).await {
        Ok(object) => {
            let read = object.body.try_fold(Vec::new(), |mut read, slice| async move {
                read.extend_from_slice(&slice);
                Ok(read)
            });
            match read.await {
                Ok(found) if found == nonce.as_bytes() => Ok(Claimed::Ours),
                Ok(_) => {
                    Err(Err(S3SinkError::Cloned { bucket: store.bucket().to_owned(), key: key.to_owned() }))
                }
                // The connection broke: ask again.
                Err(_) => Err(Ok(error)),
            }
        }
        Err(error) => refused(error),
    }
}

fn refused(error: StoreError) -> Result<Claimed, Result<StoreError, S3SinkError>> {
    match error.kind {
        ErrorKind::AccessDenied | ErrorKind::Unsupported | ErrorKind::NeverValid => {
            Ok(Claimed::Forbidden(error))
        }
        _ => Err(Ok(error)),
    }
}

#[cfg(test)]
mod tests {
    use blob_store::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_claim_is_ours_again_and_nobody_elses() {
        let store = MemoryStore::new("bucket");
        assert!(matches!(claim(&store, "_control/1", "mine").await, Ok(Claimed::Ours)));
        assert!(
            matches!(claim(&store, "_control/1", "mine").await, Ok(Claimed::Ours)),
            "a lost answer is no clone"
        );
        assert!(matches!(claim(&store, "_control/2", "theirs").await, Ok(Claimed::Ours)));
        let foreign = claim(&store, "_control/1", "theirs").await;
        assert!(matches!(foreign, Err(Err(S3SinkError::Cloned { .. }))));
    }
}
