//! Multipart uploads.
//!
//! The checksum of a completed upload is the whole object's CRC32C (`FULL_OBJECT`), combined from the parts'.
//! A checksum that the client gives with the completion is verified over the whole object, whatever its algorithm;
//! checksums of checksums (`COMPOSITE`) are neither made nor accepted.

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Result, s3_error};

use super::body::{self, Declared};
use super::listing::in_xml;
use super::objects::{condition, etag_value, meta, stored_encoding};
use super::{Front, strong};
use crate::event::Created;
use crate::options::EtagKind;
use crate::store::{self, Checksums, Part, Put, Upload, blocking, catalog, now_ms, random_name};

pub(super) async fn create(
    front: &Front,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let input = request.input;
    let mut meta = meta(input.metadata)?;
    meta.content_type = input.content_type;
    meta.content_encoding = stored_encoding(input.content_encoding);
    meta.content_disposition = input.content_disposition;
    meta.content_language = input.content_language;
    meta.cache_control = input.cache_control;
    let upload = Upload {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        id: random_name(),
        initiated_ms: now_ms(),
        meta,
    };
    let id = upload.id.clone();
    front.store.write(move |rows, _| catalog::create_upload(rows, &upload)).await?;
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(in_xml(&input.key)),
        upload_id: Some(id),
        checksum_algorithm: Some(ChecksumAlgorithm::from_static(ChecksumAlgorithm::CRC32C)),
        checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        ..CreateMultipartUploadOutput::default()
    })
}

pub(super) async fn upload_part(
    front: &Front,
    request: S3Request<UploadPartInput>,
) -> S3Result<UploadPartOutput> {
    let input = request.input;
    let number = input.part_number;
    if !(1..=10_000).contains(&number) {
        return Err(s3_error!(InvalidArgument, "part numbers go from 1 to 10000"));
    }
    let (bucket, key, id) = (input.bucket, input.key, input.upload_id);
    // Asked first, so that nobody sends gigabytes to an upload that is gone.
    let upload = front.store.read(move |rows| catalog::upload(rows, &bucket, &key, &id)).await?;
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
    let checksums = staged.checksums.clone();
    let stored_etag = etag.clone();
    front
        .store
        .write(move |rows, after| store::put_part(rows, after, &upload, number, stored_etag, staged))
        .await?;
    Ok(UploadPartOutput {
        e_tag: Some(strong(&etag)),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        ..UploadPartOutput::default()
    })
}

pub(super) async fn complete(
    front: &Front,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let input = request.input;
    let condition = condition(input.if_none_match, input.if_match)?;
    let declared = Declared {
        md5: None,
        checksums: Checksums {
            crc32c: input.checksum_crc32c,
            crc32: input.checksum_crc32,
            crc64nvme: input.checksum_crc64nvme,
            sha1: input.checksum_sha1,
            sha256: input.checksum_sha256,
        },
        algorithm: None,
    };
    if input.checksum_type.is_some_and(|kind| kind.as_str() != ChecksumType::FULL_OBJECT)
        && declared.checksums != Checksums::default()
    {
        return Err(s3_error!(NotImplemented, "a checksum of checksums cannot be verified"));
    }
    let named: Vec<(i32, String)> = input
        .multipart_upload
        .and_then(|upload| upload.parts)
        .unwrap_or_default()
        .into_iter()
        .map(|part| (part.part_number.unwrap_or(0), part.e_tag.map(etag_value).unwrap_or_default()))
        .collect();
    let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
    let early = condition.clone();
    let (upload, chosen) = front
        .store
        .read(move |rows| {
            let upload = catalog::upload(rows, &bucket, &key, &id)?;
            // Decided for good by the writer; asked here so that a lost race copies nothing.
            early.check(catalog::object(rows, &bucket, &key)?.as_ref())?;
            let chosen = store::chosen_parts(rows, &id, &named)?;
            Ok((upload, chosen))
        })
        .await?;
    let size: u64 = chosen.iter().map(|part| part.size).sum();
    if input.mpu_object_size.is_some_and(|declared| u64::try_from(declared) != Ok(size)) {
        return Err(s3_error!(InvalidRequest, "the parts have {size} bytes, not x-amz-mp-object-size"));
    }
    let etag = whole_etag(front.etag, &chosen);
    let store = front.store.clone();
    let hashes = declared.hashes(EtagKind::Opaque);
    let (staged, chosen) =
        blocking(move || store.assemble(&chosen, hashes).map(|staged| (staged, chosen))).await?;
    declared.verify(&staged)?;
    let mut meta = upload.meta;
    meta.checksums = staged.checksums.clone();
    let put = Put { bucket: input.bucket.clone(), key: input.key.clone(), etag, meta, condition };
    let front_of_change = front.clone();
    let object = front
        .store
        .write(move |rows, after| {
            let object = store::complete(rows, after, &upload.id, &chosen, put, staged)?;
            front_of_change.created(rows, after, Created::CompleteMultipartUpload, &object)?;
            Ok(object)
        })
        .await?;
    let checksums = object.meta.checksums;
    Ok(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(in_xml(&input.key)),
        e_tag: Some(strong(&object.etag)),
        checksum_crc32: checksums.crc32,
        checksum_crc32c: checksums.crc32c,
        checksum_crc64nvme: checksums.crc64nvme,
        checksum_sha1: checksums.sha1,
        checksum_sha256: checksums.sha256,
        checksum_type: Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
        ..CompleteMultipartUploadOutput::default()
    })
}

pub(super) async fn abort(
    front: &Front,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let (bucket, key, id) = (request.input.bucket, request.input.key, request.input.upload_id);
    front.store.write(move |rows, after| store::abort(rows, after, &bucket, &key, &id)).await?;
    Ok(AbortMultipartUploadOutput::default())
}

/// The ETag of a completed upload: a digest of the parts' ETags, and how many there are.
fn whole_etag(kind: EtagKind, parts: &[Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        match kind {
            // S3 digests the bytes of the parts' MD5s.
            EtagKind::Md5 => md5.update(&hex::decode(&part.etag).unwrap_or_default()),
            EtagKind::Opaque => md5.update(part.etag.as_bytes()),
        }
    }
    format!("{}-{}", hex::encode(md5.finalize()), parts.len())
}
