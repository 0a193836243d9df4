//! From encoded events to the extents of an object: collected per partition, compressed in independent frames.
//!
//! A partition collects raw bytes in memory. At [`FRAME_BYTES`] they become a frame, made here or by one of the
//! [`Makers`], and an extent of the staging log. When all partitions together hold too much memory the largest are
//! *spilled*: written as they are, and read back when their frame is due, so that a thousand small partitions
//! compress as well as one large.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};

use super::cut::Extent;
use super::makers::{Makers, Making};
use super::staging::Staging;
use object_format::{Codec, Compressor};

/// Raw bytes that make a frame.
pub(crate) const FRAME_BYTES: u64 = 256 << 10;

/// Makes frames and keeps them in the staging log.
pub(crate) struct Packer {
    /// Where the frames go.
    pub staging: Staging,
    codec: Codec,
    compressor: Compressor,
    /// Who makes frames beside this thread.
    makers: Option<Makers>,
    /// The frames that they have not brought yet, the oldest first, and where their packs look for them.
    making: VecDeque<(Making, Arc<OnceLock<Frame>>)>,
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
    /// Where frames will be that others make, the oldest first; they follow what is in `extents`.
    making: VecDeque<Arc<OnceLock<Frame>>>,
    extents: Vec<Extent>,
    length: u64,
    crc32c: u32,
}

/// A frame in the staging log.
#[derive(Debug)]
struct Frame {
    extent: Extent,
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
    /// Packs with `codec`, done by `compressor` and `makers`, into `staging`.
    pub(crate) fn new(
        staging: Staging,
        codec: Codec,
        compressor: Compressor,
        makers: Option<Makers>,
    ) -> Self {
        Self { staging, codec, compressor, makers, making: VecDeque::new(), frame: Vec::new(), memory: 0 }
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
        match &self.makers {
            _ if pack.raw_bytes() < FRAME_BYTES => Ok(()),
            None => self.make_frame(pack),
            Some(_) => self.share_frame(pack),
        }
    }

    /// Moves raw bytes out of memory, pack by pack, until all packs together have at most `bytes` there. Many small
    /// packs are one write.
    pub(crate) fn spill<'a>(
        &mut self,
        packs: impl IntoIterator<Item = &'a mut Pack>,
        bytes: u64,
    ) -> io::Result<()> {
        let mut packs = packs.into_iter().filter(|pack| !pack.raw.is_empty()).peekable();
        while self.memory > bytes && packs.peek().is_some() {
            self.frame.clear();
            let mut written = Vec::new();
            while (self.frame.len() as u64) < FRAME_BYTES.min(self.memory - bytes)
                && let Some(pack) = packs.next()
            {
                self.frame.extend_from_slice(&pack.raw);
                written.push(pack);
            }
            let mut all = self.staging.append(&self.frame)?;
            for pack in written {
                let extent = all.take_front(pack.memory_bytes());
                let raw = self.take_memory(pack);
                if self.codec == Codec::None {
                    // Without compression raw bytes are a frame.
                    pack.add_extent(extent, crc32c::crc32c_append(pack.crc32c, &raw));
                } else {
                    pack.spilled.push(extent);
                    pack.spilled_bytes += extent.length;
                }
            }
        }
        Ok(())
    }

    /// Finishes a pack: its object is whole in the staging log, not synced yet.
    pub(crate) fn finish(&mut self, mut pack: Pack) -> io::Result<Packed> {
        while !pack.settle() {
            self.collect(self.making.len().saturating_sub(1))?;
        }
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
    pub(crate) fn discard(&mut self, pack: Pack) {
        self.memory -= pack.memory_bytes();
        debug_assert!(pack.making.is_empty(), "only frames that were added whole are given up");
        let Pack { extents, spilled, .. } = pack;
        self.staging.free(extents.iter().chain(&spilled));
    }

    fn make_frame(&mut self, pack: &mut Pack) -> io::Result<()> {
        if pack.raw_bytes() == 0 {
            return Ok(());
        }
        let raw = self.take_raw(pack)?;
        self.frame.clear();
        self.compressor.compress_frame(&raw, &mut self.frame)?;
        self.append_frame(pack)
    }

    /// Gives a frame to one of the makers; while they are all at work, makes it here.
    fn share_frame(&mut self, pack: &mut Pack) -> io::Result<()> {
        let raw = self.take_raw(pack)?;
        let place = Arc::default();
        pack.making.push_back(Arc::clone(&place));
        let (given, most) = match &self.makers {
            Some(makers) => (makers.make(raw), makers.most),
            None => (Err(raw), 0),
        };
        match given {
            Ok(making) => self.making.push_back((making, place)),
            Err(raw) => {
                self.frame.clear();
                self.compressor.compress_frame(&raw, &mut self.frame)?;
                put_frame(&mut self.staging, &self.frame, &place)?;
            }
        }
        self.collect(most)?;
        pack.settle();
        Ok(())
    }

    /// Writes frames that others have made to the staging log; waits for them while more than `most` are on their way.
    fn collect(&mut self, most: usize) -> io::Result<()> {
        while let Some((making, _)) = self.making.front_mut()
            && (making.is_done() || self.making.len() > most)
            && let Some((making, place)) = self.making.pop_front()
        {
            put_frame(&mut self.staging, &making.frame()?, &place)?;
        }
        Ok(())
    }

    fn append_frame(&mut self, pack: &mut Pack) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let extent = self.staging.append(&self.frame)?;
        pack.add_extent(extent, crc32c::crc32c_append(pack.crc32c, &self.frame));
        Ok(())
    }

    /// Takes a pack's raw bytes, those that were spilled in front.
    fn take_raw(&mut self, pack: &mut Pack) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; pack.spilled_bytes as usize];
        let mut rest = &mut raw[..];
        for extent in &pack.spilled {
            let bytes = self.staging.open_extent(extent).ok_or(io::ErrorKind::NotFound)?;
            let (piece, after) = rest.split_at_mut(extent.length as usize);
            bytes.read_into(piece, extent.offset)?;
            rest = after;
        }
        self.staging.free(&pack.spilled);
        pack.spilled.clear();
        pack.spilled_bytes = 0;
        let memory = self.take_memory(pack);
        if raw.is_empty() {
            return Ok(memory);
        }
        raw.extend_from_slice(&memory);
        Ok(raw)
    }

    /// Takes what of it is in memory. A small buffer is taken too: thousands of them would be the memory that this bounds.
    fn take_memory(&mut self, pack: &mut Pack) -> Vec<u8> {
        self.memory -= pack.raw.len() as u64;
        std::mem::take(&mut pack.raw)
    }
}

