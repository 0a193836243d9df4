//! Multipart uploads: parts stay in staging, completion makes one file of them.

use rusqlite::{Connection, Transaction, params};

use super::objects::{Put, put};
use super::{After, Hashes, Object, Part, Staged, Store, StoreError, Upload, catalog, now_ms};

/// What every part but the last must have.
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// The most parts of one upload.
const MAX_PARTS: usize = 10_000;

/// Puts a part in place of an earlier one with its number.
pub(crate) fn put_part(
    transaction: &Transaction<'_>,
    after: &mut After,
    upload: &Upload,
    number: i32,
    etag: String,
    staged: Staged,
) -> Result<(), StoreError> {
    // The upload may have ended while the part was received.
    catalog::upload(transaction, &upload.bucket, &upload.key, &upload.id)?;
    let replaced = catalog::parts(transaction, &upload.id, number - 1, 1)?
        .into_iter()
        .find(|part| part.number == number);
    let part = Part {
        number,
        blob: staged.blob().to_owned(),
        size: staged.size,
        etag,
        crc32c: staged.crc32c,
        modified_ms: now_ms(),
    };
    catalog::put_part(transaction, &upload.id, &part)?;
    after.keep(staged);
    if let Some(replaced) = replaced {
        after.discard(replaced.blob);
    }
    Ok(())
}

/// Forgets an upload and its parts.
pub(crate) fn abort(
    transaction: &Transaction<'_>,
    after: &mut After,
    bucket: &str,
    key: &str,
    id: &str,
) -> Result<(), StoreError> {
    catalog::upload(transaction, bucket, key, id)?;
    for part in catalog::parts(transaction, id, 0, MAX_PARTS)? {
        after.discard(part.blob);
    }
    catalog::delete_upload(transaction, id)
}

/// The parts that a completion names (number and etag), in order, if all are there and large enough.
pub(crate) fn chosen_parts(
    connection: &Connection,
    upload: &str,
    named: &[(i32, String)],
) -> Result<Vec<Part>, StoreError> {
    if !named.is_sorted_by_key(|(number, _)| *number) || named.windows(2).any(|two| two[0].0 == two[1].0) {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut present = catalog::parts(connection, upload, 0, MAX_PARTS)?.into_iter();
    let mut chosen = Vec::with_capacity(named.len());
    for (number, etag) in named {
        let part = present
            .find(|part| part.number >= *number)
            .filter(|part| part.number == *number && part.etag == *etag)
            .ok_or(StoreError::InvalidPart(*number))?;
        chosen.push(part);
    }
    match chosen.split_last() {
        Some((_, all_but_last)) => match all_but_last.iter().find(|part| part.size < MIN_PART_BYTES) {
            Some(small) => Err(StoreError::PartTooSmall { number: small.number, size: small.size }),
            None => Ok(chosen),
        },
        None => Err(StoreError::InvalidPart(1)),
    }
}

impl Store {
    /// One staged file of all parts, its CRC32C combined from theirs. Blocking.
    pub(crate) fn assemble(&self, parts: &[Part], hashes: Hashes) -> Result<Staged, StoreError> {
        let mut whole = self.stage(Hashes { md5: false, ..hashes })?;
        for part in parts {
            whole.append_part(&part.blob, part.size, part.crc32c)?;
        }
        whole.hash_copied(hashes)?;
        whole.finish()
    }
}

/// Makes the assembled bytes the object and ends the upload, if the condition holds and the upload is still
/// what it was when they were assembled.
pub(crate) fn complete(
    transaction: &Transaction<'_>,
    after: &mut After,
    upload: &str,
    chosen: &[Part],
    whole: Put,
    staged: Staged,
) -> Result<Object, StoreError> {
    catalog::upload(transaction, &whole.bucket, &whole.key, upload)?;
    let present = catalog::parts(transaction, upload, 0, MAX_PARTS)?;
    if let Some(changed) = chosen.iter().find(|part| !present.contains(part)) {
        return Err(StoreError::InvalidPart(changed.number));
    }
    let object = put(transaction, after, whole, staged)?;
    for part in present {
        after.discard(part.blob);
    }
    catalog::delete_upload(transaction, upload)?;
    Ok(object)
}

/// Uploads of a bucket whose key starts with the prefix, by key and id, above the given key and id.
pub(crate) fn list_uploads(
    connection: &Connection,
    bucket: &str,
    prefix: &str,
    above: (&str, &str),
    max: usize,
) -> Result<Vec<Upload>, StoreError> {
    catalog::require_bucket(connection, bucket)?;
    let (key, id) = above.max((prefix, ""));
    let mut statement = connection.prepare_cached(
        "SELECT bucket, key, id, initiated_ms, meta FROM uploads
         WHERE bucket = ?1 AND (key, id) > (?2, ?3) ORDER BY key, id LIMIT ?4",
    )?;
    let rows = statement
        .query_map(params![bucket, key, id, catalog::limit(max)], |row| Ok(catalog::upload_of(row)))?;
    rows.map(|row| row?)
        .take_while(|upload| !upload.as_ref().is_ok_and(|upload| !upload.key.starts_with(prefix)))
        .collect()
}
