//! The seam: [`BlobStore`] and what goes in and out of it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::{Body, ByteStream, ErrorKind, Operation, StoreError};

/// An object store bound to one bucket, as S3 defines it.
///
/// The contract every implementation keeps, and `conformance` checks:
///
/// - **Whole or absent.** An object is visible with all its bytes and metadata, or not at all.
///   A failed or abandoned request leaves nothing visible but, at most, the whole object.
/// - **Durable at `Ok`.** When a put or a completion returns `Ok`, the object outlives the store.
/// - **One winner.** Of any number of racing conditional puts and completions of one key exactly
///   one returns `Ok`; the others fail with [`PreconditionFailed`](crate::ErrorKind::PreconditionFailed)
///   or [`ConditionalConflict`](crate::ErrorKind::ConditionalConflict).
/// - **Read after write.** What returned `Ok` is seen by every later head, get and list.
/// - **Only what the checksum says.** A put or a part whose bytes are not those of its checksum fails with
///   [`Body`](crate::ErrorKind::Body) before its last byte is sent, whether the store would have noticed or not.
/// - **Only the store's word.** What something else than a store has answered is
///   [`NotS3`](crate::ErrorKind::NotS3), never `Ok`.
/// - **One call, one request.** Nothing is retried here.
/// - **Cancellation.** Dropping the future of a call means "may have been stored", as a time-out does.
/// - **Errors** say by their kind whether the effect may have taken place:
///   [`StoreError::may_be_stored`].
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// The bucket that every key below is in.
    fn bucket(&self) -> &str;

    /// Asks whether the bucket is there and these credentials may use it.
    async fn check(&self) -> Result<(), StoreError>;

    /// Stores one object. With [`PutOptions::conditional`] only if the key holds none:
    /// otherwise `PreconditionFailed`, and the object that is there stays as it is.
    async fn put_if_absent(&self, key: &str, body: Body, put: &PutOptions) -> Result<Stored, StoreError>;

    /// Begins a multipart upload. Nothing is visible under `key` before it is completed.
    /// Of `put` it takes type, encoding and metadata.
    async fn create_upload(&self, key: &str, put: &PutOptions) -> Result<UploadId, StoreError>;

    /// Stores part `number` (1 to 10,000) of an upload; a part sent again replaces the earlier one.
    /// Every part but the last has at least 5 MiB. `crc32c` is that of the part's bytes.
    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: i32,
        body: Body,
        crc32c: u32,
    ) -> Result<Part, StoreError>;

    /// Makes the upload's object visible: `parts` in ascending order, under the condition of
    /// `put.conditional`, if the CRC32C of the whole equals `put.crc32c`.
    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        put: &PutOptions,
    ) -> Result<Stored, StoreError>;

    /// Drops an upload and its parts. An upload that is gone already is
    /// [`NoSuchUpload`](crate::ErrorKind::NoSuchUpload) or `Ok`: stores differ.
    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError>;

    /// Removes an object that was put to try the store out. Nothing else is ever removed: agent and server need no
    /// right to it, and a store that knows of none says `Unsupported`.
    async fn discard(&self, key: &str) -> Result<(), StoreError> {
        let message = "this store removes nothing";
        Err(StoreError::new(Operation::Discard, key, ErrorKind::Unsupported, message))
    }

    /// Every unfinished upload whose key begins with `prefix`, of this program or any other.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError>;

    /// What is known about an object, or about one `version` of it.
    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError>;

    /// An object's bytes, or those of `range` (zero-based, end exclusive, not empty), as a stream.
    ///
    /// The stream fails rather than end early: fewer bytes than promised are an error.
    async fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError>;

    /// At most `max` (and at most 1,000) objects whose key begins with `prefix` and sorts, by its
    /// UTF-8 bytes, after `start_after`. The last name of a truncated page begins the next.
    ///
    /// A store may not be able to write a key down so that it can be read: then the page fails with
    /// [`ErrorIn200`](crate::ErrorKind::ErrorIn200), and one of a single object (`max` is 1) tells the key as
    /// [`Page::unreadable`]. Whoever halves `max` at each such failure comes past it.
    async fn list(&self, prefix: &str, start_after: Option<&str>, max: usize) -> Result<Page, StoreError>;
}

/// How an object is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// `Content-Type`, such as `text/plain; charset=utf-8`.
    pub content_type: String,
    /// `Content-Encoding`, such as `gzip`.
    pub content_encoding: Option<String>,
    /// User metadata: lower-case ASCII names without `x-amz-meta-`, ASCII values, below 2 KB in all.
    pub metadata: Vec<(String, String)>,
    /// CRC32C of the whole object's bytes.
    pub crc32c: u32,
    /// Store only if the key holds no object (`If-None-Match: *`).
    pub conditional: bool,
    /// Of a multipart upload: only the parts' checksums vouch for its bytes, for stores that refuse one of the whole.
    pub composite: bool,
}

/// What the store said about an object it has just stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The entity tag without its quotes. Never a checksum to rely on (encryption, multipart).
    pub etag: Option<String>,
    /// The version, where the bucket keeps versions.
    pub version_id: Option<String>,
}

/// The store's name of an unfinished multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub String);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part that was stored, as completing the upload names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: i32,
    /// The entity tag as the store gave it, without its quotes.
    pub etag: String,
    /// CRC32C of the part's bytes.
    pub crc32c: u32,
}

/// An unfinished upload found by listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The key it was created for.
    pub key: String,
    /// Its name.
    pub id: UploadId,
    /// When it was created, by the store's clock.
    pub initiated: Option<SystemTime>,
}

/// What a head or a get says about an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes of the whole object, also when a range was asked for. `None` where the answer does not say,
    /// as one that is sent in chunks: the end of the body tells then.
    pub length: Option<u64>,
    /// The entity tag without its quotes.
    pub etag: Option<String>,
    /// The version, where the bucket keeps versions.
    pub version_id: Option<String>,
    /// User metadata, names in lower case and without `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
    /// CRC32C of the whole object, from a head of a store that keeps it. `None` says nothing about
    /// the bytes.
    pub crc32c: Option<u32>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// When the object was stored, by the store's clock, in whole seconds.
    pub last_modified: Option<SystemTime>,
}

/// An object being read.
pub struct Object {
    /// What the answer's headers said.
    pub info: ObjectInfo,
    /// The bytes asked for. It ends early only with an error.
    pub body: ByteStream,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("info", &self.info).finish_non_exhaustive()
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects in ascending order of their keys' bytes.
    pub objects: Vec<Listed>,
    /// Names of objects that cannot be read as they stand on the page, so that nobody can ask for them: as near to
    /// the keys as can be told, and sorting no lower.
    pub unreadable: Vec<String>,
    /// Whether there are more.
    pub truncated: bool,
}

impl Page {
    /// The last name on the page, after which the next one begins.
    pub fn last(&self) -> Option<&str> {
        let last = self.objects.last().map(|object| &*object.key);
        last.max(self.unreadable.iter().map(|name| &**name).max())
    }
}

/// An object found by listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub length: u64,
    /// The entity tag without its quotes.
    pub etag: Option<String>,
    /// When it was stored, by the store's clock.
    pub last_modified: Option<SystemTime>,
}
