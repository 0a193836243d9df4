//! Reservations where the disk decides: floor and failure.

use durable_channel::sim::SimDisk;
use durable_channel::{AppendError, Channel as _, DurableChannel, Options, conformance};

use crate::support::{dir, open, tiny};

#[test]
fn the_floor_is_asked_for_with_the_room_and_never_at_the_commit() {
    let disk = SimDisk::new();
    let options = Options { free_disk_floor_bytes: 4 << 10, ..tiny() };
    let (channel, _) =
        DurableChannel::open_stepped(std::sync::Arc::new(disk.clone()), &dir(), &options).unwrap();
    let held = channel.reserve(conformance::batch(&channel, &[b"reserved"])).unwrap();
    // Room for one more segment, and less than the floor beside it.
    disk.set_capacity(Some(disk.used_bytes() + tiny().segment_bytes + (2 << 10)));
    // The free space is looked at when a segment is full.
    while channel.append(conformance::batch(&channel, &[&[0; 1500]])).is_ok() {
        channel.step();
    }
    let refused = channel.reserve(conformance::batch(&channel, &[b"late"]));
    assert!(matches!(refused, Err(AppendError::Short(_))), "{refused:?}");
    let appended = held.commit().unwrap();
    assert!(channel.step(), "what has room is written");
    assert_eq!(channel.synced_end(), appended.end());
}

#[test]
fn after_a_failed_sync_no_reservation_is_committed() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    let held = channel.reserve(conformance::batch(&channel, &[b"reserved"])).unwrap();
    conformance::append(&channel, &[b"lost"]);
    disk.fail_syncs(1);
    assert!(!channel.step());
    assert!(matches!(held.commit(), Err(AppendError::Poisoned(_))));
    let refused = channel.reserve(conformance::batch(&channel, &[b"late"]));
    assert!(matches!(refused, Err(AppendError::Poisoned(_))));
}
