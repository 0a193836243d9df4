//! What reading costs, counted in bytes.

use std::sync::Arc;

use durable_channel::conformance::append;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, Item, Options, Start};

use crate::support::{dir, open, tiny};

/// A sink takes large frames in several bites, and asks for the same frame again for each of them.
#[test]
fn a_frame_that_is_taken_in_several_bites_is_read_from_the_disk_once() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    for n in 0..20_u8 {
        append(&channel, &[&[n; 100], &[n; 100], &[n; 100]]);
    }
    while channel.step() {}
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    let before = disk.bytes_read();
    for position in 0..60 {
        let item = reader.read(position).unwrap().unwrap();
        let Item::Frame { first, payload, .. } = item else { panic!("{item:?}") };
        assert_eq!((first, payload[0]), (position / 3 * 3, position as u8 / 3));
    }
    let read = disk.bytes_read() - before;
    assert!(read <= 2 * disk.used_bytes(), "{read} bytes were read of {}", disk.used_bytes());
}

/// An upload begins in the middle of a segment, with a place of reading of its own.
#[test]
fn frames_that_are_skipped_are_not_read() {
    let disk = SimDisk::new();
    let options = Options {
        segment_bytes: 16 << 20,
        capacity_bytes: 64 << 20,
        max_frame_bytes: 1 << 20,
        max_group_bytes: 1 << 20,
        ..tiny()
    };
    let (channel, _) = DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &options).unwrap();
    for n in 0..64_u8 {
        append(&channel, &[&vec![n; 100_000]]);
    }
    while channel.step() {}
    let reader = channel.reader("r", Start::Oldest).unwrap();
    let before = disk.bytes_read();
    let mut cursor = reader.cursor();
    let item = cursor.read(63).unwrap().unwrap();
    let Item::Frame { first: 63, payload, .. } = item else { panic!("{item:?}") };
    assert_eq!(payload.last(), Some(&63));
    let read = disk.bytes_read() - before;
    assert!(read < 1_000_000, "{read} bytes were read");
}
