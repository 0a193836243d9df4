//! Frames: how one is sealed for the disk, and how one is told from anything else.

use crate::format::{FRAME_HEADER_BYTES, checksum_around, u32_at, u64_at};

const HEADER_CRC_AT: usize = 20;

/// The header of a frame, known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Header and payload, without padding.
    pub(crate) length: u32,
    pub(crate) payload_crc: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) arrival_ms: u64,
    /// Every position below this was synced when the frame was written.
    pub(crate) synced_end: u64,
}

/// What the writer adds to a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seal {
    pub(crate) seed: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) arrival_ms: u64,
    pub(crate) synced_end: u64,
}

// === impl FrameHeader ===

impl FrameHeader {
    /// The header in `bytes`, if its checksum and its fields are good. Says nothing about the payload.
    pub(crate) fn parse(bytes: &[u8], seed: u32) -> Option<Self> {
        let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
        let header = Self {
            length: u32_at(bytes, 0),
            payload_crc: u32_at(bytes, 4),
            first: u64_at(bytes, 8),
            count: u32_at(bytes, 16),
            arrival_ms: u64_at(bytes, 24),
            synced_end: u64_at(bytes, 32),
        };
        // Zeros are by far the most common thing that is not a frame.
        let good = header.length as usize >= FRAME_HEADER_BYTES
            && header.count > 0
            && u32_at(bytes, HEADER_CRC_AT) == checksum_around(seed, bytes, HEADER_CRC_AT)
            && header.first.checked_add(u64::from(header.count)).is_some()
            && header.synced_end <= header.first;
        good.then_some(header)
    }

    /// One past the last position.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    pub(crate) fn payload_is_good(&self, payload: &[u8], seed: u32) -> bool {
        crc32c::crc32c_append(seed, payload) == self.payload_crc
    }
}

// === impl Seal ===

impl Seal {
    /// Fills in the header in front of the payload that `frame` ends with, and pads it to a multiple of eight.
    pub(crate) fn apply(&self, frame: &mut Vec<u8>) {
        let length = u32::try_from(frame.len()).expect("a frame is at most max_frame_bytes");
        let payload_crc = crc32c::crc32c_append(self.seed, &frame[FRAME_HEADER_BYTES..]);
        let header = &mut frame[..FRAME_HEADER_BYTES];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        header[8..16].copy_from_slice(&self.first.to_le_bytes());
        header[16..20].copy_from_slice(&self.count.to_le_bytes());
        header[24..32].copy_from_slice(&self.arrival_ms.to_le_bytes());
        header[32..40].copy_from_slice(&self.synced_end.to_le_bytes());
        let header_crc = checksum_around(self.seed, header, HEADER_CRC_AT);
        header[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&header_crc.to_le_bytes());
        frame.resize(frame.len().next_multiple_of(8), 0);
    }
}
