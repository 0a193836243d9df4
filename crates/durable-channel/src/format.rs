//! Fixed sizes of the format.

pub(crate) const FRAME_HEADER_BYTES: usize = 40;
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 4096;
