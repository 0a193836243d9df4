//! What a disk does to a channel that is open: full, failing, shared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durable_channel::conformance::{append, batch, wait_synced};
use durable_channel::disk::Disk;
use durable_channel::sim::SimDisk;
use durable_channel::{
    AppendError, Channel, CloseError, DurableChannel, OpenError, Options, ReadError, Start,
};

use crate::support::{Seen, dir, open, see_all, segment, tiny, try_open};

#[test]
fn a_failed_sync_ends_the_channel_and_nothing_later_is_acknowledged_i1() {
    let disk = SimDisk::new();
    let (channel, _) = DurableChannel::open_on(Arc::new(disk.clone()), &dir(), &tiny()).unwrap();
    let end = append(&channel, &[b"synced"]).end();
    wait_synced(&channel, end);
    let told = Arc::new(AtomicU64::new(0));
    let (hook, (failed, waits)) = (Arc::clone(&told), std::sync::mpsc::channel());
    let failed = std::sync::Mutex::new(failed);
    channel.on_progress(Box::new(move || {
        hook.fetch_add(1, Ordering::SeqCst);
        let _ = failed.lock().unwrap().send(());
    }));
    disk.fail_syncs(1);
    append(&channel, &[b"lost"]);
    waits.recv().unwrap();
    let failure = channel.failure().expect("whoever waits is told");
    assert_eq!(failure.to_string(), "syncing segment 00000000000000000000.seg");
    assert_eq!(channel.synced_end(), end, "I1");
    let refused = channel.append(batch(&channel, &[b"late"])).unwrap_err();
    assert!(matches!(refused, AppendError::Poisoned(_)) && !refused.retry_can_help());
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    assert_eq!(
        see_all(&mut reader, 0),
        [Seen::Frame(0, 1, b"synced".to_vec())],
        "what was synced can be read"
    );
    assert!(matches!(channel.close(), Err(CloseError::Failed(_))));
}

#[test]
fn a_full_disk_refuses_puts_while_drains_go_on_and_resumes_by_itself() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    // Room for the first segment and its reserve, and not for another.
    disk.set_capacity(Some(disk.used_bytes() + tiny().segment_bytes + 100));
    let refused = loop {
        match channel.append(batch(&channel, &[&[1; 1_000]])) {
            Ok(_) => drop(channel.step()),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, AppendError::Short(_)) && refused.retry_can_help(), "{refused}");
    let end = channel.stats().next;
    assert_eq!(channel.synced_end(), end, "what was accepted found room");
    assert!(channel.failure().is_none());
    assert_eq!(see_all(&mut reader, 0).len() as u64, end);
    let segments = channel.stats().segments;
    append_until_it_rotates(&disk, &channel);
    reader.release(channel.synced_end()).unwrap();
    assert!(channel.stats().segments <= segments.max(1));
    channel.step();
    assert!(
        channel.append(batch(&channel, &[b"again"])).is_ok(),
        "the freed segment is the room for the next"
    );
}

/// Gives just enough room that the channel has two segments, the older of which can go.
fn append_until_it_rotates(disk: &SimDisk, channel: &DurableChannel) {
    while channel.stats().segments < 2 {
        disk.set_capacity(Some(disk.used_bytes() + tiny().segment_bytes));
        channel.step();
        if channel.append(batch(channel, &[&[1; 1_000]])).is_ok() {
            channel.step();
        }
        disk.set_capacity(Some(disk.used_bytes() + 100));
        channel.step();
    }
}

#[test]
fn a_channel_opens_reads_and_releases_on_a_full_disk() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    drop(channel.reader("r", Start::Oldest).unwrap());
    for _ in 0..20 {
        append(&channel, &[&[1; 1_000]]);
        channel.step();
    }
    let mut disk = disk.restart();
    disk.set_capacity(Some(disk.used_bytes()));
    for round in 0..3 {
        let (channel, recovery) = open(&disk);
        assert_eq!(recovery.next, 20, "round {round}");
        let mut reader = channel.reader("r", Start::Oldest).unwrap();
        assert_eq!(see_all(&mut reader, 0).len(), 20);
        drop(reader);
        disk = disk.restart();
        disk.set_capacity(Some(disk.used_bytes()));
    }
    let (channel, _) = open(&disk);
    channel.reader("r", Start::Oldest).unwrap().release(20).unwrap();
    channel.step();
    assert!(channel.append(batch(&channel, &[b"room again"])).is_ok());
}

#[test]
fn a_channel_that_is_killed_at_any_moment_while_its_disk_fills_up_opens_on_the_full_disk_i1() {
    for appends in 1..30 {
        let disk = SimDisk::new();
        let (channel, _) = open(&disk);
        drop(channel.reader("r", Start::Oldest).unwrap());
        // Room for the first segment and its reserve, and not for another.
        disk.set_capacity(Some(disk.used_bytes() + tiny().segment_bytes + 100));
        for _ in 0..appends {
            let _ = channel.append(batch(&channel, &[&[1; 1_000]]));
            channel.step();
        }
        let synced = channel.synced_end();
        let disk = disk.restart();
        disk.set_capacity(Some(disk.used_bytes()));
        let (_, recovery) = open(&disk);
        assert!(recovery.next >= synced, "I1: {recovery:?} after {synced}");
    }
}

