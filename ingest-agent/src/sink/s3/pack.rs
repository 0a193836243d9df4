//! From encoded events to the extents of an object: collected per partition, compressed in independent frames.
//!
//! A partition collects raw bytes in memory. At [`FRAME_BYTES`] they become a frame and an extent of the staging log.
//! When all partitions together hold too much memory the largest are *spilled*: written as they are, and read back
//! when their frame is due, so that a thousand small partitions compress as well as one large.

use std::io;

use super::cut::Extent;
use super::staging::Staging;
use crate::sink::codec::{Codec, Compressor};

/// Raw bytes that make a frame.
pub(crate) const FRAME_BYTES: u64 = 256 << 10;

/// Makes frames and keeps them in the staging log.
pub(crate) struct Packer {
    /// Where the frames go.
    pub staging: Staging,
    codec: Codec,
    compressor: Compressor,
    frame: Vec<u8>,
    /// Raw bytes in memory of all packs.
    memory: u64,
}

/// What one open cut has collected.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    raw: Vec<u8>,
    spilled: Vec<Extent>,
    spilled_bytes: u64,
    extents: Vec<Extent>,
    length: u64,
    crc32c: u32,
}

/// A whole object in the staging log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Its pieces in order.
    pub extents: Vec<Extent>,
    /// Its bytes.
    pub length: u64,
    /// Their CRC32C.
    pub crc32c: u32,
}

impl Packer {
    /// Packs with `codec`, done by `compressor`, into `staging`.
    pub(crate) fn new(staging: Staging, codec: Codec, compressor: Compressor) -> Self {
        Self { staging, codec, compressor, frame: Vec::new(), memory: 0 }
    }

    /// Raw bytes in memory of all packs.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory
    }

    /// Adds an encoded event.
    pub(crate) fn add(&mut self, pack: &mut Pack, encoded: [&[u8]; 2]) -> io::Result<()> {
        for piece in encoded {
            pack.raw.extend_from_slice(piece);
            self.memory += piece.len() as u64;
        }
        if pack.raw_bytes() >= FRAME_BYTES { self.make_frame(pack) } else { Ok(()) }
    }

    /// Moves a pack's raw bytes out of memory.
    pub(crate) fn spill(&mut self, pack: &mut Pack) -> io::Result<()> {
        if pack.raw.is_empty() {
            return Ok(());
        }
        if self.codec == Codec::None {
            return self.make_frame(pack);
        }
        pack.spilled.push(self.staging.append(&pack.raw)?);
        pack.spilled_bytes += pack.raw.len() as u64;
        self.forget(pack);
        Ok(())
    }

    /// Finishes a pack: its object is whole in the staging log, not synced yet.
    pub(crate) fn finish(&mut self, mut pack: Pack) -> io::Result<Packed> {
        self.make_frame(&mut pack)?;
        Ok(Packed { extents: pack.extents, length: pack.length, crc32c: pack.crc32c })
    }

    /// Adds `raw` as a frame of its own, made by `compressor`.
    pub(crate) fn add_frame(
        &mut self,
        pack: &mut Pack,
        raw: &[u8],
        compressor: &mut Compressor,
    ) -> io::Result<()> {
        self.frame.clear();
        compressor.compress_frame(raw, &mut self.frame)?;
        self.append_frame(pack)
    }

    /// Gives up what a pack has collected.
    pub(crate) fn discard(&mut self, mut pack: Pack) {
        self.staging.free(pack.extents.iter().chain(&pack.spilled));
        self.forget(&mut pack);
    }

    fn make_frame(&mut self, pack: &mut Pack) -> io::Result<()> {
        if pack.raw_bytes() == 0 {
            return Ok(());
        }
        let gathered;
        let raw = if pack.spilled.is_empty() {
            &pack.raw
        } else {
            gathered = self.read_spilled(pack)?;
            &gathered
        };
        self.frame.clear();
        self.compressor.compress_frame(raw, &mut self.frame)?;
        self.append_frame(pack)?;
        self.staging.free(&pack.spilled);
        pack.spilled.clear();
        pack.spilled_bytes = 0;
        self.forget(pack);
        Ok(())
    }

    fn append_frame(&mut self, pack: &mut Pack) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        pack.extents.push(self.staging.append(&self.frame)?);
        pack.length += self.frame.len() as u64;
        pack.crc32c = crc32c::crc32c_append(pack.crc32c, &self.frame);
        Ok(())
    }

    /// A pack's raw bytes, those that were spilled in front.
    fn read_spilled(&self, pack: &Pack) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; pack.raw_bytes() as usize];
        let mut rest = &mut raw[..];
        for extent in &pack.spilled {
            let bytes = self.staging.open_extent(extent).ok_or(io::ErrorKind::NotFound)?;
            let (piece, after) = rest.split_at_mut(extent.length as usize);
            bytes.read_into(piece, extent.offset)?;
            rest = after;
        }
        rest.copy_from_slice(&pack.raw);
        Ok(raw)
    }

    fn forget(&mut self, pack: &mut Pack) {
        self.memory -= pack.raw.len() as u64;
        // A small buffer is given back too: thousands of them would be the memory that this bounds.
        pack.raw = Vec::new();
    }
}

