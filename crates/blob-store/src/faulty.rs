//! [`FaultyStore`]: any store, misbehaving on purpose.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};

use crate::{
    BlobStore, Body, ErrorKind, Object, ObjectInfo, Operation, Page, Part, PutOptions, StoreError, Stored,
    Upload, UploadId,
};

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and has not had its effect.
    Before(ErrorKind),
    /// The call has its effect, and its answer is lost to this error. A get answers, and its
    /// stream breaks off.
    After(ErrorKind),
    /// The call has its effect and never returns, as for a program that dies while it waits.
    Hang,
    /// A put says that it has stored, in a store's own words, and has not. Any other call passes.
    Forget,
}

/// Which calls fail, and how.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    scripts: HashMap<Operation, VecDeque<Option<Fault>>>,
    chance: Option<Chance>,
}

/// Random faults, the same for the same seed and the same sequence of calls.
#[derive(Clone, Debug)]
struct Chance {
    state: u64,
    probability: f64,
}

/// A store whose calls fail as planned, and that remembers every call. For tests: what it
/// remembers is not bounded. Clones share plan and memory.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    plan: FaultPlan,
    calls: Vec<(Operation, String)>,
    injected: u64,
}

impl FaultPlan {
    /// Faults for the next calls of `operation`, one each; `None` lets a call pass.
    #[must_use]
    pub fn script(mut self, operation: Operation, faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        self.scripts.entry(operation).or_default().extend(faults);
        self
    }

    /// Beyond the scripts, each call fails with `probability` (0 to 1), reproducibly by `seed`,
    /// with what such a call meets in life: time-outs and resets before and after storing,
    /// throttling, 5xx, conflicts, and errors in a completion's 200.
    #[must_use]
    pub fn random(mut self, seed: u64, probability: f64) -> Self {
        self.chance = Some(Chance { state: seed, probability });
        self
    }

    fn next(&mut self, operation: Operation) -> Option<Fault> {
        match self.scripts.get_mut(&operation).and_then(VecDeque::pop_front) {
            Some(scripted) => scripted,
            None => self.chance.as_mut()?.draw(operation),
        }
    }
}

impl Chance {
    fn draw(&mut self, operation: Operation) -> Option<Fault> {
        const COMMON: [Fault; 7] = [
            Fault::Before(ErrorKind::Connection),
            Fault::Before(ErrorKind::Timeout),
            Fault::Before(ErrorKind::Throttled),
            Fault::Before(ErrorKind::Server),
            Fault::After(ErrorKind::Connection),
            Fault::After(ErrorKind::Timeout),
            Fault::After(ErrorKind::Server),
        ];
        const CONDITIONAL: [Fault; 1] = [Fault::Before(ErrorKind::ConditionalConflict)];
        const IN_200: [Fault; 2] =
            [Fault::Before(ErrorKind::ErrorIn200), Fault::After(ErrorKind::ErrorIn200)];
        if (self.next() >> 11) as f64 / (1_u64 << 53) as f64 >= self.probability {
            return None;
        }
        let special: &[&[Fault]] = match operation {
            Operation::Put => &[&CONDITIONAL],
            Operation::CompleteUpload => &[&CONDITIONAL, &IN_200],
            _ => &[],
        };
        let faults: Vec<Fault> = COMMON.iter().chain(special.iter().copied().flatten()).copied().collect();
        let at = self.next() % faults.len() as u64;
        Some(faults[at as usize])
    }

    /// SplitMix64: small, and good enough to choose faults.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl<S> FaultyStore<S> {
    /// `inner`, failing by `plan`.
    pub fn new(inner: S, plan: FaultPlan) -> Self {
        let shared = Shared { plan, calls: Vec::new(), injected: 0 };
        Self { inner, shared: Arc::new(Mutex::new(shared)) }
    }

    /// The store beneath, for looking at what is really there.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Another plan from now on; an empty one ends all faults.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.shared().plan = plan;
    }

    /// Every call so far with its key (or bucket, or prefix), in order.
    pub fn calls(&self) -> Vec<(Operation, String)> {
        self.shared().calls.clone()
    }

    /// How many calls were made to fail.
    pub fn injected(&self) -> u64 {
        self.shared().injected
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: Operation, subject: &str) -> Option<Fault> {
        let mut shared = self.shared();
        shared.calls.push((operation, subject.to_owned()));
        let fault = shared.plan.next(operation);
        shared.injected += u64::from(fault.is_some());
        fault
    }

    async fn make<T>(
        &self,
        operation: Operation,
        subject: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        carry_out(self.begin(operation, subject), operation, subject, call).await
    }
}

