//! A reader's place in the files: sequential reading goes on where it was, one buffer serves all of it.

use std::io;

use crate::disk::Mode;
use crate::error::ReadError;
use crate::format::{Block, FileHeader, HEADER_BLOCK_BYTES, SEGMENT_MAGIC, VERSION};
use crate::frame::FrameHeader;
use crate::reader::Item;
use crate::scan::{self, Scan};
use crate::segment::{self, Log, Place};

/// Where a reader is.
#[derive(Default)]
pub(crate) struct LogCursor {
    open: Option<Open>,
}

/// A place in an open segment: the frame that starts at `position` is at `at` in the file.
struct Open {
    /// The segment's first position.
    segment: u64,
    /// None if the segment's header is bad, and with it all that it holds.
    scan: Option<Scan>,
    at: u64,
    position: u64,
    /// Positions below this are complete in what the scan may look at.
    limit: u64,
    /// The frame found last and where it is. It ends at `position`, and the scan's window still holds it.
    last: Option<(u64, FrameHeader)>,
}

enum Found {
    Frame(u64, FrameHeader),
    Damaged { first: u64, end: u64 },
}

// === impl LogCursor ===

impl LogCursor {
    /// The item that holds `from`; `released` says what the reader is done with.
    pub(crate) fn read(
        &mut self,
        log: &Log,
        from: u64,
        released: impl FnOnce() -> u64,
    ) -> Result<Option<Item<'_>>, ReadError> {
        let place = match self.open.as_mut() {
            Some(open) if open.reached() <= from && from < open.limit => None,
            _ => Some(log.place(from)),
        };
        match place {
            None => {}
            Some(Place::Ahead) => return Ok(None),
            Some(Place::Before { oldest }) if from < released() => {
                return Err(ReadError::Released { from, oldest });
            }
            Some(Place::Before { oldest }) => {
                log.note_damage(from, oldest);
                return Ok(Some(Item::Damaged { first: from, count: oldest - from }));
            }
            Some(Place::Segment { first, limit, end }) => self.go_to(log, from, first, limit, end)?,
        }
        let open = self.open.as_mut().expect("a segment was found for the position");
        let found = open.find(from).map_err(|source| ReadError::Io {
            operation: format!("reading segment {}", segment::name(open.segment)),
            source,
        })?;
        Ok(Some(match found {
            Found::Frame(at, FrameHeader { first, count, arrival_ms, .. }) => {
                let scan = open.scan.as_ref().expect("a frame was found in it");
                Item::Frame { first, count, arrival_ms, payload: scan.payload(at) }
            }
            Found::Damaged { first, end } => {
                log.note_damage(first, end);
                let first = first.max(from);
                Item::Damaged { first, count: end - first }
            }
        }))
    }

    /// Goes to the segment that holds `from`: on in the one that is open if that is it, else from its start.
    fn go_to(&mut self, log: &Log, from: u64, first: u64, limit: u64, end: u64) -> Result<(), ReadError> {
        if let Some(open) = self.open.as_mut().filter(|open| open.segment == first && open.position <= from) {
            open.limit = limit;
            if let Some(scan) = open.scan.as_mut() {
                scan.extend_to(end);
            }
            return Ok(());
        }
        let io_error =
            |source| ReadError::Io { operation: format!("opening segment {}", segment::name(first)), source };
        // An open place keeps the buffer for the next segment.
        let buffer = self.open.take().and_then(|open| open.scan).map(Scan::into_buffer).unwrap_or_default();
        let file = log.disk.open(&log.path(first), Mode::Read).map_err(io_error)?;
        let scan = match FileHeader::read(&*file, SEGMENT_MAGIC).map_err(io_error)? {
            Block::Valid(header) if header.number == first => {
                Some(Scan::with_buffer(file, header.seed(), end, buffer))
            }
            Block::Newer(found) => return Err(ReadError::Version { segment: first, found, known: VERSION }),
            Block::Valid(_) | Block::Zero | Block::Bad => None,
        };
        self.open =
            Some(Open { segment: first, scan, at: HEADER_BLOCK_BYTES, position: first, limit, last: None });
        Ok(())
    }
}

// === impl Open ===

impl Open {
    /// The lowest position that is found without going back to the segment's start.
    fn reached(&self) -> u64 {
        self.last.as_ref().map_or(self.position, |(_, header)| header.first)
    }

    /// The frame or the damage that holds `from`. What lies before it is skipped by its headers alone.
    fn find(&mut self, from: u64) -> io::Result<Found> {
        // A reader that takes a frame in several bites asks for it again.
        if from < self.position
            && let Some((at, header)) = &self.last
        {
            return Ok(Found::Frame(*at, *header));
        }
        self.last = None;
        let Some(scan) = self.scan.as_mut() else {
            let first = std::mem::replace(&mut self.position, self.limit);
            return Ok(Found::Damaged { first, end: self.limit });
        };
        loop {
            let found = match scan.header_at(self.at)? {
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
                    let first = self.position;
                    self.position =
                        other.map_or(self.limit, |(_, header)| header.first.clamp(first + 1, self.limit));
                    self.at = other.map_or(self.at, |(at, _)| at);
                    if self.position <= from {
                        continue;
                    }
                    return Ok(Found::Damaged { first, end: self.position });
                }
            };
            (self.at, self.position) = (scan::after(at, &header), header.end());
            if header.end() <= from {
                continue;
            }
            if scan.check_payload(at, &header)? {
                self.last = Some((at, header));
                return Ok(Found::Frame(at, header));
            }
            return Ok(Found::Damaged { first: header.first, end: header.end() });
        }
    }
}
