//! The durable channel on the disk of the machine, in a folder that is removed afterwards.
//!
//! What the system does for a write or a sync is in a time, and not in a count of the process's instructions.

use std::hint::black_box;
use std::thread;

use durable_channel::{Batch, Channel, DurableChannel, Item, Options, Start};
use ingest_agent::event;
use tempfile::TempDir;

use crate::Part;
use crate::sample::{self, BATCH};

/// Appends `batches` of [`BATCH`] events and waits until all of them are synced.
pub fn append(batches: u32) -> Part {
    let (dir, channel) = channel();
    let caller = thread::current();
    channel.on_progress(Box::new(move || caller.unpark()));
    let events: Vec<_> = (0..BATCH).map(sample::event).collect();
    Box::new(move || {
        let _held = &dir;
        let mut end = 0;
        for _ in 0..batches {
            end = channel.append(batch(&channel, &events)).expect("there is room").end();
        }
        wait(&channel, end);
        u64::from(batches) * u64::from(BATCH)
    })
}

/// Reads and decodes 16 MiB that were appended, as a sink does. They are in the page cache.
pub fn read() -> Part {
    let (dir, channel) = channel();
    let caller = thread::current();
    channel.on_progress(Box::new(move || caller.unpark()));
    let events: Vec<_> = (0..BATCH).map(sample::event).collect();
    let mut reader = channel.reader("reader", Start::Oldest).expect("the name is free");
    let mut end = 0;
    for _ in 0..16 * (1 << 20) / (BATCH as usize * sample::BYTES) {
        end = channel.append(batch(&channel, &events)).expect("there is room").end();
    }
    wait(&channel, end);
    Box::new(move || {
        let _held = &dir;
        let mut position = 0;
        while let Some(Item::Frame { first, count, payload, .. }) =
            reader.read(position).expect("nothing was released")
        {
            for event in event::decode_all(payload, count) {
                black_box(event.expect("it was encoded here"));
            }
            position = first + u64::from(count);
        }
        position
    })
}

fn channel() -> (TempDir, DurableChannel) {
    let dir = tempfile::tempdir().expect("there is a folder for temporary files");
    let options = Options { free_disk_floor_bytes: 0, ..Options::default() };
    let (channel, _) = DurableChannel::open(dir.path(), &options).expect("a new channel opens");
    (dir, channel)
}

fn batch(channel: &DurableChannel, events: &[String]) -> Batch {
    let mut batch = channel.batch();
    for body in events {
        batch.push(|buf| event::encode_body(buf, body.as_bytes()));
    }
    batch
}

fn wait(channel: &DurableChannel, end: u64) {
    while channel.synced_end() < end {
        assert!(channel.failure().is_none(), "the disk failed: {:?}", channel.failure());
        thread::park();
    }
}