async fn carry_out<T>(
    fault: Option<Fault>,
    operation: Operation,
    subject: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match fault {
        None | Some(Fault::Forget) => call.await,
        Some(Fault::Before(kind)) => Err(injected(operation, subject, kind)),
        // A call that fails by itself has no answer to lose.
        Some(Fault::After(kind)) => call.await.and_then(|_| Err(injected(operation, subject, kind))),
        Some(Fault::Hang) => {
            let _ = call.await;
            std::future::pending().await
        }
    }
}

fn injected(operation: Operation, subject: &str, kind: ErrorKind) -> StoreError {
    let error = StoreError::new(operation, subject, kind, "injected fault");
    match kind {
        ErrorKind::PreconditionFailed => error.answered(412, "PreconditionFailed"),
        ErrorKind::ConditionalConflict => error.answered(409, "ConditionalRequestConflict"),
        ErrorKind::NoSuchKey => error.answered(404, "NoSuchKey"),
        ErrorKind::NoSuchUpload => error.answered(404, "NoSuchUpload"),
        ErrorKind::NoSuchBucket => error.answered(404, "NoSuchBucket"),
        ErrorKind::AccessDenied => error.answered(403, "AccessDenied"),
        ErrorKind::CredentialsExpired => error.answered(400, "ExpiredToken"),
        ErrorKind::Throttled => error.answered(503, "SlowDown"),
        ErrorKind::Server => error.answered(500, "InternalError"),
        ErrorKind::ErrorIn200 => error.answered(200, "InternalError"),
        ErrorKind::ChecksumMismatch => error.answered(400, "BadDigest"),
        ErrorKind::Unsupported => error.answered(501, "NotImplemented"),
        ErrorKind::NeverValid => error.answered(400, "EntityTooLarge"),
        ErrorKind::Rejected => error.answered(400, "InvalidRequest"),
        ErrorKind::NotS3 => StoreError { status: Some(200), ..error },
        ErrorKind::Credentials | ErrorKind::Timeout | ErrorKind::Connection | ErrorKind::Body => error,
    }
}

/// The first half of an object's first slice, and then a broken connection.
fn break_off(object: Object) -> Object {
    let cut = || io::Error::new(io::ErrorKind::ConnectionReset, "injected fault");
    let first = object.body.take(1).map(|slice| slice.map(|slice| slice.slice(..slice.len() / 2)));
    Object { info: object.info, body: Box::pin(first.chain(stream::iter([Err(cut())]))) }
}

#[async_trait]
impl<S: BlobStore> BlobStore for FaultyStore<S> {
    fn bucket(&self) -> &str {
        self.inner.bucket()
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.make(Operation::Check, self.inner.bucket(), self.inner.check()).await
    }

    async fn put_if_absent(&self, key: &str, body: Body, put: &PutOptions) -> Result<Stored, StoreError> {
        let fault = self.begin(Operation::Put, key);
        if fault == Some(Fault::Forget) {
            return Ok(Stored { etag: Some("forgotten".into()), version_id: None });
        }
        carry_out(fault, Operation::Put, key, self.inner.put_if_absent(key, body, put)).await
    }

    async fn create_upload(&self, key: &str, put: &PutOptions) -> Result<UploadId, StoreError> {
        self.make(Operation::CreateUpload, key, self.inner.create_upload(key, put)).await
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: i32,
        body: Body,
        crc32c: u32,
    ) -> Result<Part, StoreError> {
        let call = self.inner.upload_part(key, upload, number, body, crc32c);
        self.make(Operation::UploadPart, key, call).await
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        put: &PutOptions,
    ) -> Result<Stored, StoreError> {
        let call = self.inner.complete_upload(key, upload, parts, put);
        self.make(Operation::CompleteUpload, key, call).await
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        self.make(Operation::AbortUpload, key, self.inner.abort_upload(key, upload)).await
    }

    async fn discard(&self, key: &str) -> Result<(), StoreError> {
        self.make(Operation::Discard, key, self.inner.discard(key)).await
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        self.make(Operation::ListUploads, prefix, self.inner.list_uploads(prefix)).await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        self.make(Operation::Head, key, self.inner.head(key, version)).await
    }

    async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        match self.begin(Operation::Get, key) {
            None | Some(Fault::Forget) => self.inner.get(key, version, range).await,
            Some(Fault::Before(kind)) => Err(injected(Operation::Get, key, kind)),
            Some(Fault::After(_)) => self.inner.get(key, version, range).await.map(break_off),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, max: usize) -> Result<Page, StoreError> {
        self.make(Operation::List, prefix, self.inner.list(prefix, start_after, max)).await
    }
}

#[cfg(test)]
mod tests;
