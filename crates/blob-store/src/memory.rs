//! [`MemoryStore`]: the twin for tests, exact where S3 is exact.

use std::ops::Range;

use async_trait::async_trait;

use crate::{
    BlobStore, Body, Object, ObjectInfo, Page, Part, PutOptions, StoreError, Stored, Upload, UploadId,
};

/// A bucket in memory: conditional, versioned, with multipart uploads and checksums verified.
/// Clones share the bucket.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    bucket: std::sync::Arc<str>,
}

impl MemoryStore {
    /// An empty bucket.
    pub fn new(bucket: &str) -> Self {
        Self { bucket: bucket.into() }
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }
    async fn check(&self) -> Result<(), StoreError> {
        todo!()
    }
    async fn put_if_absent(&self, _: &str, _: Body, _: &PutOptions) -> Result<Stored, StoreError> {
        todo!()
    }
    async fn create_upload(&self, _: &str, _: &PutOptions) -> Result<UploadId, StoreError> {
        todo!()
    }
    async fn upload_part(&self, _: &str, _: &UploadId, _: i32, _: Body, _: u32) -> Result<Part, StoreError> {
        todo!()
    }
    async fn complete_upload(
        &self,
        _: &str,
        _: &UploadId,
        _: &[Part],
        _: &PutOptions,
    ) -> Result<Stored, StoreError> {
        todo!()
    }
    async fn abort_upload(&self, _: &str, _: &UploadId) -> Result<(), StoreError> {
        todo!()
    }
    async fn list_uploads(&self, _: &str) -> Result<Vec<Upload>, StoreError> {
        todo!()
    }
    async fn head(&self, _: &str, _: Option<&str>) -> Result<ObjectInfo, StoreError> {
        todo!()
    }
    async fn get(&self, _: &str, _: Option<&str>, _: Option<Range<u64>>) -> Result<Object, StoreError> {
        todo!()
    }
    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        todo!()
    }
}