/// Puts a frame into the staging log, and where its pack looks for it.
fn put_frame(staging: &mut Staging, frame: &[u8], place: &OnceLock<Frame>) -> io::Result<()> {
    let extent = staging.append(frame)?;
    place.set(Frame { extent, crc32c: crc32c::crc32c(frame) }).expect("each place is for one frame");
    Ok(())
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
        let made = self.making.iter().filter_map(|place| Some(&place.get()?.extent));
        self.extents.iter().chain(&self.spilled).chain(made).any(|extent| extent.file == file)
    }

    /// Takes over the frames that were brought; whether these are all.
    fn settle(&mut self) -> bool {
        while let Some(Frame { extent, crc32c }) = self.making.front().and_then(|place| place.get()) {
            let crc32c = crc32c::crc32c_combine(self.crc32c, *crc32c, extent.length as usize);
            let extent = *extent;
            self.making.pop_front();
            self.add_extent(extent, crc32c);
        }
        self.making.is_empty()
    }

    /// Adds a frame: where it is, and the CRC32C of the object up to its end.
    fn add_extent(&mut self, extent: Extent, crc32c: u32) {
        self.crc32c = crc32c;
        self.length += extent.length;
        self.extents.push(extent);
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
        let cases = [
            (Codec::None, 7, 0),
            (Codec::Gzip(1), 7, 0),
            (Codec::Zstd(1), 7, 0),
            (Codec::Gzip(1), usize::MAX, 0),
            (Codec::Zstd(1), 97, 2),
            // Too slow for what it is given: the packer makes frames in between.
            (Codec::Gzip(9), usize::MAX, 1),
        ];
        for (codec, spill_every, threads) in cases {
            let dir = tempfile::tempdir().unwrap();
            let disk: Arc<dyn Disk> = Arc::new(OsDisk);
            let staging = Staging::open(&disk, Some(dir.path()), 1 << 20, []).unwrap();
            let makers = Makers::start(threads, || codec.compressor()).unwrap();
            let mut packer = Packer::new(staging, codec, codec.compressor().unwrap(), makers);
            let mut packs: Vec<Pack> = (0..5).map(|_| Pack::default()).collect();
            let mut expected = vec![Vec::new(); 5];
            for index in 0..6000 {
                // Partition 0 has most of the events, partition 4 hardly any.
                let partition = (0..4).find(|_| index % 3 != 0).unwrap_or(index / 3 % 5);
                let encoded = event(partition, index);
                packer.add(&mut packs[partition], [&encoded, b""]).unwrap();
                expected[partition].extend(encoded);
                if index % spill_every == 0 {
                    packer.spill(&mut packs[index % 5..], index as u64 % 3 * 700).unwrap();
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
