//! Streaming decompression with bounded memory: bytes go in as they come, and decoded pieces
//! come out, none of them large, however much a few bytes expand to.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

use super::FetchError;

/// Size of a decoded piece, about.
const PIECE: usize = 128 << 10;

/// Deflate expands by 1032 at most, so this much input makes at most 4 MiB of output.
const GZIP_STEP: usize = 4 << 10;

/// What the library says of a frame that was compressed with a larger window than it was allowed.
const ZSTD_WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

/// One object's decoder.
pub(super) struct Decoder {
    input: Bytes,
    kind: Kind,
}

enum Kind {
    Plain,
    Gzip(Gunzip),
    Zstd(ZstdState),
}

struct Gunzip {
    decoder: Box<MultiGzDecoder<Vec<u8>>>,
    /// Whether any byte has come. None at all is no event, and no stream that was cut short.
    begun: bool,
}

struct ZstdState {
    decoder: zstd::stream::raw::Decoder<'static>,
    /// Bytes that it may remember.
    max_window: u64,
    /// Whether a frame has begun and not ended.
    inside: bool,
    /// Whether the last call filled its output, so that more may wait inside.
    full: bool,
}

impl Decoder {
    /// The decoder of a codec as the agent or a `Content-Encoding` names it. A decoder keeps as many decoded bytes in
    /// memory as the compressor's window was large; what needs more than `max_window` bytes is refused. gzip needs 32 KiB.
    pub(super) fn new(codec: &str, max_window: u64) -> Result<Self, FetchError> {
        let kind = match codec {
            "" | "none" | "identity" => Kind::Plain,
            "gzip" | "x-gzip" => {
                Kind::Gzip(Gunzip { decoder: Box::new(MultiGzDecoder::new(Vec::new())), begun: false })
            }
            "zstd" => {
                let broken = |source| FetchError::Decode { codec: "zstd", source };
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(broken)?;
                decoder.set_parameter(DParameter::WindowLogMax(max_window.ilog2())).map_err(broken)?;
                Kind::Zstd(ZstdState { decoder, max_window, inside: false, full: false })
            }
            other => return Err(FetchError::Codec(other.to_owned())),
        };
        Ok(Self { input: Bytes::new(), kind })
    }

    /// Takes the next bytes as stored. Call it only after [`piece`](Self::piece) gave `None`.
    pub(super) fn feed(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "feeding a decoder that is not empty");
        self.input = input;
    }

    /// The next decoded piece, never empty, or `None` when it needs more input.
    pub(super) fn piece(&mut self) -> Result<Option<Bytes>, FetchError> {
        let piece = match &mut self.kind {
            Kind::Plain => std::mem::take(&mut self.input),
            Kind::Gzip(state) => {
                state.piece(&mut self.input).map_err(|source| FetchError::Decode { codec: "gzip", source })?
            }
            Kind::Zstd(state) => state.piece(&mut self.input).map_err(|source| {
                if source.to_string().contains(ZSTD_WINDOW_TOO_LARGE) {
                    return FetchError::Window { codec: "zstd", limit: state.max_window };
                }
                FetchError::Decode { codec: "zstd", source }
            })?,
        };
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// The last piece, which may be empty; an error if the compressed data ends too early.
    pub(super) fn finish(&mut self) -> Result<Bytes, FetchError> {
        match &mut self.kind {
            Kind::Gzip(Gunzip { decoder, begun: true }) => {
                decoder.try_finish().map_err(|source| FetchError::Decode { codec: "gzip", source })?;
                Ok(Bytes::from(std::mem::take(decoder.get_mut())))
            }
            Kind::Zstd(state) if state.inside => {
                let source = io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is cut short");
                Err(FetchError::Decode { codec: "zstd", source })
            }
            Kind::Plain | Kind::Gzip(_) | Kind::Zstd(_) => Ok(Bytes::new()),
        }
    }
}

impl Gunzip {
    fn piece(&mut self, input: &mut Bytes) -> io::Result<Bytes> {
        while !input.is_empty() && self.decoder.get_ref().len() < PIECE {
            let step = input.split_to(input.len().min(GZIP_STEP));
            self.begun = true;
            self.decoder.write_all(&step)?;
        }
        Ok(Bytes::from(std::mem::take(self.decoder.get_mut())))
    }
}

impl ZstdState {
    fn piece(&mut self, input: &mut Bytes) -> io::Result<Bytes> {
        let mut output = Vec::with_capacity(PIECE);
        while self.full || !input.is_empty() {
            let mut source = InBuffer::around(input);
            let mut target = OutBuffer::around(&mut output);
            let hint = self.decoder.run(&mut source, &mut target)?;
            let (read, wrote) = (source.pos(), target.pos());
            self.inside = hint != 0;
            self.full = wrote == PIECE && self.inside;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(codec: &str, stored: &[u8], step: usize) -> Result<Vec<u8>, FetchError> {
        let mut decoder = Decoder::new(codec, 8 << 20)?;
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
            assert_eq!(decode("gzip", &[gzip(&first), gzip(&second)].concat(), step).unwrap(), whole);
            assert_eq!(decode("zstd", &[zstd(&first), zstd(&second)].concat(), step).unwrap(), whole);
            assert_eq!(decode("none", &whole, step).unwrap(), whole);
        }
    }

    #[test]
    fn compressed_data_that_ends_too_early_is_an_error() {
        let text = b"some line that is here\n".repeat(1_000);
        for (codec, stored) in [("gzip", gzip(&text)), ("zstd", zstd(&text))] {
            for cut in [1, 4, 9, stored.len() / 2] {
                let error = decode(codec, &stored[..stored.len() - cut], 64).expect_err(codec);
                assert!(matches!(error, FetchError::Decode { .. }), "{error}");
            }
        }
    }

    #[test]
    fn no_bytes_at_all_decode_to_none_in_every_codec() {
        for codec in ["none", "gzip", "x-gzip", "zstd"] {
            assert_eq!(decode(codec, b"", 1).unwrap(), b"", "{codec}");
        }
    }

    #[test]
    fn a_bomb_comes_out_in_bounded_pieces() {
        let zeros = vec![0; 64 << 20];
        assert_eq!(decode("gzip", &gzip(&zeros), usize::MAX >> 1).unwrap().len(), zeros.len());
        assert_eq!(decode("zstd", &zstd(&zeros), usize::MAX >> 1).unwrap().len(), zeros.len());
    }

    /// Text behind a window of `2^log` bytes, without its length: what a compressor of unbounded input makes.
    fn windowed(log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(&b"a line\n".repeat(1000)).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_needs_a_larger_window_than_allowed_is_refused_and_says_so() {
        for step in [1, 1000] {
            assert_eq!(decode("zstd", &windowed(23), step).unwrap().len(), 7000);
            let error = decode("zstd", &windowed(24), step).unwrap_err();
            assert!(matches!(error, FetchError::Window { codec: "zstd", limit: 8_388_608 }), "{error}");
        }
    }

    #[test]
    fn an_unknown_codec_is_named() {
        let error = Decoder::new("br", 8 << 20).err().expect("brotli is not decoded");
        assert_eq!(error.to_string(), "the object is encoded as `br`, which this server does not decode");
    }
}
