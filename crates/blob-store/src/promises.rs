//! What a store that is not AWS keeps of S3's promises: asked, so that what it lacks is not relied on.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{BlobStore, Body, CONTROL, ErrorKind, Part, PutOptions, StoreError, UploadId};

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

/// How a caller waits for a store that fails for now.
#[async_trait]
pub trait Patience: Send + Sync {
    /// Waits after failure number `failures` (from 1) of one request; false: ask no more, the error is the answer.
    async fn wait(&self, error: &StoreError, failures: u32) -> bool;
}

/// Asks each request once.
pub struct Once;

#[async_trait]
impl Patience for Once {
    async fn wait(&self, _: &StoreError, _: u32) -> bool {
        false
    }
}

/// Asks `store`, with small objects at `key` and beside it that stay there. Objects of earlier times are expected, and
/// uploads that an earlier time left there are aborted: nobody else may use `key`.
///
/// Each request is sent again by itself for as long as `patience` lasts. An error is the store's answer to what every
/// store must take; nothing is known then.
pub async fn promises(
    store: &dyn BlobStore,
    key: &str,
    patience: &dyn Patience,
) -> Result<Promises, StoreError> {
    let asker = Asker { store, patience };
    asker.clean(key).await;
    let found = asker.ask(key).await;
    asker.clean(key).await;
    found
}

struct Asker<'a> {
    store: &'a dyn BlobStore,
    patience: &'a dyn Patience,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Stored,
    Refused,
}

