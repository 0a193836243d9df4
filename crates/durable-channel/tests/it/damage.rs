//! The damage table: which bytes are hit, and the exact verdict.
//!
//! The channel of the table holds three segments. The frames of the last one are four groups of one frame each;
//! each attests the ones before it, and a clean close attests the last.

use std::path::{Path, PathBuf};

use durable_channel::conformance::append;
use durable_channel::disk::{Disk, Mode};
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, OpenError, Recovery, Start};

use crate::support::{Seen, dir, inside, open, see_all, segment, try_open};

const HEADER: usize = 40;
const BLOCK: usize = 4096;
const EVENT: usize = 1000;
/// Two events a frame, its header, and the padding to a multiple of eight.
const FRAME: usize = HEADER + 2 * EVENT;

/// How the channel was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    /// With the last group synced, but nothing that attests it.
    Killed,
}

/// Five frames: two in each segment, one in the last. Positions 0 to 10.
fn channel(left: Left) -> SimDisk {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    drop(channel.reader("r", Start::Oldest).unwrap());
    for n in 0..5_u8 {
        let event = [n + 1; EVENT];
        append(&channel, &[&event, &event]);
        assert!(channel.step());
    }
    if left == Left::Closed {
        channel.close().unwrap();
    }
    let disk = disk.restart();
    let segments: Vec<_> = disk.files().into_iter().filter(|path| path.extension().is_some()).collect();
    assert_eq!(segments, [segment(0), segment(4), segment(8)], "the table is about these");
    disk
}

fn frame(n: u64) -> Seen {
    Seen::Frame(2 * n, 2, vec![n as u8 + 1; 2 * EVENT])
}

fn seen(channel: &DurableChannel) -> Vec<Seen> {
    see_all(&mut channel.reader("r", Start::Oldest).unwrap(), 0)
}

/// What is done to a file.
type Damage = fn(&mut Vec<u8>);

fn after(
    left: Left,
    path: &Path,
    damage: impl FnOnce(&mut Vec<u8>),
) -> (SimDisk, Result<(DurableChannel, Recovery), OpenError>) {
    let disk = channel(left);
    disk.damage(path, damage);
    let opened = try_open(&disk);
    (disk, opened)
}

