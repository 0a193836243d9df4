//! Opening: the folder after a crash, and an object's bytes while others overwrite or delete it.

use std::fs::{self, File};
use std::io;

use rusqlite::Connection;

use super::{Layout, Object, Store, StoreError, catalog, io_context};

/// How often an open starts again because the object changed under it.
const MAX_OPEN_TRIES: u32 = 100;

/// Finishes or undoes what a crash left in staging: an object's blob is shown, a part's stays, all else goes.
pub(super) fn recover(layout: &Layout, connection: &mut Connection) -> Result<(), StoreError> {
    let staging = layout.staging();
    let listing = || format!("listing {}", staging.display());
    for entry in fs::read_dir(staging).map_err(io_context(listing()))? {
        let path = entry.map_err(io_context(listing()))?.path();
        let blob = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(object) = catalog::object_of_blob(connection, blob)? {
            let visible = layout.visible(&object.bucket, &object.path);
            visible
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::rename(&path, &visible))
                .map_err(io_context(format!("showing the object's file {}", visible.display())))?;
        } else if !catalog::is_part(connection, blob)? {
            fs::remove_file(&path).map_err(io_context(format!("removing {}", path.display())))?;
        }
    }
    Ok(())
}

impl Store {
    /// An object with its bytes. Blocking.
    ///
    /// A blob is in staging first and at its visible path later, or the other way round when it is deleted; an
    /// overwritten object's path holds another blob. So the row is read before and after: if it is the same,
    /// what was opened was this blob.
    pub(crate) fn open_object(&self, bucket: &str, key: &str) -> Result<(Object, File), StoreError> {
        let look = || self.read_now(|rows| catalog::object(rows, bucket, key))?.ok_or(StoreError::NoSuchKey);
        let mut object = look()?;
        let mut missing = None;
        for _ in 0..MAX_OPEN_TRIES {
            if let Ok(file) = File::open(self.layout.staged(&object.blob)) {
                return Ok((object, file));
            }
            let opened = File::open(self.layout.visible(bucket, &object.path));
            let again = look()?;
            if again.blob == object.blob {
                match opened {
                    Ok(file) => return Ok((object, file)),
                    Err(error) => missing = Some(error),
                }
            }
            object = again;
        }
        Err(StoreError::Io {
            what: format!("opening the file of {bucket}/{key}"),
            source: missing.unwrap_or_else(|| io::ErrorKind::ResourceBusy.into()),
        })
    }
}
