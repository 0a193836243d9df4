//! [`S3Store`]: the store on S3 itself, or on any server that speaks its protocol.

mod options;

pub use options::{Credentials, S3Options};

use std::ops::Range;

use async_trait::async_trait;

use crate::{
    BlobStore, Body, ConnectError, Object, ObjectInfo, Page, Part, PutOptions, StoreError, Stored, Upload,
    UploadId,
};

/// A bucket on S3. Cheap to clone; clones share connections and credentials.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: std::sync::Arc<str>,
}

impl S3Store {
    /// Sets up client and credentials for `options.bucket`. Sends nothing to the bucket; finding
    /// region or credentials may ask the machine's metadata service.
    pub async fn connect(options: S3Options) -> Result<Self, ConnectError> {
        Ok(Self { bucket: options.bucket.into() })
    }

    /// The same store bound to another bucket, sharing connections and credentials.
    #[must_use]
    pub fn for_bucket(&self, bucket: &str) -> Self {
        Self { bucket: bucket.into() }
    }
}

#[async_trait]
impl BlobStore for S3Store {
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
