//! The damage table, field by field: every kind of damage to every field of every file, with the exact verdict.
//!
//! Segments hold frames of different sizes, so that a field of one is never by chance that of another. Damage that
//! leaves the bytes as they were is none. What counts as attested: everything below the last segment's name, and of
//! the last segment what a later frame, a clean close or a reader says.

mod around;
mod journals;

use std::ops::Range;
use std::path::Path;

use durable_channel::conformance::append;
use durable_channel::disk::Disk;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, OpenError, Severity, Start};

use crate::support::{Seen, dir, inside, open, see_all, segment, try_open};

const BLOCK: usize = 4096;

/// What is done to a range of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One bit is another.
    Flipped,
    Zeroed,
    /// What the same place of a channel before this one held.
    Recycled,
    /// The same field of the record beside it.
    Duplicated,
    /// The file ends in the middle.
    Cut,
}

const KINDS: [Kind; 5] = [Kind::Flipped, Kind::Zeroed, Kind::Recycled, Kind::Duplicated, Kind::Cut];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Everything is read, and nothing counted.
    Whole,
    /// These positions are counted as damaged; everything else is read, and the next position is as it was.
    Lost(Range<u64>),
    /// From this position on the tail was torn: it is cut, and the next event gets this position.
    Torn(u64),
    /// The start is refused, with words that say what to do.
    Refused(&'static str),
}

use Verdict::{Lost, Refused, Torn, Whole};

/// Six frames of 1 to 6 events: positions 0..21, two frames a segment. `salt` tells one channel's bytes from another's.
fn channel(salt: u8, closed: bool) -> SimDisk {
    let disk = SimDisk::new();
    let (channel, _) = open(&disk);
    let reader = channel.reader("r", Start::Oldest).unwrap();
    drop(channel.reader("other", Start::Oldest).unwrap());
    for n in 1..=6_u8 {
        let event = vec![salt ^ n; 1_900 / usize::from(n)];
        append(&channel, &vec![event.as_slice(); usize::from(n)]);
        assert!(channel.step());
    }
    // Both slots of its progress are used.
    reader.release(1).unwrap();
    drop(reader);
    if closed {
        channel.close().unwrap();
    }
    let disk = disk.restart();
    let segments: Vec<_> = disk.files().into_iter().filter(|path| path.extension().is_some()).collect();
    assert_eq!(segments, [segment(0), segment(3), segment(10)], "the table is about these");
    disk
}

/// First position and count of each frame, from 0.
const FRAMES: [(u64, u64); 6] = [(0, 1), (1, 2), (3, 3), (6, 4), (10, 5), (15, 6)];

fn frames(salt: u8) -> Vec<Seen> {
    let frame = |(index, (first, count)): (usize, &(u64, u64))| {
        let n = index as u8 + 1;
        Seen::Frame(*first, *count, vec![salt ^ n; 1_900 / usize::from(n) * usize::from(n)])
    };
    FRAMES.iter().enumerate().map(frame).collect()
}

fn contents(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let mut contents = Vec::new();
    disk.damage(path, |bytes| contents.clone_from(bytes));
    contents
}

/// Damages `field` of the file at `path`; `beside` is the same field of a record beside it. Whether bytes changed.
fn hit(disk: &SimDisk, older: &SimDisk, path: &Path, field: Range<usize>, beside: usize, kind: Kind) -> bool {
    let old = contents(older, path);
    let before = contents(disk, path);
    disk.damage(path, |bytes| match kind {
        Kind::Flipped => bytes[field.start + (field.end - field.start) / 2] ^= 0x10,
        Kind::Zeroed => bytes[field.clone()].fill(0),
        Kind::Recycled => {
            let end = field.end.min(old.len());
            bytes[field.start..end].copy_from_slice(&old[field.start..end]);
        }
        Kind::Duplicated => bytes.copy_within(beside..(beside + field.len()).min(before.len()), field.start),
        Kind::Cut => bytes.truncate(field.start + (field.end - field.start) / 2),
    });
    contents(disk, path) != before
}

