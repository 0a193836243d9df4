//! Is this channel a copy? Asked once, before an incarnation seals its first cut.
//!
//! Each start raises the channel's incarnation and draws a number for it. An object under the control prefix is put
//! for the incarnation, if absent, with that number. Whoever runs a copy of the folder, or an old snapshot of it, comes to an incarnation that is taken by
//! another number, and refuses to ship. (Two copies that are started at once and never again are told apart only
//! when their cuts meet: that is a fork, and loses nothing either.)

use blob_store::{BlobStore, CONTROL, ErrorKind, Operation, PutOptions, StoreError};
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

/// Claims `key` with `nonce`. `Err(Ok(_))` is an answer that may be another one later. Where puts are not `conditional`
/// the key is looked at before it is put, which two that come at the same moment may both do.
pub(crate) async fn claim(
    store: &dyn BlobStore,
    key: &str,
    nonce: &str,
    conditional: bool,
) -> Result<Claimed, Result<StoreError, S3SinkError>> {
    if !conditional {
        match taken(store, key, nonce).await {
            Err(Ok(error)) if error.kind == ErrorKind::NoSuchKey => {}
            claimed => return claimed,
        }
    }
    let options = PutOptions {
        content_type: "text/plain".to_owned(),
        crc32c: crc32c::crc32c(nonce.as_bytes()),
        metadata: vec![(CONTROL.to_owned(), "claim".to_owned())],
        conditional,
        ..PutOptions::default()
    };
    let put = store.put_if_absent(key, nonce.as_bytes().to_vec().into(), &options).await;
    match put {
        Ok(_) => Ok(Claimed::Ours),
        Err(error) if error.kind == ErrorKind::PreconditionFailed => taken(store, key, nonce).await,
        Err(error) => refused(error),
    }
}

/// Whose claim is there.
async fn taken(
    store: &dyn BlobStore,
    key: &str,
    nonce: &str,
) -> Result<Claimed, Result<StoreError, S3SinkError>> {
    let object = match store.get(key, None, None).await {
        Ok(object) => object,
        Err(error) => return refused(error),
    };
    let read = object.body.try_fold(Vec::new(), |mut read, slice| async move {
        read.extend_from_slice(&slice);
        Ok(read)
    });
    match read.await {
        Ok(found) if found == nonce.as_bytes() => Ok(Claimed::Ours),
        // Every claim is as long as ours and as plain: anything else was not put by an agent, or did not come whole.
        Ok(found) if !is_a_claim(&found, nonce) => {
            let message = "what came is no claim: another answer, or an object of somebody else";
            Err(Ok(StoreError::new(Operation::Get, key, ErrorKind::NotS3, message)))
        }
        Ok(_) => Err(Err(S3SinkError::Cloned { bucket: store.bucket().to_owned(), key: key.to_owned() })),
        // The connection broke: ask again.
        Err(error) => {
            let message = format!("reading the claim: {error}");
            Err(Ok(StoreError::new(Operation::Get, key, ErrorKind::Connection, message)))
        }
    }
}

fn is_a_claim(found: &[u8], nonce: &str) -> bool {
    found.len() == nonce.len() && found.iter().all(u8::is_ascii_alphanumeric)
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
    use blob_store::{Lacks, MemoryStore};

    use super::*;

    #[tokio::test]
    async fn a_claim_is_ours_again_and_nobody_elses() {
        for lacks in [Lacks::default(), Lacks { condition_header: true, ..Lacks::default() }] {
            let store = MemoryStore::new("bucket").lacking(lacks);
            let ask = async |key, nonce| claim(&store, key, nonce, !lacks.condition_header).await;
            assert!(matches!(ask("_control/1", "mine").await, Ok(Claimed::Ours)));
            assert!(
                matches!(ask("_control/1", "mine").await, Ok(Claimed::Ours)),
                "a lost answer is no clone"
            );
            assert!(matches!(ask("_control/2", "them").await, Ok(Claimed::Ours)));
            let foreign = ask("_control/1", "them").await;
            assert!(matches!(foreign, Err(Err(S3SinkError::Cloned { .. }))));
        }
    }

    #[tokio::test]
    async fn what_is_no_claim_makes_nobody_a_copy() {
        let store = MemoryStore::new("bucket");
        let page = b"<html>Maintenance</html>".to_vec();
        let put = PutOptions { crc32c: crc32c::crc32c(&page), ..PutOptions::default() };
        store.put_if_absent("_control/1", page.into(), &put).await.unwrap();
        let Err(Ok(error)) = claim(&store, "_control/1", "mine", true).await else { panic!("no error") };
        assert_eq!(error.kind, ErrorKind::NotS3);
    }
}
