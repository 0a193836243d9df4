//! One suite, every implementation.

use std::sync::Arc;

use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, MemoryChannel, Options, conformance};

use crate::support::dir;

fn small() -> Options {
    Options {
        segment_bytes: 20 << 10,
        capacity_bytes: 1 << 20,
        free_disk_floor_bytes: 0,
        max_frame_bytes: 16 << 10,
        ..Options::default()
    }
}

#[test]
fn a_durable_channel_keeps_every_promise() {
    let root = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    conformance::run(&|| {
        made.set(made.get() + 1);
        let dir = root.path().join(made.get().to_string());
        Box::new(DurableChannel::open(&dir, &small()).unwrap().0)
    });
}

#[test]
fn a_durable_channel_on_a_simulated_disk_keeps_every_promise() {
    conformance::run(&|| {
        let disk = Arc::new(SimDisk::new());
        Box::new(DurableChannel::open_on(disk, &dir(), &small()).unwrap().0) as Box<dyn Channel>
    });
}

#[test]
fn a_memory_channel_keeps_every_promise_but_durability() {
    conformance::run(&|| Box::new(MemoryChannel::new(2_000, 1_000, 1 << 20).unwrap()));
}

#[test]
fn a_memory_channel_has_flumes_capacities() {
    let channel = MemoryChannel::new(10, 4, 1 << 20).unwrap();
    let events = |count| conformance::batch(&channel, &vec![&b"e"[..]; count]);
    let refused = channel.append(events(5)).unwrap_err();
    assert_eq!(refused.to_string(), "batch of 5 events exceeds the transaction capacity of 4");
    channel.append(events(4)).unwrap();
    channel.append(events(4)).unwrap();
    let refused = channel.append(events(4)).unwrap_err();
    assert_eq!(refused.to_string(), "channel full: 8 of 10 events used");
    channel.append(events(2)).unwrap();
    assert!(MemoryChannel::new(10, 11, 1 << 20).is_err(), "transactionCapacity is at most capacity");
    assert_ne!(channel.id(), MemoryChannel::new(10, 4, 1).unwrap().id(), "an id per start");
}
