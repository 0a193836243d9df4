//! Listing objects, uploads and parts.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use s3s::dto::{
    CommonPrefix, EncodingType, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    MultipartUpload, ObjectStorageClass, Part,
};
use s3s::{S3Request, S3Result, s3_error};

use super::{Front, strong, timestamp};
use crate::event::encode_key;
use crate::store::{self, Cursor, ListQuery, Listing, catalog, crc32c_text};

/// The largest and the default page.
const MAX_PAGE: usize = 1000;

pub(super) async fn objects(
    front: &Front,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let input = request.input;
    let from = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => cursor(token)?,
        (None, Some(key)) => Cursor::After(key.clone()),
        (None, None) => Cursor::Start,
    };
    let name = encoder(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys)?;
    let page = list(front, &input.bucket, input.prefix.clone(), input.delimiter.clone(), from, max).await?;
    let (contents, common_prefixes) = entries(&page, name);
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.as_ref().map(token),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        name: Some(input.bucket),
        prefix: Some(name(input.prefix.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.as_deref().map(name),
        start_after: input.start_after.as_deref().map(name),
        max_keys: i32::try_from(max).ok(),
        continuation_token: input.continuation_token,
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(super) async fn objects_v1(
    front: &Front,
    request: S3Request<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let input = request.input;
    let marker = input.marker.clone().unwrap_or_default();
    // A marker that is a common prefix, as our own `next_marker` may be, passes all that is below it.
    let from = match &input.delimiter {
        Some(delimiter) if !delimiter.is_empty() && marker.ends_with(delimiter) => {
            Cursor::AfterPrefix(marker.clone())
        }
        _ => Cursor::After(marker.clone()),
    };
    let name = encoder(input.encoding_type.as_ref())?;
    let max = page_size(input.max_keys)?;
    let from = if marker.is_empty() { Cursor::Start } else { from };
    let page = list(front, &input.bucket, input.prefix.clone(), input.delimiter.clone(), from, max).await?;
    let (contents, common_prefixes) = entries(&page, name);
    let next_marker = page.next.as_ref().and_then(|next| match next {
        Cursor::Start => None,
        Cursor::After(last) | Cursor::AfterPrefix(last) => Some(name(last)),
    });
    Ok(ListObjectsOutput {
        is_truncated: Some(page.next.is_some()),
        next_marker,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        name: Some(input.bucket),
        prefix: Some(name(input.prefix.as_deref().unwrap_or_default())),
        delimiter: input.delimiter.as_deref().map(name),
        marker: Some(name(&marker)),
        max_keys: i32::try_from(max).ok(),
        encoding_type: input.encoding_type,
        request_charged: None,
    })
}

pub(super) async fn uploads(
    front: &Front,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let input = request.input;
    if input.delimiter.as_deref().is_some_and(|delimiter| !delimiter.is_empty()) {
        return Err(s3_error!(NotImplemented, "uploads are not listed by delimiter"));
    }
    let name = encoder(input.encoding_type.as_ref())?;
    let max = page_size(input.max_uploads)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let above = match (&input.key_marker, &input.upload_id_marker) {
        (None, _) => (String::new(), String::new()),
        (Some(key), Some(id)) => (key.clone(), id.clone()),
        // Without an id, all uploads of the marker's key are passed; ids are hex and so below this.
        (Some(key), None) => (key.clone(), "~".to_owned()),
    };
    let bucket = input.bucket.clone();
    let mut found = front
        .store
        .read(move |rows| store::list_uploads(rows, &bucket, &prefix, (&above.0, &above.1), max + 1))
        .await?;
    let is_truncated = found.len() > max;
    found.truncate(max);
    let last = found.last().filter(|_| is_truncated);
    Ok(ListMultipartUploadsOutput {
        next_key_marker: last.map(|upload| name(&upload.key)),
        next_upload_id_marker: last.map(|upload| upload.id.clone()),
        is_truncated: Some(is_truncated),
        uploads: Some(
            found
                .iter()
                .map(|upload| MultipartUpload {
                    key: Some(name(&upload.key)),
                    upload_id: Some(upload.id.clone()),
                    initiated: Some(timestamp(upload.initiated_ms)),
                    ..MultipartUpload::default()
                })
                .collect(),
        ),
        bucket: Some(input.bucket),
        prefix: input.prefix.as_deref().map(name),
        key_marker: input.key_marker.as_deref().map(name),
        upload_id_marker: input.upload_id_marker,
        max_uploads: i32::try_from(max).ok(),
        encoding_type: input.encoding_type,
        ..ListMultipartUploadsOutput::default()
    })
}

pub(super) async fn parts(front: &Front, request: S3Request<ListPartsInput>) -> S3Result<ListPartsOutput> {
    let input = request.input;
    let max = page_size(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let (bucket, key, id) = (input.bucket.clone(), input.key.clone(), input.upload_id.clone());
    let mut found = front
        .store
        .read(move |rows| {
            catalog::upload(rows, &bucket, &key, &id)?;
            catalog::parts(rows, &id, after, max + 1)
        })
        .await?;
    let is_truncated = found.len() > max;
    found.truncate(max);
    let listed = found.iter().map(|part| Part {
        part_number: Some(part.number),
        size: i64::try_from(part.size).ok(),
        e_tag: Some(strong(&part.etag)),
        last_modified: Some(timestamp(part.modified_ms)),
        checksum_crc32c: Some(crc32c_text(part.crc32c)),
        ..Part::default()
    });
    Ok(ListPartsOutput {
        parts: Some(listed.collect()),
        is_truncated: Some(is_truncated),
        next_part_number_marker: found.last().filter(|_| is_truncated).map(|part| part.number),
        part_number_marker: Some(after),
        max_parts: i32::try_from(max).ok(),
        bucket: Some(input.bucket),
        key: Some(in_xml(&input.key)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    })
}

async fn list(
    front: &Front,
    bucket: &str,
    prefix: Option<String>,
    delimiter: Option<String>,
    from: Cursor,
    max: usize,
) -> S3Result<Listing> {
    let query = ListQuery {
        bucket: bucket.to_owned(),
        prefix: prefix.unwrap_or_default(),
        delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()),
        from,
        max,
    };
    Ok(front.store.read(move |rows| store::list(rows, &query)).await?)
}

fn entries(page: &Listing, name: fn(&str) -> String) -> (Vec<s3s::dto::Object>, Vec<CommonPrefix>) {
    let objects = page.objects.iter().map(|object| s3s::dto::Object {
        key: Some(name(&object.key)),
        size: i64::try_from(object.size).ok(),
        e_tag: Some(strong(&object.etag)),
        last_modified: Some(timestamp(object.modified_ms)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..s3s::dto::Object::default()
    });
    let prefixes = page.common_prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(name(prefix)) });
    (objects.collect(), prefixes.collect())
}

/// A key as XML can hold it: most control characters it cannot, and each of them becomes U+FFFD. Clients that want the
/// key itself ask for its URL encoding.
pub(super) fn in_xml(key: &str) -> String {
    let has_no_place =
        |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
    key.replace(has_no_place, "\u{fffd}")
}

/// How keys are written: XML cannot hold every character of a key, so that clients ask for `url`.
fn encoder(encoding: Option<&EncodingType>) -> S3Result<fn(&str) -> String> {
    match encoding.map(EncodingType::as_str) {
        None | Some("") => Ok(in_xml),
        Some(EncodingType::URL) => Ok(encode_key),
        Some(_) => Err(s3_error!(InvalidArgument, "the encoding-type is not url")),
    }
}

fn page_size(asked: Option<i32>) -> S3Result<usize> {
    match asked {
        None => Ok(MAX_PAGE),
        Some(asked) => match usize::try_from(asked) {
            Ok(asked) => Ok(asked.min(MAX_PAGE)),
            Err(_) => Err(s3_error!(InvalidArgument, "a page cannot have {asked} entries")),
        },
    }
}

/// A continuation token: opaque to clients.
fn token(cursor: &Cursor) -> String {
    let text = match cursor {
        Cursor::Start => "s".to_owned(),
        Cursor::After(key) => format!("k{key}"),
        Cursor::AfterPrefix(prefix) => format!("p{prefix}"),
    };
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn cursor(token: &str) -> S3Result<Cursor> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let cursor = text.as_deref().and_then(|text| match text.split_at_checked(1)? {
        ("s", _) => Some(Cursor::Start),
        ("k", key) => Some(Cursor::After(key.to_owned())),
        ("p", prefix) => Some(Cursor::AfterPrefix(prefix.to_owned())),
        _ => None,
    });
    cursor.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))
}
