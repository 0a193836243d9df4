//! The same table for journals.

use durable_channel::disk::{Disk, Mode};
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, Journal, JournalError, OpenError, Start};

use super::{BLOCK, KINDS, Kind, contents, hit};
use crate::support::{self, dir, inside};

/// A journal with a snapshot and three records behind it in `b`, and what was before it in `a`.
fn journal(salt: u8) -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(&dir()).unwrap();
    let (mut journal, _) = Journal::open_on(&disk, &dir(), "cuts", 0).unwrap();
    journal.append(&[salt; 11]).unwrap();
    journal.snapshot(&[salt ^ 1; 21]).unwrap();
    for n in 2..5 {
        journal.append(&vec![salt ^ n; 30 + usize::from(n)]).unwrap();
    }
    disk.restart()
}

#[test]
fn damage_to_each_field_of_a_journal_has_its_exact_verdict() {
    let record = |n: u8| if n == 1 { vec![0x41; 21] } else { vec![0x40 ^ n; 30 + usize::from(n)] };
    let all: Vec<_> = (1..5).map(record).collect();
    // Where the entries start in the file: 16 bytes of header, 4 of length, the record.
    let at: Vec<usize> = all
        .iter()
        .scan(BLOCK, |at, record| Some(std::mem::replace(at, *at + (20 + record.len()).next_multiple_of(8))))
        .collect();
    let open = |disk: &SimDisk| Journal::open_on(disk, &dir(), "cuts", 0);
    let check = |disk: &SimDisk, records: Option<usize>, row: &str| {
        let looked = Journal::look_on(disk, &dir(), "cuts");
        match (open(disk), records) {
            (Ok((_, found)), Some(records)) => {
                assert_eq!(found, all[..records], "{row}");
                assert_eq!(looked.unwrap().records, found, "{row}");
            }
            (Err(JournalError::Damaged { what, .. }), None) => {
                assert!(what.contains("`channel retire`"), "{row}: {what}");
                assert!(matches!(looked, Err(JournalError::Damaged { .. })), "{row}");
            }
            (opened, _) => panic!("{row}: {:?}", opened.map(|(_, records)| records)),
        }
    };
    let (a, b) = (inside("cuts.a"), inside("cuts.b"));
    let older = journal(0x20);
    for (entry, start) in at.iter().enumerate() {
        let end = start + 20 + all[entry].len();
        let fields = [
            ("length", 0..4),
            ("checksum", 4..8),
            ("count", 8..12),
            ("kind", 12..16),
            ("record length", 16..20),
            ("record", 20..end - start),
            ("whole entry", 0..end - start),
        ];
        for (name, field) in fields {
            for kind in KINDS {
                let disk = journal(0x40);
                let beside = if entry == 0 { at[1] } else { at[entry - 1] };
                let here = start + field.start..start + field.end;
                let changed = hit(&disk, &older, &b, here, beside + field.start, kind);
                let records = match (changed, kind) {
                    (false, _) => Some(4),
                    // The file was allocated longer than that.
                    (true, Kind::Cut) => None,
                    // Only the last entry can be torn.
                    (true, _) if entry == 3 => Some(3),
                    (true, _) => None,
                };
                check(&disk, records, &format!("entry {entry}, {name}, {kind:?}"));
            }
        }
    }
    for (name, field) in
        [("magic", 0..8), ("version", 8..12), ("checksum", 12..16), ("id", 16..24), ("generation", 24..32)]
    {
        for kind in [Kind::Flipped, Kind::Zeroed, Kind::Recycled] {
            for path in [&a, &b] {
                for copy in [0, 2048] {
                    let disk = journal(0x40);
                    hit(&disk, &older, path, field.start + copy..field.end + copy, 0, kind);
                    check(&disk, Some(4), &format!("{name}, {kind:?}, one copy"));
                }
                let disk = journal(0x40);
                let changed = hit(&disk, &older, path, field.clone(), 0, kind);
                hit(&disk, &older, path, field.start + 2048..field.end + 2048, 0, kind);
                // The other file's header too: it might hold the latest records.
                check(
                    &disk,
                    (!changed).then_some(4),
                    &format!("{name}, {kind:?}, both copies of {}", path.display()),
                );
            }
        }
    }
    for path in [&a, &b] {
        let disk = journal(0x40);
        Disk::remove(&disk, path).unwrap();
        if path == &b {
            check(&disk, None, "one file gone");
        }
    }
    for after in 0..20 {
        let disk = journal(0x40);
        disk.fail_read_after(after);
        match open(&disk) {
            Ok((_, records)) => assert_eq!(records, all),
            Err(error) => assert!(matches!(error, JournalError::Io { .. }), "read {after}: {error}"),
        }
        check(&disk.restart(), Some(4), "after a failed read");
    }
}

#[test]
fn a_journal_of_a_newer_version_is_refused_with_both_versions() {
    let disk = journal(0x40);
    for copy in [0, 2048] {
        disk.damage(&inside("cuts.b"), |bytes| {
            bytes[copy + 8] = 9;
            let crc =
                crc32c::crc32c_append(crc32c::crc32c(&bytes[copy..copy + 12]), &bytes[copy + 16..copy + 64]);
            bytes[copy + 12..copy + 16].copy_from_slice(&crc.to_le_bytes());
        });
    }
    let error = Journal::open_on(&disk, &dir(), "cuts", 0).unwrap_err();
    assert!(error.to_string().contains("has format version 9, this program reads up to 1"), "{error}");
    let (channel, _) = support::open(&disk);
    drop(channel.reader("r", Start::Oldest).unwrap());
    drop(channel);
    for name in ["a", "b"] {
        let to = inside(format!("readers/r/cuts.{name}"));
        Disk::open(&disk, &to, Mode::Create).unwrap();
        let from = contents(&disk, &inside(format!("cuts.{name}")));
        disk.damage(&to, |bytes| *bytes = from);
    }
    let error = DurableChannel::inspect_on(&disk, &dir()).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 9, known: 1, .. }), "{error}");
}
