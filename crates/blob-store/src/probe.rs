//! What `--check-config --connect` asks of a store before anything depends on it.

use crate::{BlobStore, StoreError};

/// What was found, step by step. The steps end with the first that failed.
#[derive(Debug)]
pub struct Probe {
    /// In the order they were taken.
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
    /// The object can be looked at, and has the metadata and length it was put with.
    Head,
}

impl Step {
    /// The IAM action this step needs.
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::Bucket => "s3:ListBucket",
            Self::Put | Self::ConditionalPut => "s3:PutObject",
            Self::Head => "s3:GetObject",
        }
    }
}

impl Probe {
    /// The step that failed, if one did.
    pub fn failure(&self) -> Option<(Step, &StoreError)> {
        self.findings.iter().find_map(|finding| Some((finding.step, finding.outcome.as_ref().err()?)))
    }
}

/// Takes the steps against `store`, writing one small object at `control_key` if it holds none.
pub async fn probe(store: &dyn BlobStore, control_key: &str) -> Probe {
    let _ = (store, control_key);
    todo!()
}
