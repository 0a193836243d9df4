//! [`MemoryStore`]: the twin for tests, exact where S3 is exact.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;

use crate::{
    BlobStore, Body, ErrorKind, Listed, Object, ObjectInfo, Operation, Page, Part, PutOptions, StoreError,
    Stored, Upload, UploadId,
};

/// S3's smallest part, unless it is the last.
const SMALLEST_PART: usize = 5 << 20;

/// A bucket in memory: conditional, versioned, with multipart uploads and checksums verified.
/// Clones share the bucket.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    bucket: Arc<str>,
    smallest_part: usize,
    lacks: Lacks,
    state: Arc<Mutex<State>>,
}

/// What a store may lack that speaks S3's protocol all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// `If-None-Match` is not looked at.
    pub conditions: bool,
    /// Whatever asks for a condition is refused.
    pub condition_header: bool,
    /// A completion with a checksum of the whole is refused.
    pub whole_checksums: bool,
    /// A head of an object that came in parts gives another checksum than that of its bytes.
    pub right_checksums: bool,
}

#[derive(Debug, Default)]
struct State {
    /// Every version of each key, the newest last.
    objects: BTreeMap<String, Vec<Version>>,
    uploads: BTreeMap<UploadId, Pending>,
    /// Numbers given to versions and uploads.
    given: u64,
}

#[derive(Clone, Debug)]
struct Version {
    info: ObjectInfo,
    bytes: Bytes,
}

#[derive(Debug)]
struct Pending {
    key: String,
    put: PutOptions,
    initiated: SystemTime,
    parts: BTreeMap<i32, Bytes>,
}

impl MemoryStore {
    /// An empty bucket.
    pub fn new(bucket: &str) -> Self {
        Self {
            bucket: bucket.into(),
            smallest_part: SMALLEST_PART,
            lacks: Lacks::default(),
            state: Arc::default(),
        }
    }

    /// The same bucket taking parts below 5 MiB, so that tests can do with few bytes.
    #[must_use]
    pub fn with_smallest_part(mut self, bytes: usize) -> Self {
        self.smallest_part = bytes;
        self
    }

    /// The same bucket, lacking what some servers lack.
    #[must_use]
    pub fn lacking(mut self, lacks: Lacks) -> Self {
        self.lacks = lacks;
        self
    }

    /// Every object's newest version, by key: what a test compares.
    pub fn contents(&self) -> BTreeMap<String, Bytes> {
        let newest =
            |(key, versions): (&String, &Vec<Version>)| Some((key.clone(), versions.last()?.bytes.clone()));
        self.state().objects.iter().filter_map(newest).collect()
    }

    /// Refuses a condition, where the store knows of none.
    fn take_condition(&self, operation: Operation, key: &str, put: &PutOptions) -> Result<(), StoreError> {
        if put.conditional && self.lacks.condition_header {
            return Err(refuse(operation, key, ErrorKind::Unsupported, 501, "NotImplemented"));
        }
        Ok(())
    }

