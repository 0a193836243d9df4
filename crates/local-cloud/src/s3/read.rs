//! GET and HEAD.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use s3s::dto::{
    ChecksumMode, ChecksumType, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, Metadata, StreamingBlob, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

use super::{Front, strong, timestamp};
use crate::store::{Checksums, Object, StoreError, blocking, catalog, io_context};

/// How many bytes of an object are in memory at a time, for each reader.
const READ_BYTES: u64 = 512 * 1024;

pub(super) async fn get(front: &Front, request: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let store = front.store.clone();
    let (object, file) = blocking(move || store.open_object(&input.bucket, &input.key)).await?;
    check_conditions(
        &object,
        input.if_match.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
        input.if_unmodified_since.as_ref(),
    )?;
    let range = match input.range {
        Some(range) => range.check(object.size)?,
        None => 0..object.size,
    };
    let content_range =
        input.range.map(|_| format!("bytes {}-{}/{}", range.start, range.end - 1, object.size));
    // A checksum is the whole object's: beside a part of it, a client would take it for the part's.
    let checksums = checksums(&object, input.checksum_mode.as_ref(), input.range.is_some());
    let meta = object.meta;
    Ok(GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(signed(range.end - range.start)),
        body: Some(StreamingBlob::wrap(pieces(Arc::new(file), range))),
        content_range,
        content_type: input.response_content_type.or(meta.content_type),
        content_encoding: input.response_content_encoding.or(meta.content_encoding),
        content_disposition: input.response_content_disposition.or(meta.content_disposition),
        content_language: input.response_content_language.or(meta.content_language),
        cache_control: input.response_cache_control.or(meta.cache_control),
        e_tag: Some(strong(&object.etag)),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: Some(Metadata::from_iter(meta.user)),
        checksum_type: checksum_type(&checksums),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        ..GetObjectOutput::default()
    })
}

pub(super) async fn head(front: &Front, request: S3Request<HeadObjectInput>) -> S3Result<HeadObjectOutput> {
    let input = request.input;
    check_version(input.version_id.as_deref())?;
    let (bucket, key) = (input.bucket, input.key);
    let object = front
        .store
        .read(move |rows| catalog::object(rows, &bucket, &key))
        .await?
        .ok_or(StoreError::NoSuchKey)?;
    check_conditions(
        &object,
        input.if_match.as_ref(),
        input.if_none_match.as_ref(),
        input.if_modified_since.as_ref(),
        input.if_unmodified_since.as_ref(),
    )?;
    let checksums = checksums(&object, input.checksum_mode.as_ref(), false);
    let meta = object.meta;
    Ok(HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(signed(object.size)),
        content_type: meta.content_type,
        content_encoding: meta.content_encoding,
        content_disposition: meta.content_disposition,
        content_language: meta.content_language,
        cache_control: meta.cache_control,
        e_tag: Some(strong(&object.etag)),
        last_modified: Some(timestamp(object.modified_ms)),
        metadata: Some(Metadata::from_iter(meta.user)),
        checksum_type: checksum_type(&checksums),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        ..HeadObjectOutput::default()
    })
}

/// The conditions of a read, in the order in which HTTP has them decided.
pub(super) fn check_conditions(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> S3Result<()> {
    let is_this =
        |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.value() == object.etag);
    // Dates in headers are whole seconds.
    let modified = timestamp(object.modified_ms / 1000 * 1000);
    let holds = match (if_match, if_unmodified_since) {
        (Some(condition), _) => is_this(condition),
        (None, Some(since)) => modified <= *since,
        (None, None) => true,
    };
    if !holds {
        return Err(StoreError::PreconditionFailed.into());
    }
    let is_news = match (if_none_match, if_modified_since) {
        (Some(condition), _) => !is_this(condition),
        (None, Some(since)) => modified > *since,
        (None, None) => true,
    };
    if is_news {
        return Ok(());
    }
    let mut not_modified = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = http::HeaderMap::new();
    if let Ok(etag) = strong(&object.etag).to_http_header() {
        headers.insert(http::header::ETAG, etag);
    }
    not_modified.set_headers(headers);
    Err(not_modified)
}

/// Buckets here have no versioning: the only version is `null`.
fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(other) => {
            Err(s3_error!(NoSuchVersion, "there is no version {other}: the bucket has no versioning"))
        }
    }
}

/// The checksums to answer with: all, if asked for.
fn checksums(object: &Object, mode: Option<&ChecksumMode>, partial: bool) -> Checksums {
    let asked = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    if asked && !partial { object.meta.checksums.clone() } else { Checksums::default() }
}

fn checksum_type(checksums: &Checksums) -> Option<ChecksumType> {
    (*checksums != Checksums::default()).then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
}

/// A file's bytes, piece by piece.
fn pieces(
    file: Arc<File>,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + Sync + 'static {
    stream::try_unfold(range, move |left| {
        let file = file.clone();
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + READ_BYTES);
            let piece = blocking(move || {
                let mut piece = vec![0; (end - left.start) as usize];
                file.read_exact_at(&mut piece, left.start).map_err(io_context("reading an object's file"))?;
                Ok(Bytes::from(piece))
            });
            Ok(Some((piece.await?, end..left.end)))
        }
    })
}

/// S3's lengths are signed.
fn signed(length: u64) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
