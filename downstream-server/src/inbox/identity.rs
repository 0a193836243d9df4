//! What makes two notices speak of the same object.
//!
//! One of our objects is its cut, whatever bucket, version or sequencer a notice names. Any
//! other object is its bucket, its key and its version, or its `ETag` where the bucket keeps no
//! versions. A notice that names neither is known by its sequencer, or by the key alone, until
//! the fetch has seen the object; then its row takes the full identity, and turns out to be a
//! repeat if that one is done already.

use contract::{CutId, Notice, ObjectKey};

/// What the inbox knows an object by; unique among its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    text: String,
    cut: Option<CutId>,
}

impl Identity {
    /// The identity of one of our cuts: the cut's id.
    pub fn of_cut(cut: CutId) -> Self {
        Self { text: cut.to_string(), cut: Some(cut) }
    }

    /// What a notice tells of the object's identity: its idempotency id.
    pub fn of_notice(notice: &Notice) -> Self {
        Self { text: notice.idempotency_id(), cut: ObjectKey::cut_of(&notice.key) }
    }

    /// What the store tells about an object that is not ours: the same id as of a notice that
    /// names its version, or else its `ETag`.
    pub fn of_object(bucket: &str, key: &str, version: Option<&str>, etag: Option<&str>) -> Self {
        Self::of_notice(&Notice {
            version_id: version.map(str::to_owned),
            etag: etag.map(str::to_owned),
            ..Notice::new(bucket, key)
        })
    }

    /// The text that the inbox stores.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The cut, if this is one of our objects.
    pub fn cut(&self) -> Option<&CutId> {
        self.cut.as_ref()
    }
}
