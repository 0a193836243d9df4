//! Compressed bodies, expanded within a bound.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::answer::Refusal;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

/// What expanding may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most bytes that come out.
    pub(super) bytes: usize,
    /// The largest window of a zstd frame.
    pub(super) zstd_window_bytes: u64,
}

/// How much is expanded at a time.
const STEP_BYTES: usize = 64 << 10;

impl Encoding {
    /// What the request's headers say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let (value, further) = (values.next(), values.next());
        let name = value.map_or(Ok(""), |value| value.to_str()).unwrap_or("?").trim();
        match name.to_ascii_lowercase().as_str() {
            _ if further.is_some() => Err(Refusal::Encoding("several".to_owned())),
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Refusal::Encoding(name.to_owned())),
        }
    }

    /// Expands `body` within `limits` and gives its bytes to `each` as they come.
    ///
    /// A compressed body is expanded whole and in one go: the expander's memory is there once, not once
    /// for each request that is still arriving.
    pub(super) fn expand(
        self,
        body: Bytes,
        limits: Limits,
        mut each: impl FnMut(Bytes) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self {
            Self::Identity => each(body),
            Self::Gzip => {
                let invalid = |_| Refusal::Compression("gzip");
                pour(flate2::bufread::MultiGzDecoder::new(&body[..]), limits.bytes, invalid, each)
            }
            Self::Zstd => {
                let limit_log = limits.zstd_window_bytes.max(1).ilog2();
                let decoder = zstd::Decoder::with_buffer(&body[..]).and_then(|mut decoder| {
                    decoder.window_log_max(limit_log)?;
                    Ok(decoder)
                });
                let limit = 1 << limit_log;
                let invalid = |_: io::Error| match zstd_window(&body) {
                    Some(window) if window > limit => Refusal::Window { window, limit },
                    _ => Refusal::Compression("zstd"),
                };
                pour(decoder.map_err(invalid)?, limits.bytes, invalid, each)
            }
        }
    }
}

fn pour(
    mut expanded: impl Read,
    limit: usize,
    invalid: impl Fn(io::Error) -> Refusal,
    mut each: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut left = limit;
    loop {
        let mut step = BytesMut::zeroed(STEP_BYTES);
        let read = expanded.read(&mut step).map_err(&invalid)?;
        if read == 0 {
            return Ok(());
        }
        left = left.checked_sub(read).ok_or(Refusal::BodyTooLarge { limit, expanded: true })?;
        step.truncate(read);
        each(step.freeze())?;
    }
}

/// The window that the first frame of `body` asks for (RFC 8878, 3.1.1.1), if that is one.
fn zstd_window(body: &[u8]) -> Option<u64> {
    let (descriptor, rest) = body.strip_prefix(b"\x28\xb5\x2f\xfd")?.split_first()?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The content is its own window: its size stands behind the id of a dictionary.
    let id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size_bytes = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let mut size = [0; 8];
    size[..size_bytes].copy_from_slice(rest.get(id_bytes..id_bytes + size_bytes)?);
    // Two bytes count from 256 on.
    Some(u64::from_le_bytes(size) + if size_bytes == 2 { 256 } else { 0 })
}
