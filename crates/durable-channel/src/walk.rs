//! Walking through one segment: its good frames in order, and damage with the bytes that it hit.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{Block, FileHeader, HEADER_BLOCK_BYTES, SEGMENT_MAGIC};
use crate::frame::FrameHeader;
use crate::scan::{self, Scan};

/// A place in an open segment: what starts at `position` is at `at` in the file.
pub(crate) struct Walk {
    /// The segment's first position.
    pub(crate) segment: u64,
    /// The next position.
    pub(crate) position: u64,
    /// Positions below this are complete in what may be looked at.
    pub(crate) limit: u64,
    file: Arc<dyn DiskFile>,
    /// None if the segment's header is bad, and with it all that it holds.
    scan: Option<Scan>,
    at: u64,
    end: u64,
    /// The frame found last and where it is. It ends at `position`, and the scan's window still holds it.
    last: Option<(u64, FrameHeader)>,
}

/// What is at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A frame that is good as a whole, and its place.
    Frame(u64, FrameHeader),
    /// Positions that are lost, and the bytes of the file that should have held them.
    Damaged { positions: Range<u64>, bytes: Range<u64> },
}

/// Why a segment could not be opened.
pub(crate) enum Refused {
    Io(io::Error),
    /// It has this format version, which is newer than ours.
    Newer(u32),
}

// === impl Walk ===

impl Walk {
    /// Goes to the start of the segment in `file`, which holds the positions from `first` to `limit` in its bytes
    /// below `end`.
    pub(crate) fn open(
        file: Arc<dyn DiskFile>,
        first: u64,
        limit: u64,
        end: u64,
        buffer: Vec<u8>,
    ) -> Result<Self, Refused> {
        let scan = match FileHeader::read(&*file, SEGMENT_MAGIC).map_err(Refused::Io)? {
            Block::Valid(header) if header.number == first => {
                Some(Scan::with_buffer(Arc::clone(&file), header.seed(), end, buffer))
            }
            Block::Newer(found) => return Err(Refused::Newer(found)),
            Block::Valid(_) | Block::Zero | Block::Bad => None,
        };
        Ok(Self {
            segment: first,
            position: first,
            limit,
            file,
            scan,
            at: HEADER_BLOCK_BYTES,
            end,
            last: None,
        })
    }

    /// More of the file is complete now.
    pub(crate) fn extend_to(&mut self, limit: u64, end: u64) {
        (self.limit, self.end) = (limit, end);
        if let Some(scan) = self.scan.as_mut() {
            scan.extend_to(end);
        }
    }

    /// The segment's file.
    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// The payload of the frame at `at` that was just found.
    pub(crate) fn payload(&self, at: u64) -> &[u8] {
        self.scan.as_ref().expect("a frame was found in it").payload(at)
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.scan.map(Scan::into_buffer).unwrap_or_default()
    }

    /// The lowest position that is found without going back to the segment's start.
    pub(crate) fn reached(&self) -> u64 {
        self.last.as_ref().map_or(self.position, |(_, header)| header.first)
    }

    /// The frame or the damage that holds `from`. What lies before it is skipped by its headers alone.
    pub(crate) fn find(&mut self, from: u64) -> io::Result<Found> {
        // A reader that takes a frame in several bites asks for it again.
        if from < self.position
            && let Some((at, header)) = self.last
        {
            return Ok(Found::Frame(at, header));
        }
        self.last = None;
        let Some(scan) = self.scan.as_mut() else {
            let first = std::mem::replace(&mut self.position, self.limit);
            return Ok(Found::Damaged { positions: first..self.limit, bytes: 0..self.end });
        };
        loop {
            let found = match scan.header_at(self.at, self.position < from)? {
                Some(header) => Some((self.at, header)),
                None => scan.find(self.at + 8, |header| header.first >= self.position)?,
            };
            let (at, header) = match found {
                // Seen already, in the copy that recovery made or before a damaged place.
                Some((at, header)) if header.first < self.position => {
                    self.at = scan::after(at, &header);
                    continue;
                }
                Some((at, header)) if header.first == self.position && header.end() <= self.limit => {
                    (at, header)
                }
                other => {
                    // Bad up to the next good frame, or up to where the segment's positions end.
                    let (first, bad_at) = (self.position, self.at);
                    self.position =
                        other.map_or(self.limit, |(_, header)| header.first.clamp(first + 1, self.limit));
                    self.at = other.map_or(self.end.max(self.at), |(at, _)| at);
                    if self.position <= from {
                        continue;
                    }
                    return Ok(Found::Damaged { positions: first..self.position, bytes: bad_at..self.at });
                }
            };
            (self.at, self.position) = (scan::after(at, &header), header.end());
            if header.end() <= from {
                continue;
            }
            if let Some(at) = scan.good_frame(at, &header)? {
                self.at = scan::after(at, &header);
                self.last = Some((at, header));
                return Ok(Found::Frame(at, header));
            }
            return Ok(Found::Damaged { positions: header.first..header.end(), bytes: at..self.at });
        }
    }
}