#[test]
fn a_bad_frame_of_an_older_segment_is_counted_and_its_positions_stay_used_i2_i9() {
    let rows: &[(&str, Damage, Vec<Seen>)] = &[
        ("length, first frame", |b| b[BLOCK] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("length, second frame", |b| b[BLOCK + FRAME] ^= 1, vec![frame(0), Seen::Damaged(2, 2)]),
        ("payload checksum", |b| b[BLOCK + 4] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("first position", |b| b[BLOCK + 8] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("count", |b| b[BLOCK + 16] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("header checksum", |b| b[BLOCK + 20] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("arrival", |b| b[BLOCK + 24] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("synced end", |b| b[BLOCK + 32] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        ("first byte of the payload", |b| b[BLOCK + HEADER] ^= 1, vec![Seen::Damaged(0, 2), frame(1)]),
        (
            "last byte of the payload",
            |b| b[BLOCK + 2 * FRAME - 1] ^= 128,
            vec![frame(0), Seen::Damaged(2, 2)],
        ),
        (
            "a sector of zeros across two frames",
            |b| b[BLOCK + FRAME - 99..][..512].fill(0),
            vec![Seen::Damaged(0, 2), Seen::Damaged(2, 2)],
        ),
        ("all frames zero", |b| b[BLOCK..].fill(0), vec![Seen::Damaged(0, 4)]),
        (
            "cut within the second frame",
            |b| b.truncate(BLOCK + FRAME + 100),
            vec![frame(0), Seen::Damaged(2, 2)],
        ),
        ("cut to nothing", |b| b.clear(), vec![Seen::Damaged(0, 4)]),
        ("one copy of the header", |b| b[16] ^= 1, vec![frame(0), frame(1)]),
        ("the other copy of the header", |b| b[2048] ^= 1, vec![frame(0), frame(1)]),
        ("the whole header", |b| b[..BLOCK].fill(0xee), vec![Seen::Damaged(0, 4)]),
        (
            "the first frame again over the second",
            |b| b.copy_within(BLOCK..BLOCK + FRAME, BLOCK + FRAME),
            vec![frame(0), Seen::Damaged(2, 2)],
        ),
        (
            "the second frame over the first",
            |b| b.copy_within(BLOCK + FRAME..BLOCK + 2 * FRAME, BLOCK),
            vec![Seen::Damaged(0, 2), frame(1)],
        ),
    ];
    for (name, damage, first_segment) in rows {
        let (_, opened) = after(Left::Closed, &segment(0), damage);
        let (channel, recovery) = opened.unwrap();
        assert_eq!(
            (recovery.next, recovery.damaged.len()),
            (10, 0),
            "{name}: older segments are not read at open"
        );
        let expected: Vec<_> = first_segment.iter().cloned().chain([frame(2), frame(3), frame(4)]).collect();
        assert_eq!(seen(&channel), expected, "{name}");
        let lost = |seen: &Seen| if let Seen::Damaged(_, count) = seen { *count } else { 0 };
        let lost: u64 = expected.iter().map(lost).sum();
        seen(&channel);
        assert_eq!(channel.stats().damaged, lost, "{name}: each position is counted once");
    }
}

#[test]
fn frames_of_another_segment_are_never_taken_for_this_ones() {
    let disk = channel(Left::Closed);
    let mut other = Vec::new();
    disk.damage(&segment(0), |bytes| other.clone_from(bytes));
    disk.damage(&segment(4), |bytes| bytes[BLOCK..].copy_from_slice(&other[BLOCK..]));
    let (channel, _) = open(&disk);
    assert_eq!(
        seen(&channel),
        [frame(0), frame(1), Seen::Damaged(4, 4), frame(4)],
        "blocks that were used before"
    );
}

#[test]
fn a_bad_last_frame_is_damage_if_anything_attests_it_and_else_a_torn_tail() {
    let rows: &[(&str, Damage)] = &[
        ("length", |b| b[BLOCK] ^= 1),
        ("count", |b| b[BLOCK + 16] ^= 1),
        ("payload", |b| b[BLOCK + HEADER + 5] ^= 1),
        ("zeros", |b| b[BLOCK..].fill(0)),
        ("cut", |b| b.truncate(BLOCK + 7)),
    ];
    for (name, damage) in rows {
        let (_, opened) = after(Left::Closed, &segment(8), damage);
        let (channel, recovery) = opened.unwrap();
        assert_eq!((recovery.next, recovery.damaged), (10, vec![(8, 2)]), "{name}: the close attested it");
        assert_eq!(channel.stats().damaged, 2, "{name}");
        assert_eq!(seen(&channel).last(), Some(&Seen::Damaged(8, 2)), "{name}");
        assert_eq!(
            append(&channel, &[b"next"]).first,
            10,
            "{name}: I2, damaged positions are not given again"
        );

        let (_, opened) = after(Left::Killed, &segment(8), damage);
        let (channel, recovery) = opened.unwrap();
        assert_eq!((recovery.next, recovery.damaged), (8, vec![]), "{name}: torn, and cut");
        assert_eq!(seen(&channel), (0..4).map(frame).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn a_later_frame_attests_what_was_synced_before_it() {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    drop(channel.reader("r", Start::Oldest).unwrap());
    for n in 0..3_u8 {
        append(&channel, &[&[n + 1; 100]]);
        channel.step();
    }
    let disk = disk.restart();
    disk.damage(&segment(0), |bytes| bytes[BLOCK + HEADER] ^= 1);
    let (channel, recovery) = open(&disk);
    assert_eq!(
        (recovery.damaged, recovery.copied_frames),
        (vec![(0, 1)], 1),
        "only the last group is copied"
    );
    let frame = |n: u64| Seen::Frame(n, 1, vec![n as u8 + 1; 100]);
    assert_eq!(seen(&channel), [Seen::Damaged(0, 1), frame(1), frame(2)]);
}

#[test]
fn what_a_reader_released_was_synced_whatever_the_log_says() {
    let disk = channel(Left::Killed);
    let (channel, _) = open(&disk);
    let reader = channel.reader("r", Start::Oldest).unwrap();
    append(&channel, &[b"last"]);
    channel.step();
    reader.release(11).unwrap();
    drop(reader);
    let disk = disk.restart();
    let last = disk.files().into_iter().rfind(|path| path.extension().is_some()).unwrap();
    disk.damage(&last, |bytes| bytes[BLOCK..].fill(0));
    let (channel, recovery) = open(&disk);
    assert_eq!(recovery.next, 11, "I2: a position that a reader is done with is never given again");
    assert_eq!(channel.readers()[0].released, 11);
}

#[test]
fn a_segment_that_is_gone_is_counted_as_damage() {
    let disk = channel(Left::Closed);
    Disk::remove(&disk, &segment(4)).unwrap();
    let (channel, _) = open(&disk);
    assert_eq!(seen(&channel), [frame(0), frame(1), Seen::Damaged(4, 4), frame(4)]);
    drop(channel);
    let disk = channel_without_first();
    let (channel, _) = open(&disk);
    assert_eq!(seen(&channel), [Seen::Damaged(0, 4), frame(2), frame(3), frame(4)]);
}

fn channel_without_first() -> SimDisk {
    let disk = channel(Left::Closed);
    Disk::remove(&disk, &segment(0)).unwrap();
    disk
}

#[test]
fn what_would_give_a_position_twice_is_refused_and_says_what_to_do() {
    let progress = inside("readers/r/progress");
    let rows: &[(&str, PathBuf, Damage)] = &[
        ("both copies of the last segment's header", segment(8), |b| b[..BLOCK].fill(0)),
        ("the last segment under another's name", segment(8), |b| b[24..32].fill(9)),
        ("both records of the identity", inside("identity"), |b| b.fill(0x55)),
        ("both records of a reader", progress, |b| b.fill(0)),
    ];
    for (name, path, damage) in rows {
        let damage = |bytes: &mut Vec<u8>| {
            damage(bytes);
            if name.contains("another") {
                let first: Vec<u8> = bytes[..64].to_vec();
                bytes[2048..2048 + 64].copy_from_slice(&first);
            }
        };
        let (_, opened) = after(Left::Closed, path, damage);
        let error = opened.err().unwrap_or_else(|| panic!("{name}: it opens"));
        assert!(matches!(&error, OpenError::Damaged { path: named, .. } if named == path), "{name}: {error}");
    }
}

#[test]
fn an_adopted_channel_goes_on_with_what_it_holds_under_a_new_id() {
    let disk = channel(Left::Closed);
    let (before, _) = open(&disk);
    let old = (before.id(), before.incarnation(), before.claim_nonce());
    assert!(
        matches!(DurableChannel::adopt_on(&disk, &dir(), 0), Err(OpenError::Locked { .. })),
        "it is open"
    );
    before.close().unwrap();
    drop(before);
    let id = DurableChannel::adopt_on(&disk, &dir(), 0).unwrap();
    let (channel, recovery) = open(&disk);
    assert_eq!((channel.id(), channel.incarnation(), recovery.created), (id, 1, false));
    assert_ne!((old.0, old.2), (id, channel.claim_nonce()));
    assert_eq!(seen(&channel), (0..5).map(frame).collect::<Vec<_>>());
    drop(channel);
    disk.damage(&segment(8), |bytes| bytes[..BLOCK].fill(1));
    assert!(try_open(&disk).is_err());
    DurableChannel::adopt_on(&disk, &dir(), 0).unwrap();
    let (channel, _) = open(&disk);
    assert_eq!(seen(&channel), (0..4).map(frame).chain([Seen::Damaged(8, 2)]).collect::<Vec<_>>());
}

#[test]
fn a_retired_name_is_used_up_until_the_channel_has_a_new_id() {
    let disk = channel(Left::Closed);
    let refused = |channel: &DurableChannel| {
        let error = channel.reader("once", Start::Oldest).unwrap_err();
        assert!(matches!(&error, OpenError::Retired(name) if name == "once"), "{error}");
    };
    let (first, _) = open(&disk);
    drop(first.reader("once", Start::Oldest).unwrap());
    let readers = dir().join("readers");
    let kept = |disk: &SimDisk, folder: &str| {
        let entries = disk.list(&readers.join(folder)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    drop(disk.open(&readers.join("once/journal.a"), Mode::Create).unwrap());
    first.retire("once").unwrap();
    refused(&first);
    assert_eq!(kept(&disk, "once.retired"), ["progress"]);
    drop(first);
    // A crash right after the rename leaves the owner's files: the rename has decided all the same.
    drop(disk.open(&readers.join("once.retired/journal.b"), Mode::Create).unwrap());
    let (second, _) = open(&disk);
    refused(&second);
    assert_eq!(kept(&disk, "once.retired"), ["progress"]);
    drop(second);
    disk.remove(&readers.join("once.retired/progress")).unwrap();
    let (third, _) = open(&disk);
    refused(&third);
    drop(third);
    DurableChannel::adopt_on(&disk, &dir(), 0).unwrap();
    let (adopted, _) = open(&disk);
    assert!(!kept(&disk, "").contains(&"once.retired".to_owned()));
    assert_eq!(adopted.reader("once", Start::Oldest).unwrap().name(), "once");
}

#[test]
fn a_lost_newest_identity_record_never_repeats_an_incarnation() {
    let disk = channel(Left::Killed);
    let (channel, _) = open(&disk);
    let (incarnation, nonce) = (channel.incarnation(), channel.claim_nonce());
    let disk = disk.restart();
    for slot in 0..2 {
        let disk = clone_of(&disk);
        disk.damage(&inside("identity"), |bytes| bytes[slot * 4096 + 40] ^= 1);
        let (channel, _) = open(&disk);
        assert!(channel.incarnation() > incarnation, "slot {slot}");
        assert_ne!(channel.claim_nonce(), nonce);
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    for path in [segment(8), inside("identity")] {
        let (_, opened) = after(Left::Closed, &path, |bytes| {
            for at in (0..bytes.len().min(8192))
                .step_by(2048)
                .filter(|at| bytes[*at..].starts_with(b"SLG"))
                .collect::<Vec<_>>()
            {
                bytes[at + 8] = 2;
                let end =
                    if bytes[at..].starts_with(b"SLGSLOTS") { 32 + usize::from(bytes[at + 24]) } else { 64 };
                let crc =
                    crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 12]), &bytes[at + 16..at + end]);
                bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
            }
        });
        let error = opened.expect_err("it is refused");
        assert!(
            matches!(&error, OpenError::Version { found: 2, known: 1, path: named } if *named == path),
            "{error}"
        );
    }
}

/// A copy of a disk, to hit in another way.
fn clone_of(disk: &SimDisk) -> SimDisk {
    let copy = SimDisk::new();
    for path in disk.files() {
        let mut contents = Vec::new();
        disk.damage(&path, |bytes| contents.clone_from(bytes));
        copy.create_dir_all(path.parent().unwrap()).unwrap();
        Disk::open(&copy, &path, Mode::Create).unwrap();
        copy.damage(&path, |bytes| *bytes = contents);
    }
    copy
}
