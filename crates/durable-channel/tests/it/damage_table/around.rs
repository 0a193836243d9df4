//! Around the table: files whose contents mean nothing, bytes that are set aside, and I/O errors, which are no damage.

use std::sync::Arc;

use durable_channel::conformance::append;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, Item, OpenError, Options, ReadError, Start};

use super::{BLOCK, Verdict, channel, contents, frame_ends, judge};
use crate::support::{dir, inside, open, see_all, segment, tiny, try_open};

#[test]
fn the_lock_and_the_reserve_may_hold_anything() {
    let disk = channel(0x40, true);
    let (opened, _) = open(&disk);
    drop(opened);
    disk.damage(&inside("lock"), |bytes| bytes.extend_from_slice(b"anything"));
    disk.damage(&inside("segments/reserve"), |bytes| bytes.fill(0xee));
    judge(&disk, &Verdict::Whole, "lock and reserve");
    let (channel, recovery) = open(&disk.restart());
    assert_eq!((recovery.next, recovery.damaged), (22, vec![]), "with what was appended meanwhile");
    append(&channel, &[&[1; 1_000]]);
    while channel.step() {}
}

#[test]
fn damaged_bytes_are_set_aside_up_to_a_limit_before_they_are_forgotten() {
    // Once read, of an older segment.
    let disk = channel(0x40, true);
    disk.damage(&segment(0), |bytes| bytes[BLOCK + 100] ^= 1);
    let hit = contents(&disk, &segment(0))[BLOCK..BLOCK + frame_ends(1).next_multiple_of(8)].to_vec();
    let (channel, recovery) = open(&disk);
    assert_eq!(recovery.set_aside_bytes, 0, "older segments are not read at open");
    for _ in 0..2 {
        see_all(&mut channel.reader("r", Start::Oldest).unwrap(), 0);
    }
    let aside = inside("damaged/00000000000000000000-4096.bin");
    assert_eq!(contents(&disk, &aside), hit);
    channel.close().unwrap();

    // By opening, of the last segment: what it cuts is kept first.
    let disk = super::channel(0x40, true);
    disk.damage(&segment(10), |bytes| bytes[BLOCK + frame_ends(5).next_multiple_of(8)] ^= 1);
    let at = BLOCK + frame_ends(5).next_multiple_of(8);
    let hit = contents(&disk, &segment(10))[at..at + frame_ends(6)].to_vec();
    let (channel, recovery) = open(&disk);
    assert_eq!((recovery.set_aside_bytes, &recovery.damaged[..]), (hit.len() as u64, &[(15, 6)][..]));
    assert_eq!(contents(&disk, &inside(format!("damaged/{:020}-{at}.bin", 10))), hit);
    assert_eq!(contents(&disk, &segment(10)).len(), at, "they were cut");
    drop(channel);

    // On a full disk nothing is kept, and nothing stops; beyond the limit neither.
    for (full, limit) in [(true, 1 << 20), (false, 100)] {
        let disk = super::channel(0x40, true);
        disk.damage(&segment(0), |bytes| bytes[BLOCK + 100] ^= 1);
        let options = Options { keep_damaged_bytes: limit, ..tiny() };
        let opened = DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &options);
        let channel = opened.unwrap().0;
        if full {
            disk.set_capacity(Some(disk.used_bytes()));
        }
        let mut reader = channel.reader("r", Start::Oldest).unwrap();
        assert_eq!(see_all(&mut reader, 0).len(), 6);
        assert_eq!(channel.stats().damaged, 1);
        assert!(!disk.files().iter().any(|path| path.starts_with(inside("damaged"))), "full {full}");
    }
}

#[test]
fn an_io_error_at_any_read_stops_the_start_and_is_never_taken_for_damage() {
    let total = |act: &dyn Fn(&SimDisk)| {
        let disk = channel(0x40, false);
        let before = disk.reads();
        act(&disk);
        disk.reads() - before
    };
    let opening = total(&|disk| drop(open(disk)));
    assert!(opening > 10, "{opening} reads");
    for after in 0..opening {
        let disk = channel(0x40, false);
        disk.fail_read_after(after);
        match try_open(&disk) {
            Err(OpenError::Io { .. }) => {}
            // The last looks are at free space and the reserve.
            Ok((channel, recovery)) => {
                assert_eq!((recovery.next, recovery.damaged.len()), (21, 0), "read {after}");
                drop(channel);
            }
            Err(error) => panic!("read {after}: {error}"),
        }
        let disk = disk.restart();
        judge(&disk, &Verdict::Whole, &format!("after a failed read {after}"));
    }
    let looking = total(&|disk| drop(DurableChannel::inspect_on(disk, &dir()).unwrap()));
    for after in 0..looking {
        let disk = channel(0x40, false);
        disk.fail_read_after(after);
        let error = DurableChannel::inspect_on(&disk, &dir()).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }), "read {after}: {error}");
    }
    // A reader's read can be repeated.
    for after in 0..20 {
        let disk = channel(0x40, false);
        let (channel, _) = open(&disk);
        let mut reader = channel.reader("r", Start::Oldest).unwrap();
        disk.fail_read_after(after);
        let mut position = 0;
        while position < 21 {
            match reader.read(position) {
                Ok(Some(Item::Frame { first, count, .. })) => {
                    position = first + u64::from(count);
                }
                Ok(other) => panic!("read {after}: {other:?}"),
                Err(error) => assert!(matches!(error, ReadError::Io { .. }), "{error}"),
            }
        }
        assert_eq!(channel.stats().damaged, 0, "read {after}");
    }
}