/// Opens, reads all, and compares with the verdict. What `inspect` says beforehand agrees, and changes nothing.
fn judge(disk: &SimDisk, verdict: &Verdict, row: &str) {
    let before: Vec<_> = disk.files().iter().map(|path| contents(disk, path)).collect();
    let inspected = DurableChannel::inspect_on(disk, &dir()).unwrap();
    let after: Vec<_> = disk.files().iter().map(|path| contents(disk, path)).collect();
    assert!(before == after, "{row}: a look changes nothing");
    let opened = try_open(disk);
    if let Refused(words) = verdict {
        let error = opened.err().unwrap_or_else(|| panic!("{row}: it opens"));
        assert!(matches!(&error, OpenError::Damaged { .. }), "{row}: {error}");
        assert!(error.to_string().contains(words), "{row}: {error}");
        let refused = inspected.problems.iter().find(|problem| problem.severity == Severity::Refused);
        assert!(refused.is_some_and(|problem| problem.what.contains(words)), "{row}: {inspected:?}");
        return;
    }
    let (channel, recovery) = opened.unwrap_or_else(|error| panic!("{row}: {error}"));
    let (lost, end) = match verdict {
        Whole => (0..0, 21),
        Lost(lost) => (lost.clone(), 21),
        Torn(end) => (0..0, *end),
        Refused(_) => unreachable!(),
    };
    assert_eq!(recovery.next, end, "{row}: I2, positions");
    assert_eq!(inspected.next, Some(end), "{row}: inspect");
    assert_eq!(inspected.damaged(), lost.end - lost.start, "{row}: inspect {inspected:?}");
    let mut reader = channel.reader("r", Start::Oldest).unwrap();
    let (mut expected, mut seen) = (Vec::new(), Vec::new());
    for frame in frames(0x40) {
        let Seen::Frame(first, count, _) = frame else { unreachable!() };
        if first < end {
            let hit = lost.contains(&first);
            expected.extend(if hit { vec![] } else { vec![frame] });
            assert!(!hit || first + count <= lost.end, "the table names whole frames");
        }
    }
    let mut damaged = Vec::new();
    for item in see_all(&mut reader, 0) {
        match item {
            Seen::Damaged(first, count) => damaged.extend(first..first + count),
            frame @ Seen::Frame(..) => seen.push(frame),
        }
    }
    assert_eq!(seen, expected, "{row}: every frame that was not hit is read as it was written");
    assert_eq!(damaged, lost.clone().collect::<Vec<_>>(), "{row}: I9, exactly these are counted");
    assert_eq!(channel.stats().damaged, lost.end - lost.start, "{row}: I9");
    assert_eq!(append(&channel, &[b"next"]).first, end, "{row}: I2, no position is given twice");
}

/// The fields of the frame at `at` whose payload ends at `end`, and the padding behind it.
fn fields(at: usize, end: usize) -> Vec<(&'static str, Range<usize>)> {
    let field = |name, from: usize, to: usize| (name, at + from..at + to);
    vec![
        field("length", 0, 4),
        field("payload checksum", 4, 8),
        field("first position", 8, 16),
        field("count", 16, 20),
        field("header checksum", 20, 24),
        field("arrival", 24, 32),
        field("synced end", 32, 40),
        ("payload", at + 40..end),
        ("whole frame", at..end),
    ]
}

fn frame_ends(n: usize) -> usize {
    40 + 1_900 / n * n
}

#[test]
fn damage_to_each_field_of_a_frame_has_its_exact_verdict_i1_i2_i9() {
    // Which frame (from 1), whether the channel was closed, the verdict, and the verdict if the file ends in it.
    let rows: &[(usize, bool, Verdict, Verdict)] = &[
        (1, true, Lost(0..1), Lost(0..3)),
        (2, true, Lost(1..3), Lost(1..3)),
        (3, false, Lost(3..6), Lost(3..10)),
        (4, false, Lost(6..10), Lost(6..10)),
        // The last segment: the close attests all of it.
        (5, true, Lost(10..15), Lost(10..21)),
        (6, true, Lost(15..21), Lost(15..21)),
        // After a kill, the last frame attests the one before it, and nothing attests the last.
        (5, false, Lost(10..15), Torn(10)),
        (6, false, Torn(15), Torn(15)),
    ];
    let older = channel(0x20, true);
    for (n, closed, verdict, cut) in rows {
        let path = segment([0, 0, 0, 3, 3, 10, 10][*n]);
        let beside_first = n % 2 == 0;
        let first_of_segment = BLOCK;
        let second = BLOCK + frame_ends(if beside_first { n - 1 } else { *n }).next_multiple_of(8);
        let (at, beside) = if beside_first { (second, first_of_segment) } else { (first_of_segment, second) };
        for (name, field) in fields(at, at + frame_ends(*n)) {
            for kind in KINDS {
                let disk = channel(0x40, *closed);
                let row = format!("frame {n}, closed {closed}, {name}, {kind:?}");
                let changed = hit(&disk, &older, &path, field.clone(), beside + field.start - at, kind);
                judge(
                    &disk,
                    if !changed {
                        &Whole
                    } else if kind == Kind::Cut {
                        cut
                    } else {
                        verdict
                    },
                    &row,
                );
            }
        }
    }
}

