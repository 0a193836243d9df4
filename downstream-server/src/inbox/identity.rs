//! What makes two notices speak of the same object.
//!
//! One of our objects is its cut, whatever bucket, version or sequencer a notice names. Any
//! other object is its bucket, its key and its version, or its `ETag` where the bucket keeps no
//! versions. A notice that names neither is known by its sequencer, or by the key alone, until
//! the fetch has seen the object; then its row takes the full identity, and turns out to be a
//! repeat if that one is done already.

use contract::{CutId, Notice, ObjectKey, ObjectMetadata};

/// What the inbox knows an object by; unique among its rows. Two are equal if their texts are,
/// whatever else was told.
#[derive(Debug, Clone)]
pub struct Identity {
    text: String,
    cut: Option<CutId>,
    metadata: Option<ObjectMetadata>,
    version_id: Option<String>,
    etag: Option<String>,
}

impl Identity {
    /// The identity of one of our cuts: the cut's id.
    pub fn of_cut(cut: CutId) -> Self {
        let text = cut.to_string();
        // No agent ever seals so many; a key can be made up, and ranges count in 63 bits.
        let cut = Some(cut).filter(|cut| cut.number < i64::MAX as u64);
        Self { text, cut, metadata: None, version_id: None, etag: None }
    }

    /// What a notice tells of the object's identity: its idempotency id.
    pub fn of_notice(notice: &Notice) -> Self {
        if let Some(cut) = ObjectKey::cut_of(&notice.key) {
            return Self::of_cut(cut);
        }
        let text = notice.idempotency_id();
        Self { text, cut: None, metadata: None, version_id: None, etag: None }
    }

    /// What one of our objects tells by its metadata.
    pub fn of_metadata(metadata: ObjectMetadata) -> Self {
        Self { metadata: Some(metadata.clone()), ..Self::of_cut(metadata.cut) }
    }

    /// What the store tells about an object that is not ours: the same id as of a notice that
    /// names its version, or else its `ETag`.
    pub fn of_object(bucket: &str, key: &str, version: Option<&str>, etag: Option<&str>) -> Self {
        let told = Notice {
            version_id: version.map(str::to_owned),
            etag: etag.map(str::to_owned),
            ..Notice::new(bucket, key)
        };
        Self::of_notice(&told).stored_as(told.version(), told.entity_tag())
    }

    /// The same, with the version and the `ETag` that the store gave.
    #[must_use]
    pub fn stored_as(self, version: Option<&str>, etag: Option<&str>) -> Self {
        Self { version_id: version.map(str::to_owned), etag: etag.map(str::to_owned), ..self }
    }

    /// The text that the inbox stores.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The cut, if this is one of our objects.
    pub fn cut(&self) -> Option<&CutId> {
        self.cut.as_ref()
    }

    /// What the object says about itself, if it is ours and was looked at.
    pub fn metadata(&self) -> Option<&ObjectMetadata> {
        self.metadata.as_ref()
    }

    /// The version that the store gave.
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// The `ETag` that the store gave.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Identity {}
