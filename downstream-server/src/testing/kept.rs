//! A store that holds what was kept of a pipeline of before, each object with the `ETag` that it had.

use std::collections::HashMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blob_store::{
    BlobStore, Body, ErrorKind, Object, ObjectInfo, Operation, Page, Part, PutOptions, StoreError, Stored,
    Upload, UploadId,
};
use bytes::Bytes;
use serde::Deserialize;

/// One object as the fixture has it.
#[derive(Deserialize)]
struct Recorded {
    key: String,
    content_encoding: Option<String>,
    etag: String,
    metadata: HashMap<String, String>,
    body_base64: String,
}

/// Objects that can be read, and nothing else.
pub(crate) struct Kept(HashMap<String, (ObjectInfo, Bytes)>);

impl Kept {
    /// The objects of the pipeline of which `tests/fixtures/v3` is.
    pub(crate) fn of_version_3() -> Self {
        let text = std::fs::read("tests/fixtures/v3/objects.json").expect("the fixture");
        let recorded: Vec<Recorded> = serde_json::from_slice(&text).expect("the fixture");
        let object = |recorded: Recorded| {
            let body = STANDARD.decode(recorded.body_base64).expect("the fixture");
            let info = ObjectInfo {
                length: Some(body.len() as u64),
                etag: Some(recorded.etag),
                content_encoding: recorded.content_encoding,
                metadata: recorded.metadata,
                ..ObjectInfo::default()
            };
            (recorded.key, (info, Bytes::from(body)))
        };
        Self(recorded.into_iter().map(object).collect())
    }

    fn find(&self, operation: Operation, key: &str) -> Result<&(ObjectInfo, Bytes), StoreError> {
        let missing = || StoreError::new(operation, key, ErrorKind::NoSuchKey, "it was not kept");
        self.0.get(key).ok_or_else(missing)
    }

    fn refuse<T>(operation: Operation) -> Result<T, StoreError> {
        Err(StoreError::new(operation, "any", ErrorKind::Unsupported, "this store is read only"))
    }
}

#[async_trait::async_trait]
impl BlobStore for Kept {
    fn bucket(&self) -> &'static str {
        "events"
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_if_absent(&self, _: &str, _: Body, _: &PutOptions) -> Result<Stored, StoreError> {
        Self::refuse(Operation::Put)
    }

    async fn create_upload(&self, _: &str, _: &PutOptions) -> Result<UploadId, StoreError> {
        Self::refuse(Operation::CreateUpload)
    }

    async fn upload_part(&self, _: &str, _: &UploadId, _: i32, _: Body, _: u32) -> Result<Part, StoreError> {
        Self::refuse(Operation::UploadPart)
    }

    async fn complete_upload(
        &self,
        _: &str,
        _: &UploadId,
        _: &[Part],
        _: &PutOptions,
    ) -> Result<Stored, StoreError> {
        Self::refuse(Operation::CompleteUpload)
    }

    async fn abort_upload(&self, _: &str, _: &UploadId) -> Result<(), StoreError> {
        Self::refuse(Operation::AbortUpload)
    }

    async fn list_uploads(&self, _: &str) -> Result<Vec<Upload>, StoreError> {
        Self::refuse(Operation::ListUploads)
    }

    async fn head(&self, key: &str, _: Option<&str>) -> Result<ObjectInfo, StoreError> {
        Ok(self.find(Operation::Head, key)?.0.clone())
    }

    async fn get(&self, key: &str, _: Option<&str>, range: Option<Range<u64>>) -> Result<Object, StoreError> {
        let (info, body) = self.find(Operation::Get, key)?.clone();
        let range = range.map_or(0..body.len(), |range| range.start as usize..range.end as usize);
        let pieces = futures_util::stream::iter([Ok(body.slice(range))]);
        Ok(Object { info, body: Box::pin(pieces) })
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        Self::refuse(Operation::List)
    }
}
