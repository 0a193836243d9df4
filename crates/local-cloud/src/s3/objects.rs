//! Putting, copying and deleting objects.

use s3s::dto::{
    ChecksumType, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition,
    Metadata, MetadataDirective, PutObjectInput, PutObjectOutput,
};
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::body::{self, Declared};
use super::listing::in_xml;
use super::{Front, read, strong, timestamp};
use crate::event::Created;
use crate::store::{self, Checksums, Condition, Hashes, Meta, Object, Put, Staged, StoreError, blocking};

/// What S3 allows for user metadata: names and values together, in bytes.
const MAX_USER_METADATA_BYTES: usize = 2048;

pub(super) async fn put(front: &Front, request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let input = request.input;
    let mut meta = meta(input.metadata)?;
    meta.content_type = input.content_type;
    meta.content_encoding = stored_encoding(input.content_encoding);
    meta.content_disposition = input.content_disposition;
    meta.content_language = input.content_language;
    meta.cache_control = input.cache_control;
    let condition = condition(input.if_none_match, input.if_match)?;
    let mut declared = Declared {
        md5: input.content_md5,
        checksums: Checksums {
            crc32c: input.checksum_crc32c,
            crc32: input.checksum_crc32,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        },
        algorithm: input.checksum_algorithm,
    };
    let staged = body::receive(front, input.body, request.trailing_headers, &mut declared).await?;
    let etag = body::etag(front.etag, &staged);
    meta.checksums = staged.checksums.clone();
    let put = Put { bucket: input.bucket, key: input.key, etag, meta, condition };
    let object = store_as(front, put, staged, Created::Put).await?;
    let checksums = object.meta.checksums;
    Ok(PutObjectOutput {
        e_tag: Some(strong(&object.etag)),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        ..PutObjectOutput::default()
    })
}

pub(super) async fn copy(front: &Front, request: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
    let input = request.input;
    let CopySource::Bucket { bucket, key, version_id: None } = input.copy_source else {
        return Err(s3_error!(NotImplemented, "only a plain bucket and key can be copied from"));
    };
    let store = front.store.clone();
    let (source, file) = blocking(move || store.open_object(&bucket, &key)).await?;
    read::check_conditions(
        &source,
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    )
    .map_err(|_| S3Error::from(StoreError::PreconditionFailed))?;
    let replaces =
        input.metadata_directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    let mut meta = if replaces {
        let mut meta = meta(input.metadata)?;
        meta.content_type = input.content_type;
        meta.content_encoding = stored_encoding(input.content_encoding);
        meta.content_disposition = input.content_disposition;
        meta.content_language = input.content_language;
        meta.cache_control = input.cache_control;
        meta
    } else {
        source.meta.clone()
    };
    let store = front.store.clone();
    let staged = blocking(move || {
        let mut copy = store.stage(Hashes::default())?;
        copy.write_all_of(file)?;
        copy.finish()
    })
    .await?;
    meta.checksums = source.meta.checksums.clone();
    let put = Put {
        bucket: input.bucket,
        key: input.key,
        etag: source.etag,
        meta,
        condition: Condition::default(),
    };
    let object = store_as(front, put, staged, Created::Copy).await?;
    Ok(CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(timestamp(object.modified_ms)),
            ..CopyObjectResult::default()
        }),
        ..CopyObjectOutput::default()
    })
}

pub(super) async fn delete(
    front: &Front,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let (bucket, key) = (request.input.bucket, request.input.key);
    front.store.write(move |rows, after| store::delete(rows, after, &bucket, &key)).await?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn delete_many(
    front: &Front,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let bucket = request.input.bucket;
    let keys: Vec<String> = request.input.delete.objects.into_iter().map(|object| object.key).collect();
    let deleted = if request.input.delete.quiet == Some(true) {
        None
    } else {
        let entry = |key: &String| DeletedObject { key: Some(in_xml(key)), ..DeletedObject::default() };
        Some(keys.iter().map(entry).collect())
    };
    front
        .store
        .write(move |rows, after| keys.iter().try_for_each(|key| store::delete(rows, after, &bucket, key)))
        .await?;
    Ok(DeleteObjectsOutput { deleted, ..DeleteObjectsOutput::default() })
}

/// Commits a put together with its event.
async fn store_as(front: &Front, put: Put, staged: Staged, created: Created) -> S3Result<Object> {
    let front_of_change = front.clone();
    let object = front
        .store
        .write(move |rows, after| {
            let object = store::put(rows, after, put, staged)?;
            front_of_change.created(rows, after, created, &object)?;
            Ok(object)
        })
        .await?;
    Ok(object)
}

/// A metadata record with its user part, if that is small enough.
pub(super) fn meta(user: Option<Metadata>) -> S3Result<Meta> {
    let user = user.unwrap_or_default();
    let bytes: usize = user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_USER_METADATA_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "your metadata headers have {bytes} bytes, at most {MAX_USER_METADATA_BYTES} are allowed"
        ));
    }
    Ok(Meta { version: 1, user: user.into_iter().collect(), ..Meta::default() })
}

/// `aws-chunked` is how the body travelled, not what it is.
pub(super) fn stored_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> = encoding.split(',').map(str::trim).filter(|one| *one != "aws-chunked").collect();
    if kept.is_empty() { None } else { Some(kept.join(",")) }
}

/// The condition of a put or completion. As S3, `If-None-Match` takes only `*`.
pub(super) fn condition(
    if_none_match: Option<ETagCondition>,
    if_match: Option<ETagCondition>,
) -> S3Result<Condition> {
    match (if_none_match, if_match) {
        (None, None) => Ok(Condition::Always),
        (Some(ETagCondition::Any), None) => Ok(Condition::Absent),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Present),
        (None, Some(ETagCondition::ETag(etag))) => Ok(Condition::Etag(etag_value(etag))),
        (Some(_), _) => {
            Err(s3_error!(NotImplemented, "If-None-Match of a put takes only *, and no If-Match"))
        }
    }
}

pub(super) fn etag_value(etag: ETag) -> String {
    match etag {
        ETag::Strong(value) | ETag::Weak(value) => value,
    }
}
