//! What the tests share: tiny channels on a simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable_channel::sim::SimDisk;
use durable_channel::{DurableChannel, Item, OpenError, Options, Reader, Recovery};

/// Segments so small that everything happens often.
pub(crate) fn tiny() -> Options {
    Options {
        segment_bytes: 8 << 10,
        capacity_bytes: 64 << 10,
        free_disk_floor_bytes: 0,
        max_frame_bytes: 2 << 10,
        max_group_bytes: 1 << 10,
        group_delay: Duration::ZERO,
        keep_damaged_bytes: 32 << 10,
    }
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/state/channel")
}

pub(crate) fn segment(first: u64) -> PathBuf {
    dir().join("segments").join(format!("{first:020}.seg"))
}

/// Opens the channel of the tests, turned by hand.
pub(crate) fn open(disk: &SimDisk) -> (DurableChannel, Recovery) {
    try_open(disk).unwrap()
}

pub(crate) fn try_open(disk: &SimDisk) -> Result<(DurableChannel, Recovery), OpenError> {
    DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &tiny())
}

/// What a reader sees: a frame's payload, or damage, with first position and count.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Frame(u64, u64, Vec<u8>),
    Damaged(u64, u64),
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(first, count, payload) => {
                let start = &payload[..payload.len().min(8)];
                write!(f, "{count} at {first}: {} bytes {start:?}", payload.len())
            }
            Self::Damaged(first, count) => write!(f, "{count} at {first} damaged"),
        }
    }
}

pub(crate) fn see_all(reader: &mut Reader, mut from: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(item) = reader.read(from).unwrap() {
        from = item.end();
        seen.push(match item {
            Item::Frame { first, count, payload, .. } => {
                Seen::Frame(first, u64::from(count), payload.to_vec())
            }
            Item::Damaged { first, count } => Seen::Damaged(first, count),
        });
    }
    seen
}

/// The name of a file below the channel's folder.
pub(crate) fn inside(name: impl AsRef<Path>) -> PathBuf {
    dir().join(name)
}
