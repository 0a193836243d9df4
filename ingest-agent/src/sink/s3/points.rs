//! Fail points: places, by name, at which a test can stop the sink as a crash would.

use std::fmt;
use std::sync::Arc;

use super::error::S3SinkError;

/// Decides at each point whether to stop there; by default never.
#[derive(Clone, Default)]
pub struct FailPoints(Option<Arc<dyn Fn(&'static str) -> bool + Send + Sync>>);

impl FailPoints {
    /// Every point, in the order in which a cut meets them.
    pub const ALL: [&'static str; 11] = [
        "before_staging_sync",
        "before_seal",
        "after_seal",
        "after_attempt",
        "before_put",
        "after_create",
        "after_upload_recorded",
        "after_part",
        "after_complete",
        "before_done",
        "after_done",
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
