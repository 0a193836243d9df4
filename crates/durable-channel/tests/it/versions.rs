//! Files of every released version of the format are opened by today's code.

use std::fs;
use std::path::{Path, PathBuf};

use durable_channel::conformance::append;
use durable_channel::{Channel, DurableChannel, Journal, OpenError, Start};

use crate::fixture;
use crate::support::{Seen, see_all, tiny};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy, since opening writes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_channel_of_format_1_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(), dir.path());
    let found = DurableChannel::inspect(dir.path()).unwrap();
    assert!(found.is_sound(), "{found:?}");
    let expected: Vec<_> = (0..fixture::FRAMES)
        .scan(0, |next, n| {
            let events = fixture::events(n);
            let first = *next;
            *next += events.len() as u64;
            Some(Seen::Frame(first, events.len() as u64, events.concat()))
        })
        .collect();
    let end = (0..fixture::FRAMES).map(|n| fixture::events(n).len() as u64).sum::<u64>();
    for start in 2..4 {
        let (channel, recovery) = DurableChannel::open(dir.path(), &tiny()).unwrap();
        assert_eq!((recovery.next, recovery.damaged, recovery.created), (end, vec![], false));
        assert_eq!(
            (Some((channel.id(), start - 1)), channel.incarnation()),
            (found.identity.map(|(id, _)| (id, start - 1)), start)
        );
        let released: Vec<_> =
            channel.readers().into_iter().map(|reader| (reader.name, reader.released)).collect();
        assert_eq!(released, [("first".to_owned(), 5), ("second".to_owned(), 0)]);
        let mut reader = channel.reader("second", Start::Oldest).unwrap();
        assert_eq!(see_all(&mut reader, 0), expected);
        let (_, records) = Journal::open(&dir.path().join("readers/first"), "cuts", 0).unwrap();
        assert_eq!(records, fixture::RECORDS);
        assert!(matches!(channel.reader("third", Start::Oldest), Err(OpenError::Retired(_))));
    }
    let (channel, _) = DurableChannel::open(dir.path(), &tiny()).unwrap();
    assert_eq!(append(&channel, &[b"next"]).first, end);
}

/// Raises the version of every header and slot in a file, with checksums that are right.
fn raise_version(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for at in [0, 2048, 4096] {
        let end = match bytes.get(at..at + 8) {
            Some(b"SLGSLOTS") => 32 + usize::from(bytes[at + 24]),
            Some(b"SLGSEGMT" | b"SLGJOURN") => 64,
            _ => continue,
        };
        bytes[at + 8] = 2;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 12]), &bytes[at + 16..at + end]);
        bytes[at + 12..at + 16].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_newer_version_of_any_file_is_refused_with_both_versions() {
    let segments = fs::read_dir(fixture().join("segments")).unwrap();
    let names = segments.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = format!("segments/{}", names.filter(|name| name != "reserve").max().unwrap());
    for name in ["identity", "readers/first/progress", "readers/second/progress", last.as_str()] {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixture(), dir.path());
        raise_version(&dir.path().join(name));
        for error in [
            DurableChannel::open(dir.path(), &tiny()).err().unwrap(),
            DurableChannel::inspect(dir.path()).err().unwrap(),
        ] {
            let expected = format!(
                "{} has format version 2, this program reads up to 1",
                dir.path().join(name).display()
            );
            assert_eq!(error.to_string(), expected);
        }
    }
    // An older segment and a journal are not read at open: whoever reads them is told.
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(), dir.path());
    raise_version(&dir.path().join("segments/00000000000000000000.seg"));
    raise_version(&dir.path().join("readers/first/cuts.b"));
    let (channel, _) = DurableChannel::open(dir.path(), &tiny()).unwrap();
    let error = channel.reader("second", Start::Oldest).unwrap().read(0).unwrap_err();
    assert_eq!(error.to_string(), "segment 0 has format version 2, this program reads up to 1");
    let error = Journal::open(&dir.path().join("readers/first"), "cuts", 0).unwrap_err();
    assert!(error.to_string().ends_with("has format version 2, this program reads up to 1"), "{error}");
}
