//! [`S3Store`]: the store on S3 itself, or on any server that speaks its protocol.
//!
//! One file a concern: `options` what the user chooses, `connect` client and credentials,
//! `payload` our bytes on their way, `call` waiting and its limits, `genuine` which answers are S3's, `answer` what
//! errors mean, `headers` what of an answer is no text, `listing` keys on a page.
//! Here is what each operation says on the wire.

mod answer;
mod call;
mod connect;
mod genuine;
mod headers;
mod listing;
mod options;
mod payload;

pub use options::{Credentials, MultipartChecksum, S3Options};

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, EncodingType,
    StorageClass,
};

use crate::checksum;
use crate::{
    BlobStore, Body, ConnectError, ErrorKind, Object, ObjectInfo, Operation, Page, Part, PutOptions,
    StoreError, Stored, Upload, UploadId,
};
use call::Call;
use connect::Connection;

/// A bucket on S3. Cheap to clone; clones share connections and credentials.
#[derive(Clone, Debug)]
pub struct S3Store {
    connection: Arc<Connection>,
    bucket: Arc<str>,
}

impl S3Store {
    /// Sets up client and credentials for `options.bucket`. Sends nothing to the bucket; finding
    /// the region may ask the machine's metadata service.
    pub async fn connect(options: S3Options) -> Result<Self, ConnectError> {
        let bucket = options.bucket.as_str().into();
        Ok(Self { connection: Arc::new(Connection::open(options).await?), bucket })
    }

    /// The same store bound to another bucket, sharing connections and credentials.
    #[must_use]
    pub fn for_bucket(&self, bucket: &str) -> Self {
        Self { connection: Arc::clone(&self.connection), bucket: bucket.into() }
    }

    fn full_object(&self, put: &PutOptions) -> bool {
        !put.composite && self.connection.options.multipart_checksum == MultipartChecksum::FullObject
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.connection.options.storage_class.as_deref().map(StorageClass::from)
    }

    fn call<'a>(&'a self, operation: Operation, subject: &'a str) -> Call<'a> {
        Call::new(&self.connection, operation, subject)
    }
}

#[async_trait]
impl BlobStore for S3Store {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn check(&self) -> Result<(), StoreError> {
        let client = self.connection.client().await;
        let request = client.head_bucket().bucket(&*self.bucket);
        self.call(Operation::Check, &self.bucket).answer(request.send()).await?;
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, body: Body, put: &PutOptions) -> Result<Stored, StoreError> {
        let client = self.connection.client().await;
        let mut call = self.call(Operation::Put, key);
        let length = body.len();
        let request = client
            .put_object()
            .bucket(&*self.bucket)
            .key(key)
            .content_length(signed(length))
            .content_type(&put.content_type)
            .set_content_encoding(put.content_encoding.clone())
            .set_metadata(metadata(put))
            .set_storage_class(self.storage_class())
            .set_tagging(self.connection.options.tagging())
            .checksum_crc32_c(checksum::to_header(put.crc32c))
            .set_if_none_match(if_none_match(put))
            .body(call.payload(body.checked(put.crc32c)).await?);
        let output = call.answer(request.send()).await?;
        same_checksum(Operation::Put, key, output.checksum_crc32_c.as_deref(), put.crc32c)?;
        Ok(Stored { etag: etag(output.e_tag), version_id: version(output.version_id) })
    }

    async fn create_upload(&self, key: &str, put: &PutOptions) -> Result<UploadId, StoreError> {
        let client = self.connection.client().await;
        let request = client
            .create_multipart_upload()
            .bucket(&*self.bucket)
            .key(key)
            .content_type(&put.content_type)
            .set_content_encoding(put.content_encoding.clone())
            .set_metadata(metadata(put))
            .set_storage_class(self.storage_class())
            .set_tagging(self.connection.options.tagging())
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .set_checksum_type(self.full_object(put).then_some(ChecksumType::FullObject));
        let call = self.call(Operation::CreateUpload, key);
        let output = call.answer(request.send()).await?;
        output.upload_id.map(UploadId).ok_or_else(|| no_result(Operation::CreateUpload, key, "upload id"))
    }

