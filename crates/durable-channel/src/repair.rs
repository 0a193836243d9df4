//! Repair: what opening does, and what it leaves to an operator's decision.
//!
//! A reader whose progress cannot be read starts again at the oldest event held; all of the log is read, so that the
//! bytes of whatever damage is in it are set aside before anything deletes them. What would need a guess is not
//! repaired: a lost identity, the header of the last segment, a journal.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::aside::Aside;
use crate::channel::Channel as _;
use crate::disk::{Disk, Mode, OsDisk};
use crate::durable::{self, DurableChannel, Recovery};
use crate::error::{OpenError, ReadError};
use crate::identity::Identity;
use crate::options::Options;
use crate::registry;
use crate::segment;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What opening the channel did.
    pub recovery: Recovery,
    /// Readers that start again at the oldest event held.
    pub restarted: Vec<String>,
    /// Positions that are lost to damage, all over the log.
    pub damaged: u64,
    /// Bytes that were set aside in `damaged/`.
    pub set_aside_bytes: u64,
}

impl DurableChannel {
    /// Repairs the channel in `dir`, which nobody has open.
    ///
    /// The owners of readers may know of positions that damage has left no trace of: none below `used_below` is
    /// given again.
    pub fn repair(dir: &Path, options: &Options, used_below: u64) -> Result<Repair, OpenError> {
        Self::repair_on(&(Arc::new(OsDisk) as Arc<dyn Disk>), dir, options, used_below)
    }

    /// As [`repair`](Self::repair), on another file system.
    pub fn repair_on(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
        used_below: u64,
    ) -> Result<Repair, OpenError> {
        let lock = durable::lock(&**disk, dir)?;
        let aside = Aside::open(Arc::clone(disk), dir, options.keep_damaged_bytes)
            .map_err(OpenError::io("looking at what was set aside"))?;
        let mut identity = Identity::load(&**disk, dir)?;
        let attested = identity.record.synced_end.max(used_below);
        identity.record_synced_end(attested).map_err(OpenError::io("recording the end of the channel"))?;
        let restarted = restart_readers(&**disk, dir, attested, &aside)?;
        let before = aside.added_bytes();
        drop(lock);

        let (channel, recovery) = Self::open_on(Arc::clone(disk), dir, options)?;
        let (damaged, while_open) = channel.read_all().map_err(|error| match error {
            ReadError::Io { operation, source } => OpenError::Io { operation, source },
            ReadError::Version { segment, found, known } => {
                OpenError::Version { path: dir.join(segment::DIR).join(segment::name(segment)), found, known }
            }
            error @ ReadError::Released { .. } => {
                OpenError::io("reading the channel")(io::Error::other(error))
            }
        })?;
        channel.close().map_err(|error| OpenError::io("closing the channel")(io::Error::other(error)))?;
        Ok(Repair { recovery, restarted, damaged, set_aside_bytes: before + while_open })
    }
}

/// Registers readers without a readable progress anew, at the oldest position, their owner's files untouched.
fn restart_readers(
    disk: &dyn Disk,
    dir: &Path,
    attested: u64,
    aside: &Aside,
) -> Result<Vec<String>, OpenError> {
    let readers = dir.join(registry::DIR);
    let io_error = || OpenError::io(format!("registering readers in {} again", readers.display()));
    let segments = segment::list(disk, &dir.join(segment::DIR)).map_err(io_error())?;
    let oldest = segments.keys().next().copied().unwrap_or(attested);
    let mut restarted = Vec::new();
    for entry in disk.list(&readers).map_err(io_error())? {
        let path = readers.join(&entry.name);
        if !entry.is_dir || !registry::is_name(&entry.name) {
            continue;
        }
        match registry::look(disk, &path) {
            Ok(_) => continue,
            Err(OpenError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let file = path.join(registry::PROGRESS);
        match disk.open(&file, Mode::Read) {
            Ok(file) => {
                let name = format!("{}-progress.bin", entry.name);
                file.size().and_then(|size| aside.keep_as(&name, &*file, 0..size)).map_err(io_error())?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error()(error)),
        }
        registry::write_progress(disk, &path, oldest).map_err(io_error())?;
        restarted.push(entry.name);
    }
    Ok(restarted)
}
