//! Compression of objects in independent frames.
//!
//! A partition's bytes are compressed a frame at a time, each with nothing remembered from the one before: zstd
//! frames and gzip members may be concatenated, and every ordinary reader takes the sequence for one stream. So
//! one context serves any number of partitions, and frames lie in the staging log in any order.

use std::fmt;
use std::io::{self, Cursor, Write};
use std::str::FromStr;

use flate2::write::GzEncoder;

/// A compression, without its level: what readers must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// None at all.
    #[default]
    None,
    /// gzip: any number of members.
    Gzip,
    /// Zstandard: any number of frames.
    Zstd,
}

/// A compression with its level: what writers must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip, with a level from 1 to 9.
    Gzip(u32),
    /// Zstandard, with a level from -7 to 19; beyond that a context takes hundreds of megabytes.
    Zstd(i32),
}

/// A name that no coding has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no codec is called {0:?}: known are none, gzip and zstd")]
pub struct UnknownCoding(pub String);

/// The working state of a codec, reused from frame to frame.
pub struct Compressor {
    context: Context,
}

enum Context {
    None,
    Gzip(flate2::Compression),
    Zstd(zstd::bulk::Compressor<'static>),
}

/// A codec's name or level that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No codec has this name.
    #[error(transparent)]
    Unknown(#[from] UnknownCoding),
    /// The codec has no such level.
    #[error("{coding} has no level {level}: it takes {levels}")]
    Level {
        /// The codec.
        coding: Coding,
        /// The level asked for.
        level: i32,
        /// What it could have been.
        levels: &'static str,
    },
}

// === impl Coding ===

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// The name in configuration, cuts and object metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The value of an object's `Content-Encoding`, for stores and readers that are to undo it unasked.
    pub fn content_encoding(self) -> Option<&'static str> {
        (self != Self::None).then_some(self.name())
    }

    /// What the extension of an object's key ends in, without a dot.
    pub fn ext(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("gz"),
            Self::Zstd => Some("zst"),
        }
    }

    /// It at its default level.
    pub fn codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip(6),
            Self::Zstd => Codec::Zstd(3),
        }
    }

    /// The coding that one element of a `Content-Encoding` names, in any case; `None` if it is none of ours.
    pub fn of_content_encoding(element: &str) -> Option<Self> {
        let names = [("identity", Self::None), ("", Self::None), ("x-gzip", Self::Gzip)];
        let names = names.into_iter().chain(Self::ALL.map(|coding| (coding.name(), coding)));
        let mut named = names.filter(|(name, _)| name.eq_ignore_ascii_case(element.trim()));
        named.next().map(|(_, coding)| coding)
    }

    /// The coding that a file's extension names, in any case, without its dot.
    pub fn of_extension(extension: &str) -> Option<Self> {
        let names = [("gz", Self::Gzip), ("gzip", Self::Gzip), ("zst", Self::Zstd), ("zstd", Self::Zstd)];
        let mut named = names.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case(extension));
        named.next().map(|(_, coding)| coding)
    }
}

impl FromStr for Coding {
    type Err = UnknownCoding;

    fn from_str(name: &str) -> Result<Self, UnknownCoding> {
        let known = Self::ALL.into_iter().find(|coding| coding.name() == name);
        known.ok_or_else(|| UnknownCoding(name.to_owned()))
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Codec ===

impl Codec {
    /// `coding` at `level`, or at its default level (gzip 6, zstd 3).
    pub fn new(coding: Coding, level: Option<i32>) -> Result<Self, CodecError> {
        let bad = |levels| CodecError::Level { coding, level: level.unwrap_or(0), levels };
        match (coding, level) {
            (_, None) => Ok(coding.codec()),
            (Coding::None, Some(_)) => Err(bad("none")),
            (Coding::Gzip, Some(level @ 1..=9)) => Ok(Self::Gzip(level.unsigned_abs())),
            (Coding::Gzip, Some(_)) => Err(bad("1 to 9")),
            (Coding::Zstd, Some(level @ -7..=19)) => Ok(Self::Zstd(level)),
            (Coding::Zstd, Some(_)) => Err(bad("-7 to 19")),
        }
    }

    /// Without its level.
    pub fn coding(self) -> Coding {
        match self {
            Self::None => Coding::None,
            Self::Gzip(_) => Coding::Gzip,
            Self::Zstd(_) => Coding::Zstd,
        }
    }

    /// The level, if it has levels.
    pub fn level(self) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Gzip(level) => Some(level.cast_signed()),
            Self::Zstd(level) => Some(level),
        }
    }

    /// A new working state; zstd's takes a few megabytes at its higher levels.
    pub fn compressor(self) -> io::Result<Compressor> {
        let context = match self {
            Self::None => Context::None,
            Self::Gzip(level) => Context::Gzip(flate2::Compression::new(level)),
            Self::Zstd(level) => {
                let mut context = zstd::bulk::Compressor::new(level)?;
                context.include_checksum(true)?;
                Context::Zstd(context)
            }
        };
        Ok(Compressor { context })
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.coding().fmt(f)
    }
}

