//! Looking at a segment's file: a buffered window, good frames, and the next good frame after damage.

use std::io;
use std::sync::Arc;

use crate::disk::{self, DiskFile};
use crate::format::{FRAME_HEADER_BYTES, HEADER_BLOCK_BYTES, align, u32_at};
use crate::frame::FrameHeader;

/// How much one read takes at least, where all of it is wanted.
const READ_AHEAD: usize = 256 << 10;
/// How much one read takes at least, where frames are skipped: their payloads are not wanted.
const SKIP_AHEAD: usize = 4 << 10;
/// Zeros are skipped in steps of this.
const STRIDE: usize = 512;

/// A segment's file with a window on it that moves as it is looked at.
pub(crate) struct Scan {
    file: Arc<dyn DiskFile>,
    seed: u32,
    /// Nothing at or beyond this is looked at.
    end: u64,
    buffer: Vec<u8>,
    /// Where the window starts in the file, and how many bytes of the buffer are the file's.
    start: u64,
    held: usize,
}

// === impl Scan ===

impl Scan {
    /// Looks at the bytes of `file` below `end`.
    pub(crate) fn new(file: Arc<dyn DiskFile>, seed: u32, end: u64) -> Self {
        Self { file, seed, end, buffer: Vec::new(), start: HEADER_BLOCK_BYTES, held: 0 }
    }

    /// As [`new`](Self::new), with a buffer that was used before.
    pub(crate) fn with_buffer(file: Arc<dyn DiskFile>, seed: u32, end: u64, buffer: Vec<u8>) -> Self {
        Self { buffer, ..Self::new(file, seed, end) }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// More of the file is complete now. What was read is as it was: nothing below the old end changes.
    pub(crate) fn extend_to(&mut self, end: u64) {
        self.end = end;
    }

    /// The good header at `at`, if there is one. Its payload may be bad; if it is to be skipped, little of it is read.
    pub(crate) fn header_at(&mut self, at: u64, skipped: bool) -> io::Result<Option<FrameHeader>> {
        let (seed, ahead) = (self.seed, if skipped { SKIP_AHEAD } else { READ_AHEAD });
        Ok(FrameHeader::parse(self.bytes_and(at, FRAME_HEADER_BYTES, ahead)?, seed))
    }

    /// Reads the payload of the frame at `at`; whether it is good. [`payload`](Self::payload) then has it.
    pub(crate) fn check_payload(&mut self, at: u64, header: &FrameHeader) -> io::Result<bool> {
        let (seed, length) = (self.seed, header.length as usize);
        let frame = self.bytes(at, length)?;
        Ok(frame.len() == length && header.payload_is_good(&frame[FRAME_HEADER_BYTES..], seed))
    }

    /// The payload of the frame at `at` that was just checked.
    pub(crate) fn payload(&self, at: u64) -> &[u8] {
        let frame = &self.buffer[(at - self.start) as usize..self.held];
        &frame[FRAME_HEADER_BYTES..u32_at(frame, 0) as usize]
    }

    /// Where the frame that the good header at `at` announces is good as a whole: there, or where the same header
    /// stands again, since a stray copy may stand before what it is a copy of.
    pub(crate) fn good_frame(&mut self, mut at: u64, header: &FrameHeader) -> io::Result<Option<u64>> {
        loop {
            if self.check_payload(at, header)? {
                return Ok(Some(at));
            }
            match self.find(at + 8, |other| other.first >= header.first)? {
                Some((again, other)) if other == *header => at = again,
                _ => return Ok(None),
            }
        }
    }

    /// The first good header at or after `at` that `wanted` accepts: how a scan finds its way after damage.
    pub(crate) fn find(
        &mut self,
        mut at: u64,
        wanted: impl Fn(&FrameHeader) -> bool,
    ) -> io::Result<Option<(u64, FrameHeader)>> {
        loop {
            let seed = self.seed;
            let stride = self.bytes(at, STRIDE)?;
            if stride.len() < FRAME_HEADER_BYTES {
                return Ok(None);
            }
            if stride == [0; STRIDE] {
                at += STRIDE as u64;
                continue;
            }
            let header = FrameHeader::parse(stride, seed);
            if let Some(header) = header.filter(&wanted) {
                return Ok(Some((at, header)));
            }
            at += 8;
        }
    }

    /// One past the last byte from `at` on that is not zero.
    pub(crate) fn end_of_bytes(&mut self, mut at: u64) -> io::Result<u64> {
        let mut end = at;
        loop {
            let stride = self.bytes(at, STRIDE)?;
            if stride.is_empty() {
                return Ok(end);
            }
            if let Some(last) = stride.iter().rposition(|&byte| byte != 0) {
                end = at + last as u64 + 1;
            }
            at += stride.len() as u64;
        }
    }

    /// `len` bytes at `at`, fewer only where the file ends.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        self.bytes_and(at, len, READ_AHEAD)
    }

    /// As [`bytes`](Self::bytes); what must be read for them is at least `ahead` bytes, if the file has them.
    fn bytes_and(&mut self, at: u64, len: usize, ahead: usize) -> io::Result<&[u8]> {
        if at < self.start || at + len as u64 > self.start + self.held as u64 {
            self.move_to(at, len, ahead)?;
        }
        let from = (at - self.start) as usize;
        Ok(&self.buffer[from..self.held.min(from + len)])
    }

    /// Moves the window to `at`, keeping what it has of it already.
    fn move_to(&mut self, at: u64, len: usize, ahead: usize) -> io::Result<()> {
        let held_end = self.start + self.held as u64;
        let kept = if (self.start..held_end).contains(&at) {
            let from = (at - self.start) as usize;
            self.buffer.copy_within(from..self.held, 0);
            self.held - from
        } else {
            0
        };
        (self.start, self.held) = (at, kept);
        let size = len.max(READ_AHEAD);
        if self.buffer.len() != size {
            // One large frame does not keep its memory for ever.
            self.buffer.resize(size, 0);
            self.buffer.shrink_to(2 * size);
        }
        let wanted = len.max(ahead).min(self.end.saturating_sub(at) as usize);
        if wanted > kept {
            self.held += disk::read_full(&*self.file, &mut self.buffer[kept..wanted], at + kept as u64)?;
        }
        Ok(())
    }
}

/// Where the frame after the one at `at` starts.
pub(crate) fn after(at: u64, header: &FrameHeader) -> u64 {
    at + align(u64::from(header.length))
}
