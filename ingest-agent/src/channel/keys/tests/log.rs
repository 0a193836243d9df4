//! The key log by itself: what each kind of damage to each field comes to, and power cuts between any two operations.

use durable_channel::sim::Choices;

use super::super::index::Entry;
use super::super::log::{FILE, KeyLog, MAX_APPEND, Opened as OpenedLog, Place};
use super::*;

const KEYS: u32 = 20;
const SLOTS_AT: usize = 4096;
const SLOT_BYTES: usize = 64;

fn entry(key: u32) -> Entry {
    Entry { stamp: stamp(key), first: u64::from(key) * 10, count: 2, arrival_s: 1_000 + key }
}

fn log_dir() -> PathBuf {
    PathBuf::from("/keys")
}

fn open(disk: &SimDisk, keys: u32, released: u64, fresh: bool) -> Result<OpenedLog, OpenError> {
    if fresh || disk.files().is_empty() {
        disk.create_dir_all(&log_dir()).unwrap();
        disk.sync_dir("/".as_ref()).unwrap();
    }
    KeyLog::open(&Place { disk, dir: &log_dir(), keys, released, fresh })
}

/// The keys found, and how many are damaged.
fn found(disk: &SimDisk, released: u64) -> (Vec<u32>, u64) {
    let opened = open(disk, KEYS, released, false).unwrap();
    let key = |entry: &Entry| u32::from_le_bytes(*entry.stamp.id.first_chunk().unwrap());
    assert!(opened.entries.iter().all(|found| *found == entry(key(found))), "each is what it was");
    (opened.entries.iter().map(key).collect(), opened.damaged)
}

/// A log of the keys 1 to 12, synced in three appends of four, the last of which only `released` attests.
fn logged() -> SimDisk {
    let disk = SimDisk::new();
    let mut log = open(&disk, KEYS, 0, true).unwrap().log;
    for first in [1, 5, 9] {
        let entries: Vec<_> = (first..first + 4).map(entry).collect();
        log.append(&entries).unwrap();
    }
    disk
}

