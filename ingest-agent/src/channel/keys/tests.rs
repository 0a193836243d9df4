//! Keys on a disk that forgets what was not synced.

mod log;
mod model;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durable_channel::disk::Disk;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, OpenError, Options};

use super::keeper::Keeper;
use super::*;
use crate::event::{Draft, KeyStamp};

fn dir() -> PathBuf {
    PathBuf::from("/state/channel")
}

/// Segments so small that they are deleted often.
fn tiny() -> Options {
    Options {
        segment_bytes: 8 << 10,
        capacity_bytes: 64 << 10,
        free_disk_floor_bytes: 0,
        max_frame_bytes: 2 << 10,
        max_group_bytes: 1 << 10,
        group_delay: Duration::ZERO,
        ..Options::default()
    }
}

fn stamp(key: u32) -> KeyStamp {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&key.to_le_bytes());
    KeyStamp { id, digest: [7; 16] }
}

/// A channel whose writer and whose keeper are turned by hand.
struct Opened {
    channel: Arc<DurableChannel>,
    shared: Arc<Shared>,
    keeper: Keeper,
}

impl Opened {
    fn new(disk: &SimDisk, keys: u32) -> Result<Self, OpenError> {
        let (channel, _) = DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &tiny())?;
        let channel = Arc::new(channel);
        let limits = Limits { keys, age: Duration::from_secs(3600) };
        let shared = Shared::new(limits, system_clock(), || ());
        let dynamic: Arc<dyn Channel> = Arc::clone(&channel) as _;
        let disk: &dyn Disk = disk;
        let keeper = Keeper::open(&shared, &dynamic, disk)?;
        Ok(Self { channel, shared, keeper })
    }

    /// What the intake does for one request with a key: its positions, if the channel took it or had it.
    fn send(&self, key: u32, body: &[u8]) -> Result<(Appended, bool), AppendError> {
        let mut draft = Draft::new(self.channel.batch());
        draft.push_body(body);
        let mut session = Session { state: self.shared.state(), shared: &self.shared };
        match session.look_up(&stamp(key)) {
            Known::Same(appended) => Ok((appended, true)),
            Known::Other => panic!("all have one digest"),
            Known::New => {
                let appended = self.channel.append(draft.into_keyed_batch(&stamp(key)))?;
                session.record(stamp(key), appended);
                Ok((appended, false))
            }
        }
    }

    fn known(&self, key: u32) -> Option<Appended> {
        let session = Session { state: self.shared.state(), shared: &self.shared };
        match session.look_up(&stamp(key)) {
            Known::Same(appended) => Some(appended),
            _ => None,
        }
    }
}