impl Pack {
    /// Raw bytes that are no frame yet.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.spilled_bytes + self.raw.len() as u64
    }

    /// Raw bytes in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Bytes of the object as far as they are made.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether it has bytes in this file of the staging log.
    pub(crate) fn is_in(&self, file: u64) -> bool {
        self.extents.iter().chain(&self.spilled).any(|extent| extent.file == file)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Arc;

    use durable_channel::disk::{Disk, OsDisk};

    use super::*;

    fn bytes_of(packer: &Packer, packed: &Packed) -> Vec<u8> {
        let read = |extent: &Extent| {
            packer.staging.open_extent(extent).unwrap().read(extent.offset, extent.length as usize).unwrap()
        };
        packed.extents.iter().flat_map(read).collect()
    }

    fn event(partition: usize, index: usize) -> Vec<u8> {
        format!("partition {partition} event {index} {}\n", "x".repeat(index % 700)).into_bytes()
    }

    #[test]
    fn every_partition_gets_its_bytes_in_order_however_often_it_is_spilled() {
        for (codec, spill_every) in
            [(Codec::None, 7), (Codec::Gzip(1), 7), (Codec::Zstd(1), 7), (Codec::Gzip(1), usize::MAX)]
        {
            let dir = tempfile::tempdir().unwrap();
            let disk: Arc<dyn Disk> = Arc::new(OsDisk);
            let staging = Staging::open(&disk, Some(dir.path()), 1 << 20, []).unwrap();
            let mut packer = Packer::new(staging, codec, codec.compressor().unwrap());
            let mut packs: Vec<Pack> = (0..5).map(|_| Pack::default()).collect();
            let mut expected = vec![Vec::new(); 5];
            for index in 0..6000 {
                // Partition 0 has most of the events, partition 4 hardly any.
                let partition = (0..4).find(|_| index % 3 != 0).unwrap_or(index / 3 % 5);
                let encoded = event(partition, index);
                packer.add(&mut packs[partition], [&encoded, b""]).unwrap();
                expected[partition].extend(encoded);
                if index % spill_every == 0 {
                    packer.spill(&mut packs[index % 5]).unwrap();
                }
                assert_eq!(packer.memory_bytes(), packs.iter().map(Pack::memory_bytes).sum::<u64>());
            }
            for (pack, expected) in packs.into_iter().zip(expected) {
                let packed = packer.finish(pack).unwrap();
                let bytes = bytes_of(&packer, &packed);
                assert_eq!((packed.length, packed.crc32c), (bytes.len() as u64, crc32c::crc32c(&bytes)));
                let mut raw = Vec::new();
                match codec {
                    Codec::None => raw = bytes,
                    Codec::Gzip(_) => {
                        flate2::read::MultiGzDecoder::new(&bytes[..])
                            .read_to_end(&mut raw)
                            .map(drop)
                            .unwrap();
                    }
                    Codec::Zstd(_) => zstd::stream::copy_decode(&bytes[..], &mut raw).unwrap(),
                }
                assert!(raw == expected, "{codec}");
                packer.staging.free(&packed.extents);
            }
            assert_eq!((packer.memory_bytes(), packer.staging.used_bytes()), (0, 0), "{codec}");
        }
    }
}
