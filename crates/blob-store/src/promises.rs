//! What a store that is not AWS keeps of S3's promises: asked at start, so that what it lacks is not relied on.

use bytes::Bytes;

use crate::{BlobStore, Body, ErrorKind, PutOptions, StoreError};

/// What the objects below the control key say to a person who finds them.
const CONTENT: &[u8] = b"Written by sluicegate to find out what this store keeps of S3's promises.\n";

/// What a store was found to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// Puts and completions with `If-None-Match: *` are refused if the key holds an object.
    pub conditions: bool,
    /// A completion takes the CRC32C of the whole object.
    pub whole_checksums: bool,
    /// The CRC32C that a head gives is that of the object's bytes.
    pub right_checksums: bool,
}

impl Promises {
    /// What S3 keeps.
    pub const ALL: Self = Self { conditions: true, whole_checksums: true, right_checksums: true };
}

/// Asks `store`, with small objects at `key` and beside it that stay there. Objects of earlier times are expected.
///
/// An error is the store's answer to what every store must take; nothing is known then.
pub async fn promises(store: &dyn BlobStore, key: &str) -> Result<Promises, StoreError> {
    let whole = PutOptions {
        content_type: "text/plain; charset=utf-8".into(),
        crc32c: crc32c::crc32c(CONTENT),
        conditional: true,
        ..PutOptions::default()
    };
    let parts = PutOptions { composite: true, ..whole.clone() };
    put(store, key, &whole).await?;
    let put_again = put(store, key, &whole).await?;

    // Each kind has a key of its own: what is there was taken as that kind, now or earlier.
    let whole_key = format!("{key}-whole");
    let (upload_key, put) = match upload(store, &whole_key, &whole).await {
        Ok(_) => (whole_key, &whole),
        Err(error) if refuses_checksums(&error) => {
            let parts_key = format!("{key}-parts");
            upload(store, &parts_key, &parts).await?;
            (parts_key, &parts)
        }
        Err(error) => return Err(error),
    };
    let completed_again = upload(store, &upload_key, put).await?;
    let mut right_checksums = true;
    for key in [key, upload_key.as_str()] {
        right_checksums &= store.head(key, None).await?.crc32c.is_none_or(|crc| crc == whole.crc32c);
    }
    Ok(Promises {
        conditions: put_again == Answer::Refused && completed_again == Answer::Refused,
        whole_checksums: !put.composite,
        right_checksums,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Stored,
    Refused,
}

fn refuses_checksums(error: &StoreError) -> bool {
    use ErrorKind::{ChecksumMismatch, NeverValid, NoSuchUpload, Unsupported};
    matches!(error.kind, ChecksumMismatch | NeverValid | NoSuchUpload | Unsupported)
}

fn answer<T>(result: Result<T, StoreError>) -> Result<Answer, StoreError> {
    match result {
        Ok(_) => Ok(Answer::Stored),
        Err(error) if error.kind == ErrorKind::PreconditionFailed => Ok(Answer::Refused),
        Err(error) => Err(error),
    }
}

async fn put(store: &dyn BlobStore, key: &str, put: &PutOptions) -> Result<Answer, StoreError> {
    answer(store.put_if_absent(key, Body::from(Bytes::from_static(CONTENT)), put).await)
}

/// Leaves no upload behind as far as it can.
async fn upload(store: &dyn BlobStore, key: &str, put: &PutOptions) -> Result<Answer, StoreError> {
    let upload = store.create_upload(key, put).await?;
    let part = store.upload_part(key, &upload, 1, Body::from(Bytes::from_static(CONTENT)), put.crc32c).await;
    let completed = match part {
        Ok(part) => answer(store.complete_upload(key, &upload, &[part], put).await),
        Err(error) => Err(error),
    };
    if !matches!(completed, Ok(Answer::Stored)) {
        // What it says to this changes nothing.
        let _ = store.abort_upload(key, &upload).await;
    }
    completed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lacks, MemoryStore};

    #[tokio::test]
    async fn what_a_store_lacks_is_found_and_found_again() {
        for bits in 0..8_u8 {
            let lacks = Lacks {
                conditions: bits & 1 > 0,
                whole_checksums: bits & 2 > 0,
                right_checksums: bits & 4 > 0,
            };
            let store = MemoryStore::new("bucket").lacking(lacks);
            for _ in 0..2 {
                let found = promises(&store, "_control/check").await.unwrap();
                assert_eq!(
                    (found.conditions, found.whole_checksums),
                    (!lacks.conditions, !lacks.whole_checksums)
                );
                // Without a checksum of the whole a head gives none, and none is not wrong.
                assert_eq!(
                    found.right_checksums,
                    !lacks.right_checksums || lacks.whole_checksums,
                    "{lacks:?}"
                );
            }
            assert_eq!(store.list_uploads("").await.unwrap(), []);
        }
    }
}
