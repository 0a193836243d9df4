//! The limits of a durable channel.

use std::time::Duration;

use crate::error::OpenError;
use crate::format::{FRAME_HEADER_BYTES, HEADER_BLOCK_BYTES};

/// The limits of a durable channel. May differ from one start to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The size of one segment file, allocated ahead. Space is given back in steps of this.
    pub segment_bytes: u64,
    /// The most bytes of frames, written and queued; beyond it appends are refused. At least two segments.
    /// The disk holds a little more: 4 KiB a segment, and one segment in reserve.
    pub capacity_bytes: u64,
    /// Appends are refused while the disk has less free than this. Reading and releasing never are.
    pub free_disk_floor_bytes: u64,
    /// The largest frame, and so the largest batch with its header of 40 bytes. At most what one segment can hold.
    pub max_frame_bytes: u32,
    /// The most bytes written and synced at once (one frame may be more). Bounds the latency of a burst's tail.
    pub max_group_bytes: u64,
    /// How long a group waits for more to join it. The running sync is batching enough: 0.
    pub group_delay: Duration,
    /// Damaged bytes are set aside for people up to this many; beyond it they are counted only.
    pub keep_damaged_bytes: u64,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            capacity_bytes: 10 << 30,
            free_disk_floor_bytes: 256 << 20,
            max_frame_bytes: 16 << 20,
            max_group_bytes: 8 << 20,
            group_delay: Duration::ZERO,
            keep_damaged_bytes: 128 << 20,
        }
    }
}

impl Options {
    /// Says what is wrong, if anything is.
    pub fn validate(&self) -> Result<(), OpenError> {
        let room = self.segment_bytes.saturating_sub(HEADER_BLOCK_BYTES);
        let wrong = if self.max_frame_bytes as usize <= FRAME_HEADER_BYTES {
            format!("max_frame_bytes {} leaves no room for a payload", self.max_frame_bytes)
        } else if u64::from(self.max_frame_bytes).next_multiple_of(8) > room {
            format!(
                "max_frame_bytes {} does not fit a segment of {}",
                self.max_frame_bytes, self.segment_bytes
            )
        } else if self.capacity_bytes / 2 < self.segment_bytes {
            format!(
                "capacity_bytes {} is less than two segments of {}",
                self.capacity_bytes, self.segment_bytes
            )
        } else if self.max_group_bytes == 0 {
            "max_group_bytes is 0".to_owned()
        } else {
            return Ok(());
        };
        Err(OpenError::Options(wrong))
    }
}
