//! What reading costs, counted in bytes.

use durable_channel::conformance::append;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, Item, Start};

use crate::support::open;

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
