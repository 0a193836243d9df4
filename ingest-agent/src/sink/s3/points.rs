//! Fail points: places, by name, at which a test can stop the sink as a crash would.

use std::fmt;
use std::sync::Arc;

use super::error::S3SinkError;

/// Decides at each point whether to stop there; by default never.
#[derive(Clone, Default)]
pub struct FailPoints(Option<Arc<dyn Fn(&'static str) -> bool + Send + Sync>>);

impl FailPoints {
    /// Every point, in the order in which a channel and its cuts meet them: before and after whatever makes a
    /// difference on the disk or in the store. After a request means that its answer is lost.
    pub const ALL: [&'static str; 24] = [
        "before_claim",
        "after_claim",
        "before_leftovers",
        "before_staging_sync",
        "before_seal",
        "after_seal",
        "before_attempt",
        "after_attempt",
        "before_put",
        "after_put",
        "before_create",
        "after_create",
        "after_upload_recorded",
        "before_part",
        "after_part",
        "before_complete",
        "after_complete",
        "after_look",
        "before_abort",
        "after_abort",
        "before_keep",
        "before_done",
        "after_done",
        "before_release",
    ];

    /// Stops where `stop` says so.
    pub fn new(stop: impl Fn(&'static str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(stop)))
    }

    pub(super) fn reach(&self, name: &'static str) -> Result<(), S3SinkError> {
        match &self.0 {
            Some(stop) if stop(name) => Err(S3SinkError::FailPoint(name)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for FailPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailPoints").field(&self.0.is_some()).finish()
    }
}
