//! What runs out and comes back: bytes, inodes, descriptors. Nothing of it is a disk that failed.

use durable_channel::conformance::batch;
use durable_channel::sim::SimDisk;
use durable_channel::{AppendError, Channel, DurableChannel, Shortage, Start};

use crate::support::{open, see_all, tiny};

/// What a channel refuses puts with once it has found no room.
fn refused(channel: &DurableChannel) -> Shortage {
    loop {
        match channel.append(batch(channel, &[&[1; 1_000]])) {
            Ok(_) => drop(channel.step()),
            Err(AppendError::Short(shortage)) => break shortage,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn what_has_run_out_is_named_and_the_channel_goes_on_once_it_is_there_again() {
    type Change = fn(&SimDisk, bool);
    let cases: [(Change, &str, bool); 3] = [
        (
            |disk, there| {
                let bytes = disk.used_bytes() + tiny().segment_bytes + 100;
                disk.set_capacity((!there).then_some(bytes));
            },
            "bytes free, 8192 needed for the next segment of the channel",
            false,
        ),
        // The reserve that is there, and not another file.
        (
            |disk, there| disk.set_inodes((!there).then_some(disk.files().len() as u64)),
            "the disk's inodes are used up: it has room, but none for another file",
            false,
        ),
        // Nobody can look whether there will be a descriptor.
        (
            |disk, there| disk.set_descriptors(there),
            "the file descriptors are used up: raise the limit",
            true,
        ),
    ];
    for (change, says, waits) in cases {
        let disk = SimDisk::new();
        let (channel, _) = open(&disk);
        let mut reader = channel.reader("r", Start::Oldest).unwrap();
        // With its first segment, which takes the reserve, and the next reserve.
        channel.append(batch(&channel, &[b"first"])).unwrap();
        channel.step();
        change(&disk, false);
        let shortage = refused(&channel);
        assert!(shortage.to_string().contains(says), "{shortage}");
        assert!(AppendError::from(shortage).retry_can_help());
        assert_eq!(channel.stats().shortage, Some(shortage));
        assert!(channel.failure().is_none(), "{says}");
        // What was accepted is synced, since it is refused early enough, or says what it waits for.
        assert_eq!(channel.synced_end() < channel.stats().next, waits, "{says}");
        assert_eq!(channel.waits_for(), waits.then_some(shortage));

        change(&disk, true);
        while channel.step() {}
        assert_eq!(channel.synced_end(), channel.stats().next, "{says}");
        assert_eq!((channel.waits_for(), channel.stats().shortage), (None, None), "{says}");
        assert!(channel.append(batch(&channel, &[b"again"])).is_ok(), "{says}");
        channel.step();
        assert_eq!(see_all(&mut reader, 0).len() as u64, channel.synced_end(), "{says}");
    }
}

#[test]
fn without_descriptors_what_is_queued_waits_whoever_waits_is_told_and_nothing_fails() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let hook = std::sync::Arc::clone(&told);
    channel.on_progress(Box::new(move || {
        hook.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }));
    disk.set_descriptors(false);
    // More than the segment and the reserve hold is accepted before anybody looks.
    let mut accepted = 0;
    for _ in 0..16 {
        accepted = channel.append(batch(&channel, &[&[1; 1_000]])).unwrap().end();
    }
    while channel.step() {}
    let (synced, before) = (channel.synced_end(), told.load(std::sync::atomic::Ordering::SeqCst));
    assert!(synced < accepted, "there is no third segment");
    assert_eq!(channel.waits_for(), Some(Shortage::Descriptors));
    assert!(before > synced.div_ceil(16), "that it waits is told too");
    disk.set_descriptors(true);
    while channel.step() {}
    assert_eq!((channel.synced_end(), channel.waits_for()), (accepted, None));
}

#[test]
fn a_reader_without_a_descriptor_for_the_next_segment_reads_on_later() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    for _ in 0..20 {
        channel.append(batch(&channel, &[&[1; 1_000]])).unwrap();
        channel.step();
    }
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    disk.set_descriptors(false);
    let error = reader.read(0).unwrap_err();
    assert!(error.is_shortage(), "{error}");
    disk.set_descriptors(true);
    assert_eq!(see_all(&mut reader, 0).len(), 20);
    assert_eq!(channel.stats().damaged, 0);
}