    async fn upload_part(
        &self,
        key: &str,
        upload: &UploadId,
        number: i32,
        body: Body,
        crc32c: u32,
    ) -> Result<Part, StoreError> {
        let client = self.connection.client().await;
        let mut call = self.call(Operation::UploadPart, key);
        let length = body.len();
        let request = client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key)
            .upload_id(&upload.0)
            .part_number(number)
            .content_length(signed(length))
            .checksum_crc32_c(checksum::to_header(crc32c))
            .body(call.payload(body.checked(crc32c)).await?);
        let output = call.answer(request.send()).await?;
        same_checksum(Operation::UploadPart, key, output.checksum_crc32_c.as_deref(), crc32c)?;
        let etag = etag(output.e_tag).ok_or_else(|| no_result(Operation::UploadPart, key, "entity tag"))?;
        Ok(Part { number, etag, crc32c })
    }

    async fn complete_upload(
        &self,
        key: &str,
        upload: &UploadId,
        parts: &[Part],
        put: &PutOptions,
    ) -> Result<Stored, StoreError> {
        let client = self.connection.client().await;
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(format!("\"{}\"", part.etag))
                .checksum_crc32_c(checksum::to_header(part.crc32c))
                .build()
        });
        let request = client
            .complete_multipart_upload()
            .bucket(&*self.bucket)
            .key(key)
            .upload_id(&upload.0)
            .set_checksum_crc32_c(self.full_object(put).then(|| checksum::to_header(put.crc32c)))
            .set_checksum_type(self.full_object(put).then_some(ChecksumType::FullObject))
            .set_if_none_match(if_none_match(put))
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build());
        let call = self.call(Operation::CompleteUpload, key).waiting_long();
        let output = call.answer(request.send()).await?;
        // A completion's 200 leaves before its outcome is known; without a result it is none.
        let etag =
            etag(output.e_tag).ok_or_else(|| no_result(Operation::CompleteUpload, key, "entity tag"))?;
        Ok(Stored { etag: Some(etag), version_id: version(output.version_id) })
    }

    async fn abort_upload(&self, key: &str, upload: &UploadId) -> Result<(), StoreError> {
        let client = self.connection.client().await;
        let request = client.abort_multipart_upload().bucket(&*self.bucket).key(key).upload_id(&upload.0);
        self.call(Operation::AbortUpload, key).answer(request.send()).await?;
        Ok(())
    }

    async fn discard(&self, key: &str) -> Result<(), StoreError> {
        let client = self.connection.client().await;
        let request = client.delete_object().bucket(&*self.bucket).key(key);
        self.call(Operation::Discard, key).answer(request.send()).await?;
        Ok(())
    }

    async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, StoreError> {
        let client = self.connection.client().await;
        let mut uploads = Vec::new();
        let mut after: Option<(Option<String>, Option<String>)> = None;
        loop {
            let (key_marker, id_marker) = after.take().unwrap_or_default();
            let request = client
                .list_multipart_uploads()
                .bucket(&*self.bucket)
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(key_marker.clone())
                .set_upload_id_marker(id_marker.clone());
            let page = self.call(Operation::ListUploads, prefix).answer(request.send()).await?;
            let name = |written: String| listing::name(&written, page.encoding_type.as_ref());
            uploads.extend(page.uploads.unwrap_or_default().into_iter().filter_map(|upload| {
                Some(Upload {
                    // What no text can name is none of ours, and no call of this trait could name it.
                    key: name(upload.key?)?,
                    id: UploadId(upload.upload_id?),
                    initiated: upload.initiated.and_then(time),
                })
            }));
            let next = (page.next_key_marker.and_then(name), page.next_upload_id_marker);
            // A server whose next page begins where this one did would be asked for ever.
            if page.is_truncated != Some(true) || next == (key_marker, id_marker) {
                return Ok(uploads);
            }
            after = Some(next);
        }
    }

    async fn head(&self, key: &str, version_id: Option<&str>) -> Result<ObjectInfo, StoreError> {
        let client = self.connection.client().await;
        let request = client
            .head_object()
            .bucket(&*self.bucket)
            .key(key)
            .set_version_id(version_id.map(Into::into))
            .checksum_mode(ChecksumMode::Enabled);
        let output = self.call(Operation::Head, key).answer(request.send()).await?;
        let composite = output.checksum_type == Some(ChecksumType::Composite);
        let crc32c = output.checksum_crc32_c.filter(|_| !composite);
        Ok(ObjectInfo {
            length: length(output.content_length),
            etag: etag(output.e_tag),
            version_id: version(output.version_id),
            metadata: output.metadata.unwrap_or_default(),
            crc32c: crc32c.as_deref().and_then(checksum::from_header),
            content_type: output.content_type,
            content_encoding: output.content_encoding,
            last_modified: output.last_modified.and_then(time),
        })
    }

    async fn get(
        &self,
        key: &str,
        version_id: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Object, StoreError> {
        let client = self.connection.client().await;
        let wanted =
            range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let request = client
            .get_object()
            .bucket(&*self.bucket)
            .key(key)
            .set_version_id(version_id.map(Into::into))
            // Without checksum mode: the SDK would compute one of its own over every byte, and the
            // caller has one to compare with in the metadata.
            .set_range(wanted);
        let call = self.call(Operation::Get, key);
        let output = call.answer(request.send()).await?;
        let coming = length(output.content_length);
        let info = ObjectInfo {
            length: output.content_range.as_deref().and_then(total_of).or(coming),
            etag: etag(output.e_tag),
            version_id: version(output.version_id),
            metadata: output.metadata.unwrap_or_default(),
            crc32c: None,
            content_type: output.content_type,
            content_encoding: output.content_encoding,
            last_modified: output.last_modified.and_then(time),
        };
        Ok(Object { info, body: call.download(coming, output.body) })
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, max: usize) -> Result<Page, StoreError> {
        let client = self.connection.client().await;
        let request = client
            .list_objects_v2()
            .bucket(&*self.bucket)
            .prefix(prefix)
            .set_start_after(start_after.map(Into::into))
            .encoding_type(EncodingType::Url)
            .max_keys(i32::try_from(max.min(1000)).unwrap_or(1000));
        match self.call(Operation::List, prefix).answer(request.send()).await {
            Ok(output) => Ok(listing::page(output)),
            Err(error) => listing::of_one_key(&error).filter(|_| max == 1).ok_or(error),
        }
    }
}