#[test]
fn damage_to_each_field_of_a_segments_header_has_its_exact_verdict() {
    let fields = [
        ("magic", 0..8),
        ("version", 8..12),
        ("checksum", 12..16),
        ("id", 16..24),
        ("first position", 24..32),
    ];
    let older = channel(0x20, true);
    for (name, field) in fields {
        for kind in [Kind::Flipped, Kind::Zeroed, Kind::Recycled] {
            for (path, verdict) in [
                (segment(0), Lost(0..3)),
                (segment(3), Lost(3..10)),
                (segment(10), Refused("give the channel a new id with `channel adopt`")),
            ] {
                let row = format!("{name}, {kind:?}, {}", path.display());
                for copy in [0, 2048] {
                    let disk = channel(0x40, true);
                    hit(&disk, &older, &path, field.start + copy..field.end + copy, 0, kind);
                    judge(&disk, &Whole, &format!("{row}, the copy at {copy}"));
                }
                let disk = channel(0x40, true);
                let first = hit(&disk, &older, &path, field.clone(), 0, kind);
                hit(&disk, &older, &path, field.start + 2048..field.end + 2048, 0, kind);
                judge(&disk, if first { &verdict } else { &Whole }, &format!("{row}, both copies"));
            }
        }
    }
    // A whole header block of another channel's file of the same name: good in itself, but the frames are not its.
    for (path, closed, verdict) in
        [(segment(0), true, Lost(0..3)), (segment(10), true, Lost(10..21)), (segment(10), false, Torn(10))]
    {
        let disk = channel(0x40, closed);
        assert!(hit(&disk, &older, &path, 0..BLOCK, 0, Kind::Recycled));
        judge(
            &disk,
            &verdict,
            &format!("the header block of another file, {}, closed {closed}", path.display()),
        );
    }
    for (path, verdict) in [(segment(0), Lost(0..3)), (segment(10), Refused("`channel adopt`"))] {
        let disk = channel(0x40, true);
        disk.damage(&path, |bytes| bytes.truncate(20));
        judge(&disk, &verdict, "cut within the header");
    }
    // What no field covers says nothing: reserved bytes are checked, the rest of the block is not.
    let disk = channel(0x40, true);
    disk.damage(&segment(10), |bytes| bytes[100..2048].fill(7));
    judge(&disk, &Whole, "the rest of the header block");
}

#[test]
fn damage_to_each_field_of_a_slot_has_its_exact_verdict() {
    let adopt = "give the channel a new id with `channel adopt`";
    let repair = "let `channel repair` start the reader again";
    let header =
        [("magic", 0..8), ("version", 8..12), ("checksum", 12..16), ("sequence", 16..24), ("length", 24..28)];
    let identity = [("id", 32..48), ("incarnation", 48..56), ("nonce", 56..72), ("synced end", 72..80)];
    let progress = [("start", 32..40), ("released", 40..48)];
    let older = channel(0x20, true);
    let files =
        [(inside("identity"), &identity[..], adopt), (inside("readers/r/progress"), &progress[..], repair)];
    for (path, record, words) in files {
        for (name, field) in header.iter().chain(record) {
            for kind in [Kind::Flipped, Kind::Zeroed, Kind::Recycled, Kind::Duplicated] {
                for slot in [0, 4096] {
                    let disk = channel(0x40, true);
                    let here = field.start + slot..field.end + slot;
                    hit(&disk, &older, &path, here, field.start + 4096 - slot, kind);
                    judge(&disk, &Whole, &format!("{}, {name}, {kind:?}, slot at {slot}", path.display()));
                }
                let disk = channel(0x40, true);
                let changed = [0, 4096]
                    .map(|slot| hit(&disk, &older, &path, field.start + slot..field.end + slot, 100, kind));
                if changed == [true, true] {
                    judge(
                        &disk,
                        &Refused(words),
                        &format!("{}, {name}, {kind:?}, both slots", path.display()),
                    );
                }
            }
        }
        let disk = channel(0x40, true);
        disk.damage(&path, |bytes| bytes.truncate(20));
        judge(&disk, &Refused(words), "cut");
        let disk = channel(0x40, true);
        Disk::remove(&disk, &path).unwrap();
        judge(&disk, &Refused(if words == adopt { "restore it" } else { words }), "gone");
    }
}

#[test]
fn a_slot_of_another_channel_is_refused_and_one_that_is_there_twice_raises_the_incarnation() {
    let older = channel(0x20, true);
    let path = inside("identity");
    for slot in [0, 4096] {
        let disk = channel(0x40, true);
        assert!(hit(&disk, &older, &path, slot..slot + 4096, 0, Kind::Recycled));
        judge(&disk, &Refused("its two records are of different channels"), "a block of another identity");
        let disk = channel(0x40, false);
        let incarnation = DurableChannel::inspect_on(&disk, &dir()).unwrap().identity.unwrap().1;
        assert!(hit(&disk, &older, &path, slot..slot + 4096, 4096 - slot, Kind::Duplicated));
        let (channel, _) = open(&disk);
        assert!(
            channel.incarnation() > incarnation,
            "a number that may have been claimed is not taken again"
        );
    }
}
