//! The bytes of an attempt, wherever they are, in slices: what a put sends and a part is cut from.

use std::io;
use std::path::Path;
use std::sync::Arc;

use blob_store::Body;
use bytes::Bytes;
use durable_channel::disk::{self, Disk, Mode};
use futures_util::stream;

use super::cut::{Attempt, BytesAt, Cut, Extent};
use super::error::S3SinkError;
use super::rows::{Filled, Rows, RowsPlace};
use super::runs::Runs;
use super::shared::Shared;
use super::staging;

/// Slices cost the least per byte from here on.
const SLICE_BYTES: usize = 256 << 10;

/// An attempt whose bytes can be read.
#[derive(Clone)]
pub(crate) struct Content {
    source: Source,
}

#[derive(Clone)]
enum Source {
    Channel { shared: Arc<Shared>, cut: Arc<Cut>, lost: Arc<Runs> },
    Files(Arc<[Piece]>),
}

struct Piece {
    /// Bytes of the object before this piece.
    before: u64,
    file: staging::Bytes,
    offset: u64,
    length: u64,
}

/// A place in an attempt's bytes, to read from there again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mark {
    /// Of bytes of the channel: where the slice begins that holds the place. Of files it says nothing.
    rows: RowsPlace,
    /// Bytes from there on; of files, from the beginning on.
    skip: u64,
}

/// What came of keeping an attempt's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// They are in the file.
    Kept,
    /// What could be read is not what the attempt says, so nothing is kept.
    OtherBytes,
    /// The disk is full, so nothing is kept.
    NoRoom,
}

/// Reads a stretch of an attempt's bytes.
struct Slices {
    source: Reading,
    /// Bytes that were read and not given yet.
    ahead: Bytes,
    /// Where `ahead` stands.
    mark: Mark,
    left: u64,
}

enum Reading {
    Rows(Box<Rows>),
    Files(Arc<[Piece]>),
}

impl Content {
    /// Finds the bytes of `attempt`; `None` if they are lost and must be made again. An error says nothing of the kind.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        cut: &Arc<Cut>,
        attempt: &Attempt,
    ) -> Result<Option<Self>, S3SinkError> {
        let source = match &attempt.bytes {
            BytesAt::Channel => Source::Channel {
                shared: Arc::clone(shared),
                cut: Arc::clone(cut),
                lost: Arc::new(attempt.lost.clone()),
            },
            BytesAt::Staged(extents) => {
                let packer = shared.packer();
                let mut before = 0;
                let piece = |extent: &Extent| {
                    let file = packer.staging.open_extent(extent)?;
                    let piece = Piece { before, file, offset: extent.offset, length: extent.length };
                    before += extent.length;
                    Some(piece)
                };
                match extents.iter().map(piece).collect::<Option<Arc<[_]>>>() {
                    Some(pieces) => Source::Files(pieces),
                    None => return Ok(None),
                }
            }
            BytesAt::Kept => {
                let Some(path) = shared.kept(cut.number) else { return Ok(None) };
                let file = match shared.seams.disk.open(&path, Mode::Read) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    file => file.map_err(S3SinkError::io("opening the kept bytes of a dead cut"))?,
                };
                let file = staging::Bytes::of(file);
                Source::Files([Piece { before: 0, file, offset: 0, length: attempt.length }].into())
            }
        };
        Ok(Some(Self { source }))
    }

    /// The `length` bytes from `mark` on, read as the connection takes them.
    pub(crate) fn body(&self, mark: &Mark, length: u64) -> Body {
        match self.slices(mark, length) {
            Ok(slices) => Body::from_stream(
                length,
                stream::unfold(slices, |mut slices| async {
                    let slice = slices.next().transpose()?;
                    Some((slice.map_err(io::Error::other), slices))
                }),
            ),
            Err(error) => Body::from_stream(length, stream::iter([Err(io::Error::other(error))])),
        }
    }

    /// The CRC32C of the `length` bytes from `mark` on, and the place after them.
    pub(crate) async fn measure(&self, mark: &Mark, length: u64) -> Result<(u32, Mark), S3SinkError> {
        let mut slices = self.slices(mark, length)?;
        let mut crc = 0;
        while let Some(slice) = slices.next()? {
            crc = crc32c::crc32c_append(crc, &slice);
            tokio::task::yield_now().await;
        }
        Ok((crc, slices.mark))
    }

    /// Writes the whole to a new file at `path` and syncs it: whole and as `attempt` says, or not at all.
    pub(crate) async fn keep(
        &self,
        disk: &dyn Disk,
        path: &Path,
        attempt: &Attempt,
    ) -> Result<Keeping, S3SinkError> {
        let unfinished = path.with_extension("tmp");
        let kept = match self.write(disk, &unfinished, attempt).await {
            Ok(true) => put_in_place(disk, &unfinished, path),
            Ok(false) => Ok(Keeping::OtherBytes),
            Err(error) => Err(error),
        };
        if !matches!(kept, Ok(Keeping::Kept)) {
            // It may not be there; if it stays, the next try overwrites it.
            let _ = disk.remove(&unfinished);
        }
        match kept {
            Err(error) if disk::is_short(&error) => Ok(Keeping::NoRoom),
            kept => kept.map_err(S3SinkError::io("keeping the bytes of a dead cut")),
        }
    }

    /// Writes the whole to a new file, synced; false if it cannot be read or is not what `attempt` says.
    async fn write(&self, disk: &dyn Disk, path: &Path, attempt: &Attempt) -> io::Result<bool> {
        disk.create_dir_all(folder(path))?;
        let file = disk.open(path, Mode::Create)?;
        let Ok(mut slices) = self.slices(&Mark::default(), attempt.length) else { return Ok(false) };
        let (mut length, mut crc32c) = (0, 0);
        loop {
            let Ok(slice) = slices.next() else { return Ok(false) };
            let Some(slice) = slice else { break };
            disk::write_piece(&*file, &slice, length)?;
            length += slice.len() as u64;
            crc32c = crc32c::crc32c_append(crc32c, &slice);
            tokio::task::yield_now().await;
        }
        file.sync()?;
        Ok((length, crc32c) == (attempt.length, attempt.crc32c))
    }

    fn slices(&self, mark: &Mark, length: u64) -> Result<Slices, S3SinkError> {
        let source = match &self.source {
            Source::Channel { shared, cut, lost } => {
                let mut rows = Rows::new(shared.cursor(), Arc::clone(cut), Arc::clone(lost));
                rows.go_to(mark.rows.clone());
                Reading::Rows(Box::new(rows))
            }
            Source::Files(pieces) => Reading::Files(Arc::clone(pieces)),
        };
        let mut slices = Slices { source, ahead: Bytes::new(), mark: mark.clone(), left: length };
        if let Reading::Rows(_) = slices.source {
            slices.mark.skip = 0;
            slices.skip(mark.skip)?;
        }
        Ok(slices)
    }
}