impl Asker<'_> {
    async fn ask(&self, key: &str) -> Result<Promises, StoreError> {
        let mut put = PutOptions {
            content_type: "text/plain; charset=utf-8".into(),
            crc32c: crc32c::crc32c(CONTENT),
            metadata: vec![(CONTROL.into(), "promises".into())],
            conditional: true,
            ..PutOptions::default()
        };
        let mut conditions = match self.put(key, &put).await {
            Ok(_) => self.is_refused_again(key, &put).await?,
            Err(error) if refuses_condition(&error) => false,
            Err(error) => return Err(error),
        };
        if !conditions {
            put.conditional = false;
            self.put(key, &put).await?;
        }

        // Each kind has a key of its own: what is there was taken as that kind, now or earlier.
        let (upload_key, put) = self.first_upload_taken(key, put).await?;
        if conditions {
            conditions = put.conditional && self.upload(&upload_key, &put).await? == Answer::Refused;
        }
        let mut right_checksums = true;
        for key in [key, upload_key.as_str()] {
            right_checksums &= self.told_checksum(key).await?.is_none_or(|crc| crc == put.crc32c);
        }
        Ok(Promises { conditions, whole_checksums: !put.composite, right_checksums })
    }

    /// The most that an upload may ask for, and the key for that.
    async fn first_upload_taken(
        &self,
        key: &str,
        put: PutOptions,
    ) -> Result<(String, PutOptions), StoreError> {
        // A store may know a condition of a put and none of a completion.
        let conditional = [true, false].into_iter().filter(|conditional| put.conditional || !conditional);
        let mut refusal = None;
        for conditional in conditional {
            for composite in [false, true] {
                let key = format!("{key}-{}", if composite { "parts" } else { "whole" });
                let put = PutOptions { conditional, composite, ..put.clone() };
                match self.upload(&key, &put).await {
                    Ok(_) => return Ok((key, put)),
                    Err(error) if refuses_manner(&error) => refusal = refusal.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
        }
        Err(refusal.expect("each way in was refused"))
    }

    /// Whether a second put is refused. One that is taken is asked for again: to take one answer for it would cost the
    /// strongest promise.
    async fn is_refused_again(&self, key: &str, put: &PutOptions) -> Result<bool, StoreError> {
        Ok(self.put(key, put).await? == Answer::Refused || self.put(key, put).await? == Answer::Refused)
    }

    async fn put(&self, key: &str, put: &PutOptions) -> Result<Answer, StoreError> {
        let mut failures = 0;
        loop {
            let put = self.store.put_if_absent(key, content(), put).await;
            if let Some(answer) = self.settled(put, &mut failures).await {
                return answered(answer);
            }
        }
    }

    /// Leaves no upload behind as far as it can.
    async fn upload(&self, key: &str, put: &PutOptions) -> Result<Answer, StoreError> {
        let upload = self.create(key, put).await?;
        let completed = match self.part(key, &upload, put).await {
            Ok(part) => self.complete(key, &upload, part, put).await,
            Err(error) => Err(error),
        };
        if !matches!(completed, Ok(Answer::Stored)) {
            // What it says to this changes nothing.
            let _ = self.store.abort_upload(key, &upload).await;
        }
        completed
    }

    async fn create(&self, key: &str, put: &PutOptions) -> Result<UploadId, StoreError> {
        let mut failures = 0;
        loop {
            let created = self.store.create_upload(key, put).await;
            if let Some(answer) = self.settled(created, &mut failures).await {
                return answer;
            }
        }
    }

    async fn part(&self, key: &str, upload: &UploadId, put: &PutOptions) -> Result<Part, StoreError> {
        let mut failures = 0;
        loop {
            let part = self.store.upload_part(key, upload, 1, content(), put.crc32c).await;
            if let Some(answer) = self.settled(part, &mut failures).await {
                return answer;
            }
        }
    }

    async fn complete(
        &self,
        key: &str,
        upload: &UploadId,
        part: Part,
        put: &PutOptions,
    ) -> Result<Answer, StoreError> {
        let (mut failures, parts) = (0, [part]);
        loop {
            let completed = self.store.complete_upload(key, upload, &parts, put).await;
            let gone = completed.as_ref().is_err_and(|error| error.kind == ErrorKind::NoSuchUpload);
            // An upload that is gone after an answer that was lost was completed.
            if gone && failures > 0 && self.told_checksum(key).await.is_ok() {
                return Ok(Answer::Stored);
            }
            if let Some(answer) = self.settled(completed, &mut failures).await {
                return answered(answer);
            }
        }
    }

    async fn told_checksum(&self, key: &str) -> Result<Option<u32>, StoreError> {
        let mut failures = 0;
        loop {
            let looked = self.store.head(key, None).await;
            if let Some(answer) = self.settled(looked, &mut failures).await {
                return answer.map(|info| info.crc32c);
            }
        }
    }

    /// The answer; `None` if it is to be asked for again, after the wait.
    async fn settled<T>(
        &self,
        answer: Result<T, StoreError>,
        failures: &mut u32,
    ) -> Option<Result<T, StoreError>> {
        match answer {
            Err(error) if may_be_another_later(error.kind) => {
                *failures += 1;
                if self.patience.wait(&error, *failures).await { None } else { Some(Err(error)) }
            }
            answer => Some(answer),
        }
    }

    /// Aborts what was begun at the keys and not finished, as far as the store lets us.
    async fn clean(&self, key: &str) {
        for upload in self.store.list_uploads(key).await.unwrap_or_default() {
            let _ = self.store.abort_upload(&upload.key, &upload.id).await;
        }
    }
}

fn content() -> Body {
    Body::from(Bytes::from_static(CONTENT))
}

/// Whether time may change an answer: not what a store says to what it does not take.
fn may_be_another_later(kind: ErrorKind) -> bool {
    kind.retry_can_help()
        && !matches!(kind, ErrorKind::AccessDenied | ErrorKind::ChecksumMismatch | ErrorKind::Rejected)
}

/// To the header, or by a code that does not say to what.
fn refuses_condition(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Rejected)
}

/// A checksum of the whole, or a condition.
fn refuses_manner(error: &StoreError) -> bool {
    use ErrorKind::{ChecksumMismatch, NeverValid, NoSuchUpload, Rejected, Unsupported};
    matches!(error.kind, ChecksumMismatch | NeverValid | NoSuchUpload | Rejected | Unsupported)
}

fn answered<T>(result: Result<T, StoreError>) -> Result<Answer, StoreError> {
    match result {
        Ok(_) => Ok(Answer::Stored),
        Err(error) if error.kind == ErrorKind::PreconditionFailed => Ok(Answer::Refused),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