fn metadata(put: &PutOptions) -> Option<HashMap<String, String>> {
    (!put.metadata.is_empty()).then(|| put.metadata.iter().cloned().collect())
}

fn if_none_match(put: &PutOptions) -> Option<String> {
    put.conditional.then(|| "*".into())
}

fn etag(quoted: Option<String>) -> Option<String> {
    quoted.map(|tag| tag.trim_matches('"').to_owned()).filter(|tag| !tag.is_empty())
}

/// Without versioning S3 calls every version "null", and others give it an empty name.
fn version(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty() && id != "null")
}

fn length(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(at: DateTime) -> Option<std::time::SystemTime> {
    at.try_into().ok()
}

/// The object's length in `bytes 0-9/100`.
fn total_of(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}

/// A checksum that comes back is that of what arrived.
fn same_checksum(operation: Operation, key: &str, told: Option<&str>, sent: u32) -> Result<(), StoreError> {
    match told.and_then(checksum::from_header) {
        Some(told) if told != sent => {
            let message = format!("it tells the checksum {told:08x} of bytes whose checksum is {sent:08x}");
            Err(StoreError {
                status: Some(200),
                ..StoreError::new(operation, key, ErrorKind::NotS3, message)
            })
        }
        _ => Ok(()),
    }
}

fn no_result(operation: Operation, key: &str, what: &str) -> StoreError {
    let message = format!("the answer has no {what}");
    StoreError { status: Some(200), ..StoreError::new(operation, key, ErrorKind::ErrorIn200, message) }
}
