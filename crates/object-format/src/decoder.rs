//! Streaming decompression with bounded memory: bytes go in as they come, and decoded pieces come out, none of them
//! large, however much a few bytes expand to.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

use crate::Coding;
use crate::zstd_frame::{HEADER_BYTES, window_bytes};

/// Size of a decoded piece, about.
const PIECE: usize = 128 << 10;

/// Deflate expands by 1032 at most, so this much input makes at most 4 MiB of output.
const GZIP_STEP: usize = 4 << 10;

/// The most that a zstd window may have unless somebody says otherwise, in bytes: what RFC 8878 asks every decoder to
/// take.
pub const DEFAULT_MAX_ZSTD_WINDOW: u64 = 8 << 20;

/// Undoes the compression of one object, request or file: any number of gzip members or zstd frames in a row.
///
/// It holds the bytes that it was fed last, what the codec needs (gzip 32 KiB, zstd its window), and one piece.
pub struct Decoder {
    input: Bytes,
    kind: Kind,
}

/// Why bytes cannot be decompressed. The same bytes never can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A zstd frame wants more memory than it may.
    #[error("a zstd frame needs a window of {needs} bytes, and the limit is {limit}")]
    Window {
        /// The window that the frame names, in bytes.
        needs: u64,
        /// The most that a window may have, in bytes.
        limit: u64,
    },
    /// It is not what its coding makes, or ends too early.
    #[error("decoding {coding}: {source}")]
    Broken {
        /// The coding.
        coding: Coding,
        /// What is wrong.
        source: io::Error,
    },
}

enum Kind {
    Plain,
    Gzip { decoder: Box<MultiGzDecoder<Vec<u8>>>, begun: bool },
    Zstd(Zstd),
}

struct Zstd {
    decoder: zstd::stream::raw::Decoder<'static>,
    window_log: u32,
    /// The beginning of the frame that has begun and not ended.
    head: Vec<u8>,
    /// Whether a frame has begun and not ended.
    inside: bool,
    /// Whether the last call filled its output, so that more may wait inside.
    full: bool,
}

impl Decoder {
    /// A decoder of `coding`. Zstd frames with a window of more than `max_zstd_window` bytes are refused; of a limit that
    /// is no power of two the next smaller one counts, from 1 KiB to 2 GiB.
    pub fn new(coding: Coding, max_zstd_window: u64) -> Result<Self, DecodeError> {
        let kind = match coding {
            Coding::None => Kind::Plain,
            Coding::Gzip => Kind::Gzip { decoder: Box::new(MultiGzDecoder::new(Vec::new())), begun: false },
            Coding::Zstd => Kind::Zstd(Zstd::new(max_zstd_window).map_err(broken(coding))?),
        };
        Ok(Self { input: Bytes::new(), kind })
    }

    /// Takes the next bytes as stored. Call it only after [`piece`](Self::piece) gave `None`.
    pub fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "feeding a decoder that is not empty");
        self.input = input;
    }

    /// The next decoded piece, never empty and of a few MiB at most, or `None` when it needs more input.
    ///
    /// Without compression it is the input itself.
    pub fn piece(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let piece = match &mut self.kind {
            Kind::Plain => std::mem::take(&mut self.input),
            Kind::Gzip { decoder, begun } => {
                *begun |= !self.input.is_empty();
                gunzip(decoder, &mut self.input).map_err(broken(Coding::Gzip))?
            }
            Kind::Zstd(zstd) => zstd.piece(&mut self.input)?,
        };
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The last piece, which may be empty; an error if the compressed data ends too early. No bytes at all are whole.
    pub fn finish(&mut self) -> Result<Bytes, DecodeError> {
        match &mut self.kind {
            Kind::Gzip { decoder, begun: true } => {
                decoder.try_finish().map_err(broken(Coding::Gzip))?;
                Ok(Bytes::from(std::mem::take(decoder.get_mut())))
            }
            Kind::Zstd(zstd) if zstd.inside => {
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is cut short");
                Err(broken(Coding::Zstd)(source))
            }
            Kind::Plain | Kind::Gzip { begun: false, .. } | Kind::Zstd(_) => Ok(Bytes::new()),
        }
    }
}

fn broken(coding: Coding) -> impl FnOnce(io::Error) -> DecodeError {
    move |source| DecodeError::Broken { coding, source }
}

fn gunzip(decoder: &mut MultiGzDecoder<Vec<u8>>, input: &mut Bytes) -> io::Result<Bytes> {
    while !input.is_empty() && decoder.get_ref().len() < PIECE {
        let step = input.split_to(input.len().min(GZIP_STEP));
        decoder.write_all(&step)?;
    }
    Ok(Bytes::from(std::mem::take(decoder.get_mut())))
}

