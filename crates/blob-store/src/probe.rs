//! What `--check-config --connect` asks of a store before anything depends on it.

use std::fmt;

use bytes::Bytes;

use crate::{BlobStore, Body, ErrorKind, Operation, PutOptions, StoreError};

/// What the object under the control key says to a person who finds it.
const CONTENT: &[u8] = b"Written by sluicegate to find out whether it may put objects here.\n";
const METADATA: (&str, &str) = ("sluicegate-probe", "1");

/// What was found, step by step.
#[derive(Debug)]
pub struct Probe {
    /// The bucket that was asked.
    pub bucket: String,
    /// In the order the steps were taken.
    pub findings: Vec<Finding>,
}

/// The outcome of one step.
#[derive(Debug)]
pub struct Finding {
    /// What was tried.
    pub step: Step,
    /// How it went.
    pub outcome: Result<(), StoreError>,
}

/// A step of the probe, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The bucket is there and ours to list.
    Bucket,
    /// An object can be put under the control key.
    Put,
    /// A second put under the same key is refused with 412.
    ConditionalPut,
    /// The object can be looked at, and is as it was put.
    Head,
    /// Unfinished uploads can be listed, so that our own can be cleaned up after a crash.
    ListUploads,
    /// An upload can be begun.
    CreateUpload,
    /// An upload can be dropped.
    AbortUpload,
    /// An upload can be completed, with a checksum that the store knows.
    CompleteUpload,
}

impl Step {
    /// The IAM action this step needs.
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::Bucket => Operation::Check,
            Self::Put | Self::ConditionalPut => Operation::Put,
            Self::Head => Operation::Head,
            Self::ListUploads => Operation::ListUploads,
            Self::CreateUpload => Operation::CreateUpload,
            Self::AbortUpload => Operation::AbortUpload,
            Self::CompleteUpload => Operation::CompleteUpload,
        }
        .iam_action()
    }

    /// The resource that a policy names for this step.
    pub fn resource(self, bucket: &str) -> String {
        match self {
            Self::Bucket | Self::ListUploads => format!("arn:aws:s3:::{bucket}"),
            _ => format!("arn:aws:s3:::{bucket}/*"),
        }
    }
}

impl Probe {
    /// The steps that failed.
    pub fn failures(&self) -> impl Iterator<Item = (Step, &StoreError)> {
        self.findings.iter().filter_map(|finding| Some((finding.step, finding.outcome.as_ref().err()?)))
    }

    /// Whether a conditional put was refused as it must be. `None`: it was not tried.
    pub fn honours_conditions(&self) -> Option<bool> {
        let tried = self.findings.iter().find(|finding| finding.step == Step::ConditionalPut)?;
        Some(tried.outcome.is_ok())
    }
}

/// One line a failed step, with what to do about it.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, error) in self.failures() {
            write!(f, "{error}")?;
            if error.kind == ErrorKind::AccessDenied {
                write!(f, "; allow {} on {}", step.iam_action(), step.resource(&self.bucket))?;
            }
            if step == Step::CompleteUpload && error.kind == ErrorKind::ChecksumMismatch {
                write!(f, "; the store may know no checksum of whole uploads: try `composite`")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Takes the steps against `store`, leaving a small object at `control_key` and one beside it.
///
/// A missing permission does not end it, so that one run names all of them; what makes every
/// further step fail in the same way (no connection, no bucket, no credentials) does.
pub async fn probe(store: &dyn BlobStore, control_key: &str) -> Probe {
    let mut probe = Probe { bucket: store.bucket().to_owned(), findings: Vec::new() };
    if probe.note(Step::Bucket, store.check().await) {
        let _ = probe.put(store, control_key).await && probe.upload(store, control_key).await;
    }
    probe
}

impl Probe {
    /// Whether it makes sense to go on.
    fn note(&mut self, step: Step, outcome: Result<(), StoreError>) -> bool {
        let go_on = match &outcome {
            Ok(()) => true,
            Err(error) => matches!(error.kind, ErrorKind::AccessDenied | ErrorKind::Unsupported),
        };
        self.findings.push(Finding { step, outcome });
        go_on
    }

    async fn put(&mut self, store: &dyn BlobStore, key: &str) -> bool {
        let first = put(store, key).await;
        let stored = first.is_ok();
        if !self.note(Step::Put, first.map(drop)) {
            return false;
        }
        if !stored {
            return true;
        }
        let again = match put(store, key).await {
            Ok(Answer::Refused) => Ok(()),
            Ok(Answer::Stored) => Err(StoreError::new(
                Operation::Put,
                key,
                ErrorKind::Unsupported,
                "a second conditional put was stored too: the store ignores If-None-Match",
            )),
            Err(error) => Err(error),
        };
        self.note(Step::ConditionalPut, again) && self.note(Step::Head, head(store, key).await)
    }

    async fn upload(&mut self, store: &dyn BlobStore, key: &str) -> bool {
        if !self.note(Step::ListUploads, store.list_uploads(key).await.map(drop)) {
            return false;
        }
        match store.create_upload(key, &options()).await {
            Err(error) => self.note(Step::CreateUpload, Err(error)),
            Ok(upload) => {
                self.note(Step::CreateUpload, Ok(()))
                    && self.note(Step::AbortUpload, store.abort_upload(key, &upload).await)
                    && self.note(Step::CompleteUpload, complete(store, &format!("{key}-multipart")).await)
            }
        }
    }
}

enum Answer {
    Stored,
    Refused,
}

fn options() -> PutOptions {
    PutOptions {
        content_type: "text/plain; charset=utf-8".into(),
        content_encoding: None,
        metadata: vec![(METADATA.0.into(), METADATA.1.into())],
        crc32c: crc32c::crc32c(CONTENT),
        conditional: true,
        composite: false,
    }
}

async fn put(store: &dyn BlobStore, key: &str) -> Result<Answer, StoreError> {
    match store.put_if_absent(key, Body::from(Bytes::from_static(CONTENT)), &options()).await {
        Ok(_) => Ok(Answer::Stored),
        Err(error) if error.kind == ErrorKind::PreconditionFailed => Ok(Answer::Refused),
        Err(error) => Err(error),
    }
}

/// Leaves no upload behind as far as it can: what may not be completed is aborted.
async fn complete(store: &dyn BlobStore, key: &str) -> Result<(), StoreError> {
    let put = options();
    let upload = store.create_upload(key, &put).await?;
    let body = Body::from(Bytes::from_static(CONTENT));
    let completed = match store.upload_part(key, &upload, 1, body, put.crc32c).await {
        Ok(part) => store.complete_upload(key, &upload, &[part], &put).await,
        Err(error) => Err(error),
    };
    let Err(error) = completed else { return Ok(()) };
    let aborted = store.abort_upload(key, &upload).await;
    // Refused for the object that an earlier probe has left there: it could be completed then.
    if error.kind == ErrorKind::PreconditionFailed { aborted } else { Err(error) }
}

async fn head(store: &dyn BlobStore, key: &str) -> Result<(), StoreError> {
    let info = store.head(key, None).await?;
    let metadata = info.metadata.get(METADATA.0).map(String::as_str);
    if info.length == CONTENT.len() as u64 && metadata == Some(METADATA.1) {
        return Ok(());
    }
    let message = "the object is not as it was put: length or metadata differ";
    Err(StoreError::new(Operation::Head, key, ErrorKind::Unsupported, message))
}

#[cfg(test)]
mod tests;
