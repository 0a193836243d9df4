//! What `--check-config --connect` asks of a store before anything depends on it: what the agent will ask.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::CONTROL;
use crate::{BlobStore, Body, ErrorKind, Operation, PutOptions, StoreError, Upload, advice};

/// What the object under the control key says to a person who finds it.
const CONTENT: &[u8] = b"Written by sluicegate to find out whether it may put objects here.\n";
const METADATA: (&str, &str) = (CONTROL, "check");

/// What may be relied on. `None`: whatever the store is found to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// That conditional puts are kept (`Some(true)`), or that none are asked for.
    pub conditional: Option<bool>,
    /// That multipart uploads have the checksums of their parts alone (`Some(true)`), or one of the whole.
    pub composite: Option<bool>,
}

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
    pub outcome: Outcome,
}

/// How a step went.
#[derive(Debug)]
pub enum Outcome {
    /// As it should.
    Kept,
    /// The store does not do it, which can be lived with: how.
    Weaker(String),
    /// Nothing works without it.
    Failed(StoreError),
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
    /// The object can be read, as a claim is.
    Get,
    /// Unfinished uploads can be listed, so that our own can be cleaned up after a crash.
    ListUploads,
    /// An upload can be begun.
    CreateUpload,
    /// An upload can be dropped.
    AbortUpload,
    /// An upload can be completed, with a checksum that the store knows.
    CompleteUpload,
    /// What was put to find all this out can be removed again.
    Discard,
}

impl Step {
    /// The IAM action this step needs.
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::Bucket => Operation::Check,
            Self::Put | Self::ConditionalPut => Operation::Put,
            Self::Head => Operation::Head,
            Self::Get => Operation::Get,
            Self::ListUploads => Operation::ListUploads,
            Self::CreateUpload => Operation::CreateUpload,
            Self::AbortUpload => Operation::AbortUpload,
            Self::CompleteUpload => Operation::CompleteUpload,
            Self::Discard => Operation::Discard,
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
        self.findings.iter().filter_map(|finding| match &finding.outcome {
            Outcome::Failed(error) => Some((finding.step, error)),
            _ => None,
        })
    }

    /// Whether a conditional put was refused as it must be. `None`: it was not tried.
    pub fn honours_conditions(&self) -> Option<bool> {
        let tried = self.findings.iter().find(|finding| finding.step == Step::ConditionalPut)?;
        Some(matches!(tried.outcome, Outcome::Kept))
    }

    /// What a person is to do about a failed step.
    fn way_out(&self, step: Step, error: &StoreError) -> Option<String> {
        if error.kind == ErrorKind::AccessDenied {
            return Some(format!("allow {} on {}", step.iam_action(), step.resource(&self.bucket)));
        }
        if step == Step::CompleteUpload && error.kind == ErrorKind::ChecksumMismatch {
            return Some("the store may know no checksum of whole uploads: try `composite`".to_owned());
        }
        advice(error).map(str::to_owned)
    }
}

