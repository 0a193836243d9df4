//! The header block of segments and journals, and what all files have in common. The layout is in the crate's header.

use crate::disk::{self, DiskFile};
use std::io;

/// The newest format version of every kind of file.
pub(crate) const VERSION: u32 = 1;
/// The block in front of a segment's frames and a journal's entries.
pub(crate) const HEADER_BLOCK_BYTES: u64 = 4096;
/// What stands in front of a frame's payload.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"SLGSEGMT";
pub(crate) const JOURNAL_MAGIC: [u8; 8] = *b"SLGJOURN";

/// The header is there twice, in different sectors.
const COPIES_AT: [usize; 2] = [0, 2048];
const COPY_BYTES: usize = 64;
const CRC_AT: usize = 12;

/// What the header block of a segment or journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Random, and the salt of every checksum in the file.
    pub(crate) id: u64,
    /// A segment's first position, a journal's generation.
    pub(crate) number: u64,
}

/// What a header block turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Valid(FileHeader),
    /// Written by a later version.
    Newer(u32),
    /// Nothing was ever written there.
    Zero,
    /// Neither copy is good.
    Bad,
}

// === impl FileHeader ===

impl FileHeader {
    /// A header with a new random id.
    pub(crate) fn random(number: u64) -> io::Result<Self> {
        Ok(Self { id: u64::from_le_bytes(random_bytes()?), number })
    }

    /// What checksums of this file start from.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.id.to_le_bytes())
    }

    pub(crate) fn write(&self, file: &dyn DiskFile, magic: [u8; 8]) -> io::Result<()> {
        let mut block = [0; HEADER_BLOCK_BYTES as usize];
        for at in COPIES_AT {
            let copy = &mut block[at..at + COPY_BYTES];
            copy[..8].copy_from_slice(&magic);
            copy[8..12].copy_from_slice(&VERSION.to_le_bytes());
            copy[16..24].copy_from_slice(&self.id.to_le_bytes());
            copy[24..32].copy_from_slice(&self.number.to_le_bytes());
            let crc = checksum_around(0, copy, CRC_AT);
            copy[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        }
        disk::write_piece(file, &block, 0)
    }

    /// Reads the header block. Of two good copies the one with the higher number counts: the other one is of an
    /// earlier use of the file, and the block was torn between the two.
    pub(crate) fn read(file: &dyn DiskFile, magic: [u8; 8]) -> io::Result<Block> {
        let mut block = [0; HEADER_BLOCK_BYTES as usize];
        disk::read_full(file, &mut block, 0)?;
        let mut found: Option<Self> = None;
        for copy in COPIES_AT.map(|at| &block[at..at + COPY_BYTES]) {
            if copy[..8] != magic || u32_at(copy, CRC_AT) != checksum_around(0, copy, CRC_AT) {
                continue;
            }
            let version = u32_at(copy, 8);
            if version > VERSION {
                return Ok(Block::Newer(version));
            }
            let header = Self { id: u64_at(copy, 16), number: u64_at(copy, 24) };
            if found.is_none_or(|other| other.number < header.number) {
                found = Some(header);
            }
        }
        Ok(match found {
            Some(header) => Block::Valid(header),
            None if block.iter().all(|&byte| byte == 0) => Block::Zero,
            None => Block::Bad,
        })
    }
}

/// The checksum of `bytes` without the four of the checksum itself.
pub(crate) fn checksum_around(seed: u32, bytes: &[u8], crc_at: usize) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &bytes[..crc_at]), &bytes[crc_at + 4..])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were taken"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
}

pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Frames and entries start at multiples of eight.
pub(crate) fn align(bytes: u64) -> u64 {
    bytes.next_multiple_of(8)
}
