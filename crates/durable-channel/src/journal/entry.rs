//! Entries of a journal: what one append wrote, whole or absent.

use std::io;

use crate::disk::{self, DiskFile};
use crate::format::{HEADER_BLOCK_BYTES, align, u32_at};

const ENTRY_HEADER_BYTES: usize = 16;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Snapshot = 1,
    Records = 2,
}

/// What a journal's file holds.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) starts_with_snapshot: bool,
    /// Where the first entry ends.
    pub(super) snapshot_end: u64,
    /// Where the next entry goes.
    pub(super) end: u64,
    pub(super) last_at: u64,
    pub(super) last_entry: Vec<u8>,
    /// A bad entry is followed by a good one, so it is not a torn tail.
    pub(super) good_after_bad: bool,
    /// What is not zero behind the last good entry.
    pub(super) torn_bytes: u64,
}

/// Makes `buffer` the entry of `records` that goes to `offset`.
pub(super) fn encode(buffer: &mut Vec<u8>, kind: Kind, records: &[&[u8]], offset: u64, seed: u32) {
    buffer.clear();
    buffer.resize(ENTRY_HEADER_BYTES, 0);
    for record in records {
        let length = u32::try_from(record.len()).expect("a record of a journal is far below 4 GiB");
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.extend_from_slice(record);
    }
    let length = u32::try_from(buffer.len()).expect("an entry of a journal is far below 4 GiB");
    buffer[..4].copy_from_slice(&length.to_le_bytes());
    buffer[8..12].copy_from_slice(&(records.len() as u32).to_le_bytes());
    buffer[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    let crc = checksum(buffer, offset, seed);
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
    buffer.resize(align(buffer.len() as u64) as usize, 0);
}

/// Reads the entries of a file up to its torn tail, if it has one.
pub(super) fn read(file: &dyn DiskFile, bytes: u64, seed: u32) -> io::Result<Entries> {
    let mut file_bytes = vec![0; bytes.saturating_sub(HEADER_BLOCK_BYTES) as usize];
    let held = disk::read_full(file, &mut file_bytes, HEADER_BLOCK_BYTES)?;
    let entries = &file_bytes[..held];
    let mut contents = Entries::default();
    let mut at = 0;
    while let Some((entry, kind)) = parse(entries, at, seed) {
        if at == 0 {
            contents.starts_with_snapshot = kind == Kind::Snapshot as u32;
        }
        collect(entry, &mut contents.records);
        contents.last_at = HEADER_BLOCK_BYTES + at as u64;
        contents.last_entry = entry.to_vec();
        at += align(entry.len() as u64) as usize;
        if contents.snapshot_end == 0 && contents.starts_with_snapshot {
            contents.snapshot_end = HEADER_BLOCK_BYTES + at as u64;
        }
    }
    contents.end = HEADER_BLOCK_BYTES + at as u64;
    contents.snapshot_end = contents.snapshot_end.max(HEADER_BLOCK_BYTES);
    let torn = entries[at.min(held)..].iter().rposition(|&byte| byte != 0);
    contents.torn_bytes = torn.map_or(0, |last| last as u64 + 1);
    contents.good_after_bad = (at..held).step_by(8).any(|at| parse(entries, at, seed).is_some());
    Ok(contents)
}

/// The entry at `at` without its padding, and its kind.
fn parse(entries: &[u8], at: usize, seed: u32) -> Option<(&[u8], u32)> {
    let rest = entries.get(at..)?;
    let length = u32_at(rest.get(..ENTRY_HEADER_BYTES)?, 0) as usize;
    let entry = rest.get(..length).filter(|entry| entry.len() >= ENTRY_HEADER_BYTES)?;
    let good = u32_at(entry, 4) == checksum(entry, HEADER_BLOCK_BYTES + at as u64, seed);
    good.then(|| (entry, u32_at(entry, 12)))
}

fn collect(entry: &[u8], records: &mut Vec<Vec<u8>>) {
    let mut rest = &entry[ENTRY_HEADER_BYTES..];
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (record, tail) = tail.split_at(u32::from_le_bytes(*length) as usize);
        records.push(record.to_vec());
        rest = tail;
    }
}

/// Salted with the file's id and the entry's place, so that no older bytes are ever taken for an entry.
fn checksum(entry: &[u8], offset: u64, seed: u32) -> u32 {
    let crc = crc32c::crc32c_append(seed, &offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &entry[..4]);
    crc32c::crc32c_append(crc, &entry[8..])
}