impl Zstd {
    fn new(max_window: u64) -> io::Result<Self> {
        let window_log = max_window.clamp(1 << 10, 1 << 31).ilog2();
        let mut decoder = zstd::stream::raw::Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log))?;
        Ok(Self { decoder, window_log, head: Vec::new(), inside: false, full: false })
    }

    fn piece(&mut self, input: &mut Bytes) -> Result<Bytes, DecodeError> {
        let mut output = Vec::with_capacity(PIECE);
        while self.full || !input.is_empty() {
            let mut source = InBuffer::around(input);
            let mut target = OutBuffer::around(&mut output);
            let hint = match self.decoder.run(&mut source, &mut target) {
                Ok(hint) => hint,
                Err(error) => return Err(self.refused(error, input)),
            };
            let (read, wrote) = (source.pos(), target.pos());
            self.inside = hint != 0;
            self.full = wrote == PIECE && self.inside;
            self.note(&input[..read]);
            input.advance(read);
            if wrote > 0 {
                break;
            }
            if read == 0 && !self.full {
                break;
            }
        }
        Ok(Bytes::from(output))
    }

    /// Remembers how the frame begins: the library says of a window only that it is too large.
    fn note(&mut self, read: &[u8]) {
        if self.inside {
            let room = HEADER_BYTES - self.head.len();
            self.head.extend_from_slice(&read[..read.len().min(room)]);
        } else {
            self.head.clear();
        }
    }

    fn refused(&mut self, source: io::Error, input: &[u8]) -> DecodeError {
        self.inside = true;
        self.note(input);
        let limit = 1 << self.window_log;
        match window_bytes(&self.head) {
            Some(needs) if needs > limit => DecodeError::Window { needs, limit },
            _ => DecodeError::Broken { coding: Coding::Zstd, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_within(
        coding: Coding,
        max_window: u64,
        stored: &[u8],
        step: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(coding, max_window)?;
        let mut decoded = Vec::new();
        for input in stored.chunks(step) {
            decoder.feed(Bytes::copy_from_slice(input));
            while let Some(piece) = decoder.piece()? {
                assert!(piece.len() <= 5 << 20, "a piece of {} bytes", piece.len());
                decoded.extend_from_slice(&piece);
            }
        }
        decoded.extend_from_slice(&decoder.finish()?);
        Ok(decoded)
    }

    fn decode(coding: Coding, stored: &[u8], step: usize) -> Result<Vec<u8>, DecodeError> {
        decode_within(coding, DEFAULT_MAX_ZSTD_WINDOW, stored, step)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).unwrap()
    }

    #[test]
    fn several_members_or_frames_decode_to_their_concatenation_however_the_bytes_arrive() {
        let first = b"one line\n".repeat(50_000);
        let second = b"another\n".repeat(3);
        let whole = [first.clone(), second.clone()].concat();
        for step in [1, 7, 4096, usize::MAX >> 1] {
            assert_eq!(decode(Coding::Gzip, &[gzip(&first), gzip(&second)].concat(), step).unwrap(), whole);
            assert_eq!(decode(Coding::Zstd, &[zstd(&first), zstd(&second)].concat(), step).unwrap(), whole);
            assert_eq!(decode(Coding::None, &whole, step).unwrap(), whole);
        }
    }

    #[test]
    fn no_bytes_at_all_are_whole_and_an_end_that_comes_too_early_is_an_error() {
        let text = b"some line that is here\n".repeat(1_000);
        for (coding, stored) in [(Coding::Gzip, gzip(&text)), (Coding::Zstd, zstd(&text))] {
            assert_eq!(decode(coding, b"", 1).unwrap(), b"", "{coding}");
            for left in [1, 4, 9, stored.len() / 2, stored.len() - 9, stored.len() - 4, stored.len() - 1] {
                let error = decode(coding, &stored[..left], 64).expect_err(coding.name());
                assert!(matches!(error, DecodeError::Broken { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_bomb_comes_out_in_bounded_pieces() {
        let zeros = vec![0; 64 << 20];
        assert_eq!(decode(Coding::Gzip, &gzip(&zeros), usize::MAX >> 1).unwrap().len(), zeros.len());
        assert_eq!(decode(Coding::Zstd, &zstd(&zeros), usize::MAX >> 1).unwrap().len(), zeros.len());
    }

    #[test]
    fn a_window_beyond_the_limit_is_refused_with_both_figures() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(21).unwrap();
        encoder.write_all(b"text").unwrap();
        let large = encoder.finish().unwrap();
        let stored = [zstd(b"small enough "), large].concat();
        for step in [1, 3, 4096] {
            assert_eq!(decode_within(Coding::Zstd, 1 << 21, &stored, step).unwrap(), b"small enough text");
            let error = decode_within(Coding::Zstd, (1 << 21) - 1, &stored, step).unwrap_err();
            assert_eq!(
                error.to_string(),
                "a zstd frame needs a window of 2097152 bytes, and the limit is 1048576"
            );
        }
    }

    #[test]
    fn what_was_never_compressed_is_an_error_and_no_panic() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            for stored in
                [&b"plain text"[..], b"\x1f\x8b", b"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff", &[0; 100]]
            {
                for step in [1, 64] {
                    assert!(decode(coding, stored, step).is_err(), "{coding} {stored:?}");
                }
            }
        }
    }
}
