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

/// zstd frames that need more memory than this to be expanded (8 MiB) are refused; its levels up to 19 need less.
const ZSTD_WINDOW_LOG: u32 = 23;

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

    /// Expands `body` and gives its bytes to `each` as they come, `limit` of them at most.
    ///
    /// A compressed body is expanded whole and in one go: the expander's memory is there once, not once
    /// for each request that is still arriving.
    pub(super) fn expand(
        self,
        body: Bytes,
        limit: usize,
        mut each: impl FnMut(Bytes) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self {
            Self::Identity => each(body),
            Self::Gzip => pour(flate2::bufread::MultiGzDecoder::new(&body[..]), "gzip", limit, each),
            Self::Zstd => {
                let decoder = zstd::Decoder::with_buffer(&body[..]).and_then(|mut decoder| {
                    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                    Ok(decoder)
                });
                pour(decoder.map_err(|_: io::Error| Refusal::Compression("zstd"))?, "zstd", limit, each)
            }
        }
    }
}

fn pour(
    mut expanded: impl Read,
    name: &'static str,
    limit: usize,
    mut each: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut left = limit;
    loop {
        let mut step = BytesMut::zeroed(STEP_BYTES);
        let read = expanded.read(&mut step).map_err(|_| Refusal::Compression(name))?;
        if read == 0 {
            return Ok(());
        }
        left = left.checked_sub(read).ok_or(Refusal::BodyTooLarge { limit, expanded: true })?;
        step.truncate(read);
        each(step.freeze())?;
    }
}