fn damage(disk: &SimDisk, change: impl FnOnce(&mut Vec<u8>)) {
    disk.damage(&log_dir().join(FILE), change);
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// One byte of a slot, by the field that it is in.
const FIELDS: [(&str, usize); 8] = [
    ("id", 3),
    ("digest", 20),
    ("first", 33),
    ("number", 40),
    ("count", 49),
    ("arrival", 53),
    ("back", 56),
    ("checksum", 61),
];

#[test]
fn damage_to_any_field_of_a_slot_costs_its_key_which_is_counted_if_it_is_attested() {
    let all = (1..=12).collect::<Vec<_>>();
    for (field, at) in FIELDS {
        for key in 1..=12_u32 {
            let slot = SLOTS_AT + key as usize * SLOT_BYTES;
            let changes: [(&str, Change<'_>); 4] = [
                ("flipped", &|bytes| bytes[slot + at] ^= 0x10),
                ("zeroed", &|bytes| bytes[slot..slot + SLOT_BYTES].fill(0)),
                ("torn", &|bytes| bytes[slot..slot + at].fill(0xee)),
                ("recycled", &|bytes| bytes[slot..slot + SLOT_BYTES].fill(0xa5)),
            ];
            for (what, change) in changes {
                let disk = logged();
                damage(&disk, change);
                let rest: Vec<_> = all.iter().copied().filter(|other| *other != key).collect();
                let (keys, damaged) = found(&disk, entry(12).end());
                // The very last one has no later witness: it looks as if it had never been written.
                assert_eq!((&keys, damaged), (&rest, u64::from(key != 12)), "{field} {what} of {key}");
                assert_eq!(found(&disk, entry(12).end()), (keys, damaged), "and the same at the next start");
            }
        }
    }
}

#[test]
fn slots_that_nothing_attests_do_not_count_and_are_cleared() {
    let disk = logged();
    // Nothing was released, so of the last append nobody knows that its sync returned.
    let OpenedLog { mut log, entries, damaged } = open(&disk, KEYS, 0, false).unwrap();
    assert_eq!((entries, damaged), ((1..=8).map(entry).collect(), 0));
    // What it had written never comes back, even once numbers and positions have passed it.
    log.append(&[entry(100)]).unwrap();
    let released = entry(100).end();
    assert_eq!(found(&disk, released), ((1..=8).chain([100]).collect(), 0));
    assert_eq!(found(&disk, released + 1000), ((1..=8).chain([100]).collect(), 0));
}

#[test]
fn a_slot_that_is_copied_elsewhere_or_comes_from_another_file_is_no_key() {
    let disk = logged();
    damage(&disk, |bytes| {
        let copy = bytes[SLOTS_AT + 3 * SLOT_BYTES..][..SLOT_BYTES].to_vec();
        bytes[SLOTS_AT + 15 * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&copy);
        bytes[SLOTS_AT + 6 * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&copy);
    });
    assert_eq!(found(&disk, entry(12).end()), ((1..=12).filter(|key| *key != 6).collect(), 1));

    let other = logged();
    let path = log_dir().join(FILE);
    let mut stolen = Vec::new();
    other.damage(&path, |bytes| stolen = bytes[SLOTS_AT + 7 * SLOT_BYTES..][..SLOT_BYTES].to_vec());
    let disk = logged();
    damage(&disk, |bytes| bytes[SLOTS_AT + 7 * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&stolen));
    assert_eq!(found(&disk, entry(12).end()), ((1..=12).filter(|key| *key != 7).collect(), 1));
}

#[test]
fn a_file_cut_short_loses_what_lay_behind_the_cut() {
    for keys in 1..=12_usize {
        let disk = logged();
        damage(&disk, |bytes| bytes.truncate(SLOTS_AT + (keys + 1) * SLOT_BYTES - 1));
        // Only what a slot that is left attests was there for certain: whole appends before it.
        let (found, damaged) = found(&disk, entry(12).end());
        assert_eq!((found.len(), damaged), (keys - 1, 0), "cut in {keys}");
    }
}

#[test]
fn either_copy_of_the_header_serves_and_without_both_the_log_is_refused_with_what_to_do() {
    for field in [0, 9, 13, 17, 25] {
        for copy in [0, 2048] {
            let disk = logged();
            damage(&disk, |bytes| bytes[copy + field] ^= 1);
            assert_eq!(found(&disk, entry(12).end()).0.len(), 12, "byte {field} of the copy at {copy}");
        }
        let disk = logged();
        damage(&disk, |bytes| [0, 2048].iter().for_each(|copy| bytes[copy + field] ^= 1));
        let error = open(&disk, KEYS, 200, false).err().unwrap();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("`channel retire keys`"), "{error}");
    }
    let disk = logged();
    damage(&disk, |bytes| bytes.truncate(100));
    assert_eq!(found(&disk, entry(12).end()), (vec![], 0), "the first copy is whole");
    let disk = logged();
    damage(&disk, Vec::clear);
    assert!(matches!(open(&disk, KEYS, 200, false).err().unwrap(), OpenError::Damaged { .. }));
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let disk = logged();
    damage(&disk, |bytes| {
        for copy in [0, 2048] {
            bytes[copy + 8] = 2;
            let crc =
                crc32c::crc32c_append(crc32c::crc32c(&bytes[copy..copy + 12]), &bytes[copy + 16..copy + 32]);
            bytes[copy + 12..copy + 16].copy_from_slice(&crc.to_le_bytes());
        }
    });
    let error = open(&disk, KEYS, 200, false).err().unwrap();
    assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_missing_log_is_refused_once_anything_was_released() {
    let disk = SimDisk::new();
    assert!(matches!(open(&disk, KEYS, 10, false).err().unwrap(), OpenError::Damaged { .. }));
    assert!(open(&disk, KEYS, 10, true).is_ok());
}

#[test]
fn an_io_error_of_the_log_is_never_taken_for_damage() {
    let disk = logged();
    disk.stop_after(0);
    // Clearing what does not count is the first thing that is written.
    assert!(matches!(open(&disk, KEYS, 0, false).err().unwrap(), OpenError::Io { .. }));
    let disk = logged();
    disk.fail_syncs(1);
    assert!(matches!(open(&disk, KEYS, 0, false).err().unwrap(), OpenError::Io { .. }));
    let mut log = open(&disk, KEYS, 0, false).unwrap().log;
    disk.fail_syncs(1);
    assert!(log.append(&[entry(9)]).is_err(), "what is not synced is not logged");
}

#[test]
fn the_ring_keeps_the_newest_keys_and_another_size_keeps_what_fits() {
    let disk = SimDisk::new();
    let mut log = open(&disk, KEYS, 0, true).unwrap().log;
    let bytes = disk.used_bytes();
    let mut last = 0;
    // Three times around, so that every slot was overwritten.
    for batch in 0..40 {
        let entries: Vec<_> = (last + 1..=last + 100 + batch * 7).map(entry).collect();
        last += entries.len() as u32;
        log.append(&entries).unwrap();
    }
    let all: Vec<_> = (last + 1..=last + MAX_APPEND as u32).map(entry).collect();
    last += all.len() as u32;
    log.append(&all).unwrap();
    assert!(last as usize > 2 * MAX_APPEND);
    assert_eq!(disk.used_bytes(), bytes, "its size is fixed");
    let released = entry(last).end();
    assert_eq!(found(&disk, released), ((last - KEYS + 1..=last).collect(), 0));
    for (keys, kept) in [(7, 7), (50, 7), (KEYS, 7)] {
        let opened = open(&disk, keys, released, false).unwrap();
        assert_eq!((opened.entries.len(), opened.damaged), (kept, 0), "for {keys} keys");
    }
    assert_eq!(found(&disk, released), ((last - 6..=last).collect(), 0));
}

#[test]
fn after_a_power_cut_at_any_operation_every_key_whose_append_returned_is_found() {
    for seed in 0..400 {
        let choices = &mut Choices::new(seed);
        let disk = SimDisk::new();
        let mut log = open(&disk, KEYS, 0, true).unwrap().log;
        disk.stop_after(choices.below(40));
        let (mut synced, mut next) = (0, 1);
        loop {
            let many = 1 + choices.below(6) as u32;
            if log.append(&(next..next + many).map(entry).collect::<Vec<_>>()).is_err() {
                break;
            }
            next += many;
            synced = next - 1;
        }
        let disk = disk.power_cut(seed);
        // The keeper releases after the append, so what it has released may be anything up to there.
        let released = if choices.below(2) == 0 { entry(synced).end() } else { 0 };
        let (keys, damaged) = found(&disk, released);
        assert_eq!(damaged, 0, "seed {seed}");
        let end = keys.last().copied().unwrap_or(0);
        assert_eq!(keys, (end.saturating_sub(KEYS - 1).max(1)..=end).collect::<Vec<_>>(), "seed {seed}");
        assert!(end <= synced && (released == 0 || end == synced), "seed {seed}: {end} of {synced}");
    }
}
