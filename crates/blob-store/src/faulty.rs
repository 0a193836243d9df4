//! [`FaultyStore`]: any store, misbehaving on purpose.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    BlobStore, Body, ErrorKind, Object, ObjectInfo, Operation, Page, Part, PutOptions, StoreError, Stored,
    Upload, UploadId,
};

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has not had its effect.
    Before(ErrorKind),
    /// The call has its effect, and its answer is lost to this error.
    After(ErrorKind),
    /// The call has its effect and never returns: what a crash while waiting looks like.
    Hang,
}

/// Which calls fail, and how.
#[derive(Debug, Default)]
pub struct FaultPlan {
    _private: (),
}

impl FaultPlan {
    /// Faults for the next calls of `operation`, one each; `None` lets a call pass.
    #[must_use]
    pub fn script(self, operation: Operation, faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        let _ = (operation, faults);
        self
    }

    /// Beyond the scripts, each call fails with `probability` (0 to 1), reproducibly by `seed`.
    #[must_use]
    pub fn random(self, seed: u64, probability: f64) -> Self {
        let _ = (seed, probability);
        self
    }
}

/// A store whose calls fail as planned.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    plan: Arc<FaultPlan>,
}

impl<S> FaultyStore<S> {
    /// `inner`, failing by `plan`.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        Self { inner, plan: Arc::new(plan) }
    }
}

#[async_trait]
impl<S: BlobStore> BlobStore for FaultyStore<S> {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }
    async fn check(&self) -> Result<(), StoreError> {
        todo!("{:?}", self.plan)
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