// === impl Compressor ===

impl Compressor {
    /// Appends `raw` to `out` as one whole frame (gzip: member); nothing is held back.
    ///
    /// Without compression it is a copy. Empty input makes an empty frame. An error comes from the library alone
    /// (out of memory); `out` is then as long as before.
    pub fn compress_frame(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        let done = match &mut self.context {
            Context::None => {
                out.extend_from_slice(raw);
                Ok(())
            }
            Context::Gzip(level) => gzip_member(*level, raw, out),
            Context::Zstd(context) => zstd_frame(context, raw, out),
        };
        if done.is_err() {
            out.truncate(start);
        }
        done
    }
}

fn gzip_member(level: flate2::Compression, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut member = GzEncoder::new(out, level);
    member.write_all(raw)?;
    member.finish()?;
    Ok(())
}

fn zstd_frame(context: &mut zstd::bulk::Compressor<'_>, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
    let start = out.len() as u64;
    let mut end = Cursor::new(std::mem::take(out));
    end.set_position(start);
    let done = context.compress_to_buffer(raw, &mut end);
    *out = end.into_inner();
    done.map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn compressed(codec: Codec, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut compressor = codec.compressor().unwrap();
        let mut out = Vec::new();
        for frame in frames {
            compressor.compress_frame(frame, &mut out).unwrap();
        }
        out
    }

    fn decompressed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        match codec {
            Codec::None => raw.extend_from_slice(bytes),
            Codec::Gzip(_) => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut raw).unwrap()),
            Codec::Zstd(_) => drop(zstd::Decoder::new(bytes).unwrap().read_to_end(&mut raw).unwrap()),
        }
        raw
    }

    proptest! {
        #[test]
        fn frames_in_a_row_are_one_stream_to_any_reader(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
        ) {
            for codec in [Codec::None, Codec::Gzip(1), Codec::Gzip(9), Codec::Zstd(-7), Codec::Zstd(1), Codec::Zstd(19)] {
                let out = compressed(codec, &frames);
                if !out.is_empty() {
                    prop_assert_eq!(decompressed(codec, &out), frames.concat());
                }
            }
        }
    }

    #[test]
    fn frames_may_change_places_because_each_stands_alone() {
        let (one, two) = (b"one ".repeat(1000), b"two ".repeat(1000));
        for codec in [Codec::Gzip(6), Codec::Zstd(3)] {
            let mut compressor = codec.compressor().unwrap();
            let (mut first, mut second) = (Vec::new(), Vec::new());
            compressor.compress_frame(&one, &mut first).unwrap();
            compressor.compress_frame(&two, &mut second).unwrap();
            assert!(first.len() < one.len() / 10);
            assert_eq!(decompressed(codec, &[second, first].concat()), [&two[..], &one].concat());
        }
    }

    #[test]
    fn a_coding_is_known_by_its_names() {
        for coding in Coding::ALL {
            assert_eq!(coding.name().parse(), Ok(coding));
            assert_eq!(Coding::of_content_encoding(coding.name()), Some(coding));
            assert_eq!(coding.ext().and_then(Coding::of_extension).unwrap_or_default(), coding);
        }
        for (element, coding) in
            [(" GZIP ", Coding::Gzip), ("X-Gzip", Coding::Gzip), ("Identity", Coding::None)]
        {
            assert_eq!(Coding::of_content_encoding(element), Some(coding));
        }
        assert_eq!((Coding::of_content_encoding("br"), Coding::of_extension("txt")), (None, None));
    }

    #[test]
    fn a_codec_is_known_by_name_and_level() {
        let cases = [
            ("none", None, Ok(Codec::None)),
            ("gzip", None, Ok(Codec::Gzip(6))),
            ("gzip", Some(9), Ok(Codec::Gzip(9))),
            ("zstd", None, Ok(Codec::Zstd(3))),
            ("zstd", Some(-7), Ok(Codec::Zstd(-7))),
            ("none", Some(1), Err("none has no level 1: it takes none")),
            ("gzip", Some(0), Err("gzip has no level 0: it takes 1 to 9")),
            ("zstd", Some(20), Err("zstd has no level 20: it takes -7 to 19")),
            ("lz4", None, Err("no codec is called \"lz4\": known are none, gzip and zstd")),
        ];
        for (name, level, expected) in cases {
            let coding = name.parse::<Coding>().map_err(CodecError::from);
            let found =
                coding.and_then(|coding| Codec::new(coding, level)).map_err(|error| error.to_string());
            if let (Ok(codec), Some(level)) = (&found, level) {
                assert_eq!((codec.coding().name(), codec.level()), (name, Some(level)));
            }
            assert_eq!(found, expected.map_err(str::to_owned), "{name} {level:?}");
        }
    }
}