/// A line a step: its cause if it failed, and below it what to do.
impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { step, outcome } in &self.findings {
            match outcome {
                Outcome::Kept => writeln!(f, "{step:?}: ok")?,
                Outcome::Weaker(how) => writeln!(f, "{step:?}: weaker: {how}")?,
                Outcome::Failed(error) => {
                    writeln!(f, "{step:?}: FAILED: {error}")?;
                    if let Some(way_out) = self.way_out(*step, error) {
                        writeln!(f, "    {way_out}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes the steps against `store`, with small objects at `control_key` and beside it, which are removed again as far
/// as the store lets us.
///
/// A missing permission does not end it, so that one run names all of them; what makes every
/// further step fail in the same way (no connection, no bucket, no credentials) does.
pub async fn probe(store: &dyn BlobStore, control_key: &str, wanted: Wanted) -> Probe {
    let mut taken = Taken {
        store,
        key: control_key,
        wanted,
        conditional: wanted.conditional.unwrap_or(true),
        put: Vec::new(),
        findings: Vec::new(),
    };
    if taken.bucket().await {
        let _ = taken.object().await && taken.uploads().await;
        taken.discard().await;
    }
    Probe { bucket: store.bucket().to_owned(), findings: taken.findings }
}

/// The steps as far as they were taken.
struct Taken<'a> {
    store: &'a dyn BlobStore,
    key: &'a str,
    wanted: Wanted,
    /// Whether puts ask for absence, as far as is known by now.
    conditional: bool,
    /// What is there now for our asking.
    put: Vec<String>,
    findings: Vec<Finding>,
}

enum Answer {
    Stored,
    Refused,
}

impl Taken<'_> {
    /// Notes how a step went; whether it makes sense to go on.
    fn note(&mut self, step: Step, outcome: Outcome) -> bool {
        let go_on = match &outcome {
            Outcome::Kept | Outcome::Weaker(_) => true,
            Outcome::Failed(error) => matches!(error.kind, ErrorKind::AccessDenied | ErrorKind::Unsupported),
        };
        self.findings.push(Finding { step, outcome });
        go_on
    }

    fn note_result<T>(&mut self, step: Step, result: Result<T, StoreError>) -> bool {
        self.note(step, result.map_or_else(Outcome::Failed, |_| Outcome::Kept))
    }

    async fn bucket(&mut self) -> bool {
        let checked = match self.store.check().await {
            // The answer to a head has no body: why, only another request can tell.
            Err(error) if error.status.is_some() => match self.store.list(self.key, None, 1).await {
                Err(told) if told.status.is_some() => Err(told),
                _ => Err(error),
            },
            checked => checked,
        };
        self.note_result(Step::Bucket, checked)
    }

    async fn object(&mut self) -> bool {
        let mut first = self.put_once(self.key).await;
        let mut refused = None;
        if self.conditional
            && self.wanted.conditional.is_none()
            && let Err(error) = &first
            && matches!(error.kind, ErrorKind::Unsupported | ErrorKind::Rejected)
        {
            let text = format!("it refuses If-None-Match ({error})");
            self.conditional = false;
            first = self.put_once(self.key).await;
            refused = first.is_ok().then_some(text);
        }
        let stored = first.is_ok();
        if !self.note_result(Step::Put, first) || !stored {
            return !self.findings.iter().any(ends_it);
        }
        if let Some(refused) = refused {
            self.note(Step::ConditionalPut, Outcome::Weaker(looked_at(&refused)));
        } else if self.conditional {
            let again = match (self.put_once(self.key).await, self.wanted.conditional) {
                (Ok(Answer::Refused), _) => Outcome::Kept,
                (Ok(Answer::Stored), None) => {
                    self.conditional = false;
                    Outcome::Weaker(looked_at("it ignores If-None-Match"))
                }
                (Ok(Answer::Stored), _) => Outcome::Failed(self.departs(
                    Operation::Put,
                    "a second conditional put was stored too: the store ignores If-None-Match",
                )),
                (Err(error), _) => Outcome::Failed(error),
            };
            if !self.note(Step::ConditionalPut, again) {
                return false;
            }
        }
        let looked = self.head().await;
        if !self.note_result(Step::Head, looked) {
            return false;
        }
        let read = self.get().await;
        self.note_result(Step::Get, read)
    }

    async fn uploads(&mut self) -> bool {
        let listed = match self.store.list_uploads(self.key).await {
            Ok(uploads) => {
                // What an earlier check left when it was stopped; another one may be at work now.
                for upload in uploads.into_iter().filter(is_old) {
                    let _ = self.store.abort_upload(&upload.key, &upload.id).await;
                }
                Outcome::Kept
            }
            Err(error) if error.kind == ErrorKind::Unsupported => Outcome::Weaker(format!(
                "{error}; uploads that a crash leaves are for a lifecycle rule to abort"
            )),
            Err(error) => Outcome::Failed(error),
        };
        if !self.note(Step::ListUploads, listed) {
            return false;
        }
        match self.store.create_upload(self.key, &self.options(false)).await {
            Err(error) => self.note(Step::CreateUpload, Outcome::Failed(error)),
            Ok(upload) => {
                let aborted = self.store.abort_upload(self.key, &upload).await;
                self.note(Step::CreateUpload, Outcome::Kept)
                    && self.note_result(Step::AbortUpload, aborted)
                    && self.completion().await
            }
        }
    }

    async fn completion(&mut self) -> bool {
        let outcome = match self.wanted.composite {
            Some(composite) => {
                self.complete(composite).await.map_or_else(Outcome::Failed, |()| Outcome::Kept)
            }
            None => match self.complete(false).await {
                Ok(()) => Outcome::Kept,
                Err(whole) => match self.complete(true).await {
                    Ok(()) => Outcome::Weaker(
                        "it takes no checksum of a whole upload: those of the parts vouch for its bytes"
                            .to_owned(),
                    ),
                    Err(_) => Outcome::Failed(whole),
                },
            },
        };
        self.note(Step::CompleteUpload, outcome)
    }

    /// Each kind has a key of its own: what is there was taken as that kind. Leaves no upload behind as far as it can.
    async fn complete(&mut self, composite: bool) -> Result<(), StoreError> {
        let key = format!("{}-{}", self.key, if composite { "parts" } else { "whole" });
        let put = self.options(composite);
        let upload = self.store.create_upload(&key, &put).await?;
        let completed = match self.store.upload_part(&key, &upload, 1, content(), put.crc32c).await {
            Ok(part) => self.store.complete_upload(&key, &upload, &[part], &put).await,
            Err(error) => Err(error),
        };
        let Err(error) = completed else {
            self.put.push(key);
            return Ok(());
        };
        let aborted = self.store.abort_upload(&key, &upload).await;
        // Refused for the object that an earlier check has left there: it could be completed then.
        if error.kind != ErrorKind::PreconditionFailed {
            return Err(error);
        }
        self.put.push(key);
        aborted
    }

    /// What may not be removed stays, and is said.
    async fn discard(&mut self) {
        if self.put.is_empty() {
            return;
        }
        let mut left = Ok(());
        for key in std::mem::take(&mut self.put) {
            left = left.and(self.store.discard(&key).await);
        }
        let outcome = match left {
            Ok(()) => Outcome::Kept,
            Err(error) => Outcome::Weaker(format!("{error}; small objects stay at {}*", self.key)),
        };
        self.note(Step::Discard, outcome);
    }

    fn options(&self, composite: bool) -> PutOptions {
        PutOptions {
            content_type: "text/plain; charset=utf-8".into(),
            content_encoding: None,
            metadata: vec![(METADATA.0.into(), METADATA.1.into())],
            crc32c: crc32c::crc32c(CONTENT),
            conditional: self.conditional,
            composite,
        }
    }

    async fn put_once(&mut self, key: &str) -> Result<Answer, StoreError> {
        let answer = match self.store.put_if_absent(key, content(), &self.options(false)).await {
            Ok(_) => Answer::Stored,
            Err(error) if error.kind == ErrorKind::PreconditionFailed => Answer::Refused,
            Err(error) => return Err(error),
        };
        if !self.put.iter().any(|put| put == key) {
            self.put.push(key.to_owned());
        }
        Ok(answer)
    }

    async fn head(&self) -> Result<(), StoreError> {
        let info = self.store.head(self.key, None).await?;
        let metadata = info.metadata.get(METADATA.0).map(String::as_str);
        if info.length.is_none_or(|length| length == CONTENT.len() as u64) && metadata == Some(METADATA.1) {
            return Ok(());
        }
        Err(self.departs(Operation::Head, "the object is not as it was put: length or metadata differ"))
    }

    async fn get(&self) -> Result<(), StoreError> {
        let object = self.store.get(self.key, None, None).await?;
        let read: Result<Vec<Bytes>, _> = object.body.try_collect().await;
        match read {
            Ok(slices) if slices.concat() == CONTENT => Ok(()),
            Ok(_) => Err(self.departs(Operation::Get, "the object's bytes are not those that were put")),
            Err(error) => {
                let message = format!("reading the object: {error}");
                Err(StoreError::new(Operation::Get, self.key, ErrorKind::Connection, message))
            }
        }
    }

    fn departs(&self, operation: Operation, message: &str) -> StoreError {
        StoreError::new(operation, self.key, ErrorKind::Unsupported, message)
    }
}

fn content() -> Body {
    Body::from(Bytes::from_static(CONTENT))
}

fn ends_it(finding: &Finding) -> bool {
    matches!(&finding.outcome, Outcome::Failed(error)
        if !matches!(error.kind, ErrorKind::AccessDenied | ErrorKind::Unsupported))
}

fn is_old(upload: &Upload) -> bool {
    let age = upload.initiated.and_then(|initiated| initiated.elapsed().ok());
    age.is_some_and(|age| age > Duration::from_hours(1))
}

fn looked_at(why: &str) -> String {
    format!("{why}: each key is looked at before its put")
}

#[cfg(test)]
mod tests;
