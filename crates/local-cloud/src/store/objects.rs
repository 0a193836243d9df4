//! Putting and deleting objects: changes for the writer.

use std::io;

use rusqlite::Transaction;

use super::{After, Condition, Meta, Object, Staged, StoreError, catalog, io_context, now_ms};

/// A put that is ready to be decided on.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) meta: Meta,
    pub(crate) condition: Condition,
}

/// Makes the staged bytes the object, if the condition holds.
pub(crate) fn put(
    transaction: &Transaction<'_>,
    after: &mut After,
    put: Put,
    staged: Staged,
) -> Result<Object, StoreError> {
    let Put { bucket, key, etag, meta, condition } = put;
    let present = catalog::object(transaction, &bucket, &key)?;
    condition.check(present.as_ref())?;
    let path = match &present {
        Some(present) => present.path.clone(),
        None => after.layout().place(transaction, &bucket, &key)?,
    };
    let modified_ms = now_ms();
    let object = Object {
        blob: staged.blob().to_owned(),
        size: staged.size,
        sequence: after.next_sequence(modified_ms),
        bucket,
        key,
        path,
        etag,
        modified_ms,
        meta,
    };
    catalog::put_object(transaction, &object)?;
    after.publish(staged, &object.bucket, &object.path);
    if let Some(present) = present {
        after.discard(present.blob);
    }
    Ok(object)
}

/// Deletes an object; one that is not there is fine, as in S3.
pub(crate) fn delete(
    transaction: &Transaction<'_>,
    after: &mut After,
    bucket: &str,
    key: &str,
) -> Result<(), StoreError> {
    let Some(object) = catalog::object(transaction, bucket, key)? else { return Ok(()) };
    catalog::delete_object(transaction, bucket, key)?;
    // Back to staging before the commit: there a crash on either side of it is put right.
    let visible = after.layout().visible(bucket, &object.path);
    match std::fs::rename(&visible, after.layout().staged(&object.blob)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_context(format!("taking away the file {}", visible.display()))(error));
        }
        _ => {}
    }
    after.prune(bucket, &object.path);
    after.discard(object.blob);
    Ok(())
}