    /// What this store makes of a request's options.
    fn heeded(&self, put: &PutOptions) -> PutOptions {
        PutOptions { conditional: put.conditional && !self.lacks.conditions, ..put.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error as S3 would answer it.
fn refuse(operation: Operation, key: &str, kind: ErrorKind, status: u16, code: &str) -> StoreError {
    StoreError::new(operation, key, kind, "refused by the store in memory").answered(status, code)
}

/// A body's bytes, if they are the checksum's.
async fn receive(operation: Operation, key: &str, body: Body, crc32c: u32) -> Result<Bytes, StoreError> {
    let unreadable = |error: std::io::Error| {
        StoreError::new(operation, key, ErrorKind::Body, format!("reading our own bytes: {error}"))
            .caused_by(error)
    };
    body.checked(crc32c).collect().await.map_err(unreadable)
}

/// What S3 refuses by the request's headers alone.
fn admit(operation: Operation, key: &str, put: &PutOptions) -> Result<(), StoreError> {
    let never = |code| Err(refuse(operation, key, ErrorKind::NeverValid, 400, code));
    if key.is_empty() || key.len() > 1024 {
        return never("KeyTooLongError");
    }
    if put.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > 2048 {
        return never("MetadataTooLarge");
    }
    Ok(())
}

impl State {
    fn number(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn newest(&self, key: &str) -> Option<&Version> {
        self.objects.get(key)?.last()
    }

    fn find(&self, operation: Operation, key: &str, id: Option<&str>) -> Result<&Version, StoreError> {
        let found = match id {
            None => self.newest(key),
            Some(_) => self.objects.get(key).and_then(|versions| {
                versions.iter().find(|version| version.info.version_id.as_deref() == id)
            }),
        };
        found.ok_or_else(|| refuse(operation, key, ErrorKind::NoSuchKey, 404, "NoSuchKey"))
    }

    /// Makes an object visible, or refuses: the one place where the condition is decided.
    fn store(
        &mut self,
        operation: Operation,
        key: &str,
        bytes: Bytes,
        put: &PutOptions,
    ) -> Result<Stored, StoreError> {
        if put.conditional && self.newest(key).is_some() {
            return Err(refuse(operation, key, ErrorKind::PreconditionFailed, 412, "PreconditionFailed"));
        }
        let number = self.number();
        let info = ObjectInfo {
            length: Some(bytes.len() as u64),
            etag: Some(format!("etag-{number}")),
            version_id: Some(format!("version-{number}")),
            metadata: put.metadata.iter().cloned().collect(),
            crc32c: Some(crc32c::crc32c(&bytes)),
            content_type: Some(put.content_type.clone()),
            content_encoding: put.content_encoding.clone(),
            last_modified: Some(SystemTime::now()),
        };
        let stored = Stored { etag: info.etag.clone(), version_id: info.version_id.clone() };
        self.objects.entry(key.to_owned()).or_default().push(Version { info, bytes });
        Ok(stored)
    }

    fn upload(&mut self, operation: Operation, key: &str, id: &UploadId) -> Result<&mut Pending, StoreError> {
        let gone = || refuse(operation, key, ErrorKind::NoSuchUpload, 404, "NoSuchUpload");
        self.uploads.get_mut(id).filter(|pending| pending.key == key).ok_or_else(gone)
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, body: Body, put: &PutOptions) -> Result<Stored, StoreError> {
        admit(Operation::Put, key, put)?;
        self.take_condition(Operation::Put, key, put)?;
        let bytes = receive(Operation::Put, key, body, put.crc32c).await?;
        let put = self.heeded(put);
        self.state().store(Operation::Put, key, bytes, &put)
    }

    async fn create_upload(&self, key: &str, put: &PutOptions) -> Result<UploadId, StoreError> {
        admit(Operation::CreateUpload, key, put)?;
        let mut state = self.state();
        let id = UploadId(format!("upload-{}", state.number()));
        let pending = Pending {
            key: key.to_owned(),
            put: put.clone(),
            initiated: SystemTime::now(),
            parts: BTreeMap::new(),
        };
        state.uploads.insert(id.clone(), pending);
        Ok(id)
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: i32,
        body: Body,
        crc32c: u32,
    ) -> Result<Part, StoreError> {
        const OPERATION: Operation = Operation::UploadPart;
        if !(1..=10_000).contains(&number) {
            return Err(refuse(OPERATION, key, ErrorKind::NeverValid, 400, "InvalidArgument"));
        }
        let bytes = receive(OPERATION, key, body, crc32c).await?;
        self.state().upload(OPERATION, key, upload)?.parts.insert(number, bytes);
        Ok(Part { number, etag: part_etag(crc32c), crc32c })
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        put: &PutOptions,
    ) -> Result<Stored, StoreError> {
        const OPERATION: Operation = Operation::CompleteUpload;
        let never = |code| refuse(OPERATION, key, ErrorKind::NeverValid, 400, code);
        self.take_condition(OPERATION, key, put)?;
        let mut state = self.state();
        let pending = state.upload(OPERATION, key, upload)?;
        if parts.is_empty() {
            return Err(never("MalformedXML"));
        }
        if !parts.is_sorted_by(|one, next| one.number < next.number) {
            return Err(never("InvalidPartOrder"));
        }
        let mut whole = BytesMut::new();
        for (at, part) in parts.iter().enumerate() {
            let held = pending.parts.get(&part.number);
            let held = held.filter(|bytes| part_etag(crc32c::crc32c(bytes)) == part.etag);
            let bytes =
                held.ok_or_else(|| refuse(OPERATION, key, ErrorKind::NoSuchUpload, 400, "InvalidPart"))?;
            if bytes.len() < self.smallest_part && at + 1 < parts.len() {
                return Err(never("EntityTooSmall"));
            }
            whole.extend_from_slice(bytes);
        }
        // Where the parts' checksums alone vouch for the bytes, nobody compares the whole.
        if !put.composite && (self.lacks.whole_checksums || crc32c::crc32c(&whole) != put.crc32c) {
            return Err(refuse(OPERATION, key, ErrorKind::ChecksumMismatch, 400, "BadDigest"));
        }
        // Type, encoding and metadata were given when the upload was created.
        let composite = put.composite;
        let put = PutOptions { conditional: put.conditional, ..pending.put.clone() };
        let stored = state.store(OPERATION, key, whole.freeze(), &self.heeded(&put))?;
        if let Some(version) = state.objects.get_mut(key).and_then(|versions| versions.last_mut()) {
            let right = version.info.crc32c.filter(|_| !composite);
            version.info.crc32c = right.map(|crc| crc ^ u32::from(self.lacks.right_checksums));
        }
        state.uploads.remove(upload);
        Ok(stored)
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        let mut state = self.state();
        state.upload(Operation::AbortUpload, key, upload)?;
        state.uploads.remove(upload);
        Ok(())
    }

    async fn discard(&self, key: &str) -> Result<(), StoreError> {
        self.state().objects.remove(key);
        Ok(())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let state = self.state();
        let below = state.uploads.iter().filter(|(_, pending)| pending.key.starts_with(prefix));
        let mut uploads: Vec<_> = below
            .map(|(id, pending)| Upload {
                key: pending.key.clone(),
                id: id.clone(),
                initiated: Some(pending.initiated),
            })
            .collect();
        uploads.sort_by(|one, other| (&one.key, one.initiated).cmp(&(&other.key, other.initiated)));
        Ok(uploads)
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        Ok(self.state().find(Operation::Head, key, version)?.info.clone())
    }

    async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let Version { info, bytes } = self.state().find(Operation::Get, key, version)?.clone();
        // As on S3, only a head tells the checksum.
        let info = ObjectInfo { crc32c: None, ..info };
        let bytes = match range {
            None => bytes,
            Some(range) if range.start < bytes.len() as u64 && range.start < range.end => {
                bytes.slice(range.start as usize..range.end.min(bytes.len() as u64) as usize)
            }
            Some(_) => return Err(refuse(Operation::Get, key, ErrorKind::NeverValid, 416, "InvalidRange")),
        };
        Ok(Object { info, body: Box::pin(stream::iter([Ok(bytes)])) })
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, max: usize) -> Result<Page, StoreError> {
        let state = self.state();
        let from = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut below = state
            .objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, versions)| Some((key, versions.last()?)));
        let objects = below.by_ref().take(max.min(1000)).map(|(key, Version { info, bytes })| Listed {
            key: key.clone(),
            length: bytes.len() as u64,
            etag: info.etag.clone(),
            last_modified: info.last_modified,
        });
        Ok(Page { objects: objects.collect(), truncated: below.next().is_some(), ..Page::default() })
    }
}

fn part_etag(crc32c: u32) -> String {
    format!("part-{crc32c:08x}")
}