impl Slices {
    fn next(&mut self) -> Result<Option<Bytes>, S3SinkError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        let length = self.left.min(self.ahead.len() as u64);
        if length == 0 {
            return Ok(None);
        }
        self.left -= length;
        self.mark.skip += length;
        Ok(Some(self.ahead.split_to(length as usize)))
    }

    fn skip(&mut self, mut bytes: u64) -> Result<(), S3SinkError> {
        while bytes > 0 {
            if self.ahead.is_empty() {
                self.read_ahead()?;
            }
            let length = bytes.min(self.ahead.len() as u64);
            if length == 0 {
                return Ok(());
            }
            drop(self.ahead.split_to(length as usize));
            self.mark.skip += length;
            bytes -= length;
        }
        Ok(())
    }

    fn read_ahead(&mut self) -> Result<(), S3SinkError> {
        let mut slice = Vec::new();
        match &mut self.source {
            Reading::Rows(rows) => {
                slice.reserve(SLICE_BYTES + SLICE_BYTES / 4);
                self.mark = Mark { rows: rows.place(), skip: 0 };
                let number = rows.cut().number;
                if let Filled::Damaged(run) = rows.fill(&mut slice, SLICE_BYTES)? {
                    return Err(S3SinkError::Damaged { number, from: run.start, to: run.end });
                }
            }
            Reading::Files(pieces) => {
                let at = self.mark.skip;
                let index = pieces.partition_point(|piece| piece.before + piece.length <= at);
                if let Some(piece) = pieces.get(index) {
                    let within = at - piece.before;
                    let length = (piece.length - within).min(SLICE_BYTES as u64).min(self.left) as usize;
                    let read = piece.file.read(piece.offset + within, length);
                    slice = read.map_err(S3SinkError::io("reading staged or kept bytes"))?;
                }
            }
        }
        self.ahead = slice.into();
        Ok(())
    }
}

/// Gives a file that is whole its name, durably.
fn put_in_place(disk: &dyn Disk, unfinished: &Path, path: &Path) -> io::Result<Keeping> {
    let dir = folder(path);
    disk.rename(unfinished, path)?;
    disk.sync_dir(dir)?;
    // The folder itself may be new.
    disk.sync_dir(folder(dir))?;
    Ok(Keeping::Kept)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