#[test]
fn the_free_disk_floor_counts_for_puts_only() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(1 << 20));
    let options = Options { free_disk_floor_bytes: 900 << 10, ..tiny() };
    let (channel, _) = DurableChannel::open_stepped(Arc::new(disk.clone()), &dir(), &options).unwrap();
    let reader = channel.reader("r", Start::Oldest).unwrap();
    while channel.append(batch(&channel, &[&[1; 1_000]])).is_ok() {
        channel.step();
    }
    let stats = channel.stats();
    assert!(stats.refused_disk == 1 && stats.free_disk_bytes < 900 << 10, "{stats:?}");
    reader.release(channel.synced_end()).unwrap();
    channel.step();
    append(&channel, &[b"resumed"]);
}

#[test]
fn accepted_events_without_room_wait_and_are_never_called_synced() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    // More than the first segment and its reserve can hold is accepted before the writer looks.
    let accepted = (0..16).map(|_| append(&channel, &[&[1; 1_000]]).end()).last().unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    while channel.step() {}
    let synced = channel.synced_end();
    assert!(synced < accepted && channel.failure().is_none());
    assert!(matches!(channel.append(batch(&channel, &[b"more"])), Err(AppendError::Short(_))));
    disk.set_capacity(None);
    while channel.step() {}
    assert_eq!(channel.synced_end(), accepted, "with room they go on");

    append(&channel, &[b"x"]);
    while channel.step() {}
    for _ in 0..16 {
        append(&channel, &[&[1; 1_000]]);
    }
    disk.set_capacity(Some(disk.used_bytes()));
    assert!(matches!(channel.close(), Err(CloseError::NoRoom { .. })), "closing says that they were lost");
}

#[test]
fn an_io_error_is_never_taken_for_damage() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    let end = append(&channel, &[&[1; 1_000]]).end();
    channel.step();
    // The machine's files are gone under it: every read fails.
    let after = disk.restart();
    assert!(matches!(reader.read(0), Err(ReadError::Io { .. })));
    assert_eq!(channel.stats().damaged, 0);
    let (channel, recovery) = open(&after);
    assert_eq!((recovery.next, channel.stats().damaged), (end, 0));
}

#[test]
fn a_directory_is_open_once() {
    let disk = SimDisk::new();
    let (channel, recovery) = open(&disk);
    assert!(recovery.created);
    assert!(matches!(try_open(&disk), Err(OpenError::Locked { .. })));
    channel.close().unwrap();
    let (second, recovery) = try_open(&disk).unwrap();
    assert!(!recovery.created && second.incarnation() == channel.incarnation() + 1);
    assert_eq!(second.id(), channel.id(), "the id comes with the directory");
    assert_ne!(second.claim_nonce(), channel.claim_nonce());

    let dir = tempfile::tempdir().unwrap();
    let options = Options { free_disk_floor_bytes: 0, ..tiny() };
    let (channel, _) = DurableChannel::open(dir.path(), &options).unwrap();
    let locked = || matches!(DurableChannel::open(dir.path(), &options), Err(OpenError::Locked { .. }));
    assert!(locked());
    let lock = dir.path().join("lock");
    std::fs::remove_file(&lock).unwrap();
    assert!(locked(), "whoever deletes the file lets nobody in");
    drop(channel);
    assert!(!locked());
    // A program from before the directory itself was locked has only this.
    let older = std::fs::File::open(&lock).unwrap();
    older.lock().unwrap();
    assert!(locked());
}

#[test]
fn restarts_do_not_eat_the_capacity() {
    let mut disk = SimDisk::new();
    for n in 0..50 {
        let (channel, recovery) = open(&disk);
        assert_eq!(recovery.next, n);
        append(&channel, &[b"one"]);
        channel.step();
        disk = disk.restart();
    }
    let (channel, _) = open(&disk);
    assert!(channel.stats().used_bytes < 50 * 64, "{:?}", channel.stats());
    assert!(disk.used_bytes() < 60 * 5_000 + 4 * tiny().segment_bytes, "{}", disk.used_bytes());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let wrong = [
        Options { max_frame_bytes: 40, ..tiny() },
        Options { max_frame_bytes: 4_097, ..tiny() },
        Options { capacity_bytes: 16 << 10, segment_bytes: (8 << 10) + 1, ..tiny() },
        Options { max_group_bytes: 0, ..tiny() },
    ];
    for options in wrong {
        let opened = DurableChannel::open_on(Arc::new(SimDisk::new()), &dir(), &options);
        assert!(matches!(opened, Err(OpenError::Options(_))), "{options:?}");
    }
    assert!(Options::default().validate().is_ok());
}

#[test]
fn a_batch_beyond_the_limit_is_refused_and_says_so() {
    let (channel, _) = open(&SimDisk::new());
    let refused = channel.append(batch(&channel, &[&[0; 2_009]])).unwrap_err();
    assert_eq!(refused.to_string(), "batch too large: 2049 bytes, at most 2048");
    append(&channel, &[&[0; 2_008]]);
    assert!(channel.step());
}

#[test]
fn a_removed_file_is_an_error_and_not_damage_while_the_channel_is_open() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    append(&channel, &[b"one"]);
    channel.step();
    disk.remove(&segment(0)).unwrap();
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    assert!(matches!(reader.read(0), Err(ReadError::Io { .. })));
}
