//! A reader's place in the files: sequential reading goes on where it was, one buffer serves all of it.

use crate::disk::Mode;
use crate::error::ReadError;
use crate::format::VERSION;
use crate::frame::FrameHeader;
use crate::reader::Item;
use crate::segment::{self, Log, Place};
use crate::walk::{Found, Refused, Walk};

/// Where a reader is.
#[derive(Default)]
pub(crate) struct LogCursor {
    open: Option<Walk>,
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
        let io_error = |doing, segment| {
            move |source| ReadError::Io {
                operation: format!("{doing} segment {}", segment::name(segment)),
                source,
            }
        };
        Ok(Some(match open.find(from).map_err(io_error("reading", open.segment))? {
            Found::Frame(at, FrameHeader { first, count, arrival_ms, .. }) => {
                Item::Frame { first, count, arrival_ms, payload: open.payload(at) }
            }
            Found::Damaged { positions, bytes } => {
                log.note_damage(positions.start, positions.end);
                log.aside
                    .keep(open.segment, open.file(), bytes)
                    .map_err(io_error("setting aside damaged bytes of", open.segment))?;
                let first = positions.start.max(from);
                Item::Damaged { first, count: positions.end - first }
            }
        }))
    }

    /// Goes to the segment that holds `from`: on in the one that is open if that is it, else from its start.
    fn go_to(&mut self, log: &Log, from: u64, first: u64, limit: u64, end: u64) -> Result<(), ReadError> {
        if let Some(open) = self.open.as_mut().filter(|open| open.segment == first && open.position <= from) {
            open.extend_to(limit, end);
            return Ok(());
        }
        let io_error =
            |source| ReadError::Io { operation: format!("opening segment {}", segment::name(first)), source };
        // An open place keeps the buffer for the next segment.
        let buffer = self.open.take().map(Walk::into_buffer).unwrap_or_default();
        let file = log.disk.open(&log.path(first), Mode::Read).map_err(io_error)?;
        let walk = Walk::open(file, first, limit, end, buffer).map_err(|refused| match refused {
            Refused::Io(source) => io_error(source),
            Refused::Newer(found) => ReadError::Version { segment: first, found, known: VERSION },
        })?;
        self.open = Some(walk);
        Ok(())
    }
}
