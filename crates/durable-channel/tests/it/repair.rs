//! Repair, and how much of a channel a start looks at.

use std::path::PathBuf;
use std::sync::Arc;

use durable_channel::conformance::append;
use durable_channel::disk::Disk;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, OpenError, Repair, Start};

use crate::support::{Seen, dir, inside, open, see_all, segment, tiny, try_open};

/// `frames` frames of one event of 900 bytes, four a segment; the reader `r` is done with none.
fn channel(frames: u64) -> SimDisk {
    let disk = SimDisk::new();
    let options = durable_channel::Options { capacity_bytes: 64 << 20, ..tiny() };
    let (channel, _) = DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &options).unwrap();
    drop(channel.reader("r", Start::Oldest).unwrap());
    for n in 0..frames {
        append(&channel, &[&[n as u8; 900]]);
        assert!(channel.step());
    }
    channel.close().unwrap();
    disk.restart()
}

fn repair(disk: &SimDisk, used_below: u64) -> Result<Repair, OpenError> {
    DurableChannel::repair_on(&(Arc::new(disk.clone()) as Arc<dyn Disk>), &dir(), &tiny(), used_below)
}

#[test]
fn repair_sets_all_damaged_bytes_aside_and_finds_a_sound_channel_sound() {
    let disk = channel(10);
    assert_eq!(
        repair(&disk, 0).unwrap(),
        Repair {
            recovery: repair(&disk, 0).unwrap().recovery,
            restarted: vec![],
            damaged: 0,
            set_aside_bytes: 0
        }
    );
    assert!(DurableChannel::inspect_on(&disk, &dir()).unwrap().is_sound());
    let mut hit = Vec::new();
    disk.damage(&segment(4), |bytes| {
        bytes[4096 + 500] ^= 1;
        hit.clone_from(&bytes[4096..4096 + 944].to_vec());
    });
    disk.damage(&segment(8), |bytes| bytes[4096] ^= 1);
    let found = DurableChannel::inspect_on(&disk, &dir()).unwrap();
    assert_eq!(found.damaged(), 2);
    let repaired = repair(&disk, 0).unwrap();
    assert_eq!((repaired.damaged, repaired.set_aside_bytes), (2, 2 * 944));
    let mut kept = Vec::new();
    disk.damage(&inside("damaged/00000000000000000004-4096.bin"), |bytes| kept.clone_from(bytes));
    assert_eq!(kept, hit, "as they were found");
    assert_eq!(repair(&disk, 0).unwrap().set_aside_bytes, 0, "once");
}

#[test]
fn repair_starts_a_reader_again_whose_progress_is_lost() {
    let disk = channel(10);
    let progress: PathBuf = inside("readers/r/progress");
    disk.damage(&progress, |bytes| bytes.fill(3));
    let refused = try_open(&disk).err().unwrap();
    assert!(refused.to_string().contains("let `channel repair` start the reader again"), "{refused}");
    let repaired = repair(&disk, 0).unwrap();
    assert_eq!((repaired.restarted, repaired.set_aside_bytes), (vec!["r".to_owned()], 8192));
    let (channel, _) = open(&disk);
    let expected: Vec<_> = (0..10).map(|n| Seen::Frame(n, 1, vec![n as u8; 900])).collect();
    assert_eq!(see_all(&mut channel.reader("r", Start::Oldest).unwrap(), 0), expected);
}

#[test]
fn positions_that_only_a_readers_owner_knows_of_are_not_given_again_i2() {
    // A kill, and the log loses its end: by the channel's own knowledge that was a torn tail.
    let lost = || {
        let disk = channel(10);
        let (channel, _) = open(&disk);
        append(&channel, &[b"sealed by a sink"]);
        channel.step();
        let disk = disk.restart();
        let last = disk.files().into_iter().rfind(|path| path.extension().is_some()).unwrap();
        disk.damage(&last, |bytes| bytes[4096..].fill(0));
        disk
    };
    assert_eq!(open(&lost()).1.next, 10);
    let disk = lost();
    repair(&disk, 11).unwrap();
    assert_eq!(open(&disk).1.next, 11);
    let disk = lost();
    DurableChannel::adopt_on(&disk, &dir(), 11).unwrap();
    let (channel, recovery) = open(&disk);
    assert_eq!((recovery.next, recovery.damaged), (11, vec![(10, 1)]));
    assert_eq!(append(&channel, &[b"new"]).first, 11);
}

#[test]
fn repair_guesses_nothing() {
    for path in [inside("identity"), segment(8)] {
        let disk = channel(10);
        disk.damage(&path, |bytes| bytes[..4096].fill(9));
        if path == inside("identity") {
            disk.damage(&path, |bytes| bytes.fill(9));
        }
        assert!(matches!(repair(&disk, 0), Err(OpenError::Damaged { .. })), "{}", path.display());
    }
    let disk = channel(10);
    let (_running, _) = open(&disk);
    assert!(matches!(repair(&disk, 0), Err(OpenError::Locked { .. })), "not beside a running agent");
    assert!(matches!(DurableChannel::inspect_on(&disk, &dir()), Err(OpenError::Locked { .. })));
}

#[test]
fn opening_reads_as_much_of_a_long_channel_as_of_a_short_one() {
    let read = |segments: u64| {
        let disk = channel(4 * segments);
        let before = (disk.reads(), disk.bytes_read());
        let (channel, recovery) = open(&disk);
        let after = (disk.reads(), disk.bytes_read());
        assert_eq!((recovery.next, channel.stats().segments), (4 * segments, segments));
        (after.0 - before.0, after.1 - before.1)
    };
    let (short, long) = (read(4), read(400));
    assert_eq!(short, long, "reads and bytes");
    assert!(long.1 < 8 * tiny().segment_bytes, "{} bytes", long.1);
}
