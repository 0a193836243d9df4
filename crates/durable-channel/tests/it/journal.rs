//! Journals: what is synced stays, what is torn goes, and damage is never guessed away.

use std::path::{Path, PathBuf};

use durable_channel::disk::Disk;
use durable_channel::sim::{Choices, SimDisk};
use durable_channel::{Journal, JournalError};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const BYTES: u64 = 16 << 10;

fn open(disk: &SimDisk) -> (Journal, Vec<Vec<u8>>) {
    try_open(disk).unwrap()
}

fn try_open(disk: &SimDisk) -> Result<(Journal, Vec<Vec<u8>>), JournalError> {
    disk.create_dir_all(Path::new("/j")).unwrap();
    Journal::open_on(disk, Path::new("/j"), "cuts", BYTES)
}

fn half(which: &str) -> PathBuf {
    PathBuf::from(format!("/j/cuts.{which}"))
}

#[test]
fn records_come_back_from_the_last_snapshot_on() {
    let disk = SimDisk::new();
    let (mut journal, records) = open(&disk);
    assert!(records.is_empty());
    journal.append(b"one").unwrap();
    journal.append_all(&[b"two", b"", b"three"]).unwrap();
    assert_eq!(open(&disk).1, [&b"one"[..], b"two", b"", b"three"]);
    journal.snapshot(b"state").unwrap();
    journal.append(b"four").unwrap();
    assert_eq!(open(&disk).1, [&b"state"[..], b"four"]);
    journal.snapshot(b"state 2").unwrap();
    assert_eq!(open(&disk).1, [&b"state 2"[..]]);
}

#[test]
fn a_journal_works_in_a_real_directory() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..100_u32 {
        let (mut journal, records) = Journal::open(dir.path(), "cuts", BYTES).unwrap();
        let last = records.last().map(|record| u32::from_le_bytes(record[..4].try_into().unwrap()));
        assert_eq!(last, n.checked_sub(1));
        journal.append(&n.to_le_bytes().repeat(50)).unwrap();
        if journal.snapshot_due() {
            journal.snapshot(&n.to_le_bytes()).unwrap();
        }
    }
    let size: u64 =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(size, 2 * BYTES, "snapshots keep it from growing");
}

#[test]
fn a_snapshot_larger_than_the_file_grows_it_and_a_full_disk_leaves_the_journal_as_it_was() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.append(b"one").unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    assert!(matches!(journal.snapshot(&vec![1; 2 * BYTES as usize]), Err(JournalError::Io { .. })));
    journal.append(b"two").unwrap();
    assert_eq!(open(&disk).1, [b"one", b"two"]);
    disk.set_capacity(None);
    journal.snapshot(&vec![1; 2 * BYTES as usize]).unwrap();
    assert_eq!(open(&disk).1, [vec![1; 2 * BYTES as usize]]);
    assert!(!journal.snapshot_due(), "a snapshot that fills the file alone is no reason for the next");
}

#[test]
fn a_failed_sync_poisons_the_journal() {
    let disk = SimDisk::new();
    let (mut journal, _) = open(&disk);
    journal.append(b"one").unwrap();
    disk.fail_syncs(1);
    assert!(matches!(journal.append(b"two"), Err(JournalError::Io { .. })));
    assert!(matches!(journal.append(b"three"), Err(JournalError::Poisoned { .. })));
    assert!(matches!(journal.snapshot(b"state"), Err(JournalError::Poisoned { .. })));
    // The pages look clean: what the next process was shown must survive the power cut after it.
    let shown = open(&disk.restart()).1;
    assert_eq!(open(&disk.power_cut(0)).1, shown);
}

#[test]
fn a_bad_entry_is_a_torn_tail_only_if_nothing_good_is_behind_it() {
    // Entries of 24 bytes behind the header block: one, two.
    let journal = || {
        let disk = SimDisk::new();
        let (mut journal, _) = open(&disk);
        journal.append(b"one").unwrap();
        journal.append(b"two").unwrap();
        disk.restart()
    };
    for at in [0, 4, 8, 12, 16, 20] {
        let disk = journal();
        disk.damage(&half("a"), |bytes| bytes[4096 + 24 + at] ^= 1);
        assert_eq!(open(&disk).1, [b"one"], "byte {at} of the last entry: cut");
        let disk = journal();
        disk.damage(&half("a"), |bytes| bytes[4096 + at] ^= 1);
        assert!(matches!(try_open(&disk), Err(JournalError::Damaged { .. })), "byte {at} of the first entry");
    }
    let disk = journal();
    disk.damage(&half("a"), |bytes| bytes[..4096].fill(3));
    assert!(matches!(try_open(&disk), Err(JournalError::Damaged { .. })), "the header");
    let disk = journal();
    disk.damage(&half("a"), |bytes| bytes[20] ^= 1);
    assert_eq!(open(&disk).1, [b"one", b"two"], "one copy of the header");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/journal.seeds"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_journal_is_a_list_that_loses_nothing_it_answered_for_i3_i5(
        steps in prop::collection::vec((0..8_u8, any::<u64>()), 1..40),
    ) {
        let mut disk = SimDisk::new();
        let (mut journal, _) = open(&disk);
        let mut synced: Vec<Vec<u8>> = Vec::new();
        for (step, seed) in steps {
            let mut choices = Choices::new(seed);
            let record = vec![seed as u8; choices.below(3_000) as usize];
            match step {
                0..=3 => {
                    journal.append_all(&[&record, b"and"]).unwrap();
                    synced.extend([record, b"and".to_vec()]);
                }
                4 => {
                    journal.snapshot(&record).unwrap();
                    synced = vec![record];
                }
                _ => {
                    // Something is under way when the disk stops or a sync fails, and the power goes or the
                    // process only.
                    if step == 5 { disk.fail_syncs(1) } else { disk.stop_after(choices.below(6)) }
                    let (appended, snapshot) = if choices.below(2) == 0 {
                        let _ = journal.append_all(&[&record, b"lost"]);
                        ([synced.clone(), vec![record, b"lost".to_vec()]].concat(), false)
                    } else {
                        let _ = journal.snapshot(&record);
                        (vec![record], true)
                    };
                    disk = if step == 7 { disk.restart() } else { disk.power_cut(seed) };
                    let (again, found) = open(&disk);
                    prop_assert!(
                        found == synced || found == appended,
                        "I3, I5: what was answered for is there, whole, and nothing that was never recorded \
                         (snapshot: {snapshot})"
                    );
                    drop(again);
                    // What was found once is there for good.
                    disk = disk.power_cut(!seed);
                    let (again, second) = open(&disk);
                    prop_assert_eq!(&second, &found);
                    (journal, synced) = (again, found);
                }
            }
            prop_assert_eq!(&open_again(&disk), &synced);
        }
    }
}

/// What another look finds, at a copy: opening writes.
fn open_again(disk: &SimDisk) -> Vec<Vec<u8>> {
    open(disk).1
}
