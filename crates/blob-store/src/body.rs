//! Bytes on their way to a store, in slices: a large object is never whole in memory here.

use std::fmt;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};

/// A stream of an object's bytes. An `Err` is its last item.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// What a put or a part sends: a known number of bytes, whole in memory or streamed.
///
/// A stream that ends early, runs over or fails makes the call fail with
/// [`ErrorKind::Body`](crate::ErrorKind::Body), and nothing is stored. Slices of 64 KiB to
/// 1 MiB cost the least per byte.
pub struct Body {
    len: u64,
    bytes: Source,
}

enum Source {
    Whole(Bytes),
    Stream(ByteStream),
}

impl Body {
    /// A body of `len` bytes in all, read from `stream` as the connection takes them.
    pub fn from_stream(len: u64, stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { len, bytes: Source::Stream(Box::pin(stream)) }
    }

    /// A body of several slices, sent one after the other.
    pub fn from_slices(slices: Vec<Bytes>) -> Self {
        let len = slices.iter().map(|slice| slice.len() as u64).sum();
        Self::from_stream(len, stream::iter(slices.into_iter().map(Ok)))
    }

    /// The number of bytes promised.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it promises no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes as a stream that yields exactly [`len`](Self::len) bytes or an error.
    pub fn into_stream(self) -> ByteStream {
        match self.bytes {
            Source::Whole(bytes) => Box::pin(stream::iter((!bytes.is_empty()).then_some(Ok(bytes)))),
            Source::Stream(stream) => Box::pin(exactly(self.len, stream)),
        }
    }

    /// The same bytes, of which the last are handed on only if all of them are those of the CRC32C: what has changed
    /// since that was computed is never whole on its way.
    pub(crate) fn checked(self, crc32c: u32) -> Self {
        let len = self.len;
        let summed = self.into_stream().scan((0, len), move |(sum, left), slice| {
            let slice = slice.and_then(|slice| {
                *sum = crc32c::crc32c_append(*sum, &slice);
                *left -= slice.len() as u64;
                if *left > 0 || *sum == crc32c { Ok(slice) } else { Err(other_bytes(*sum, crc32c)) }
            });
            std::future::ready(Some(slice))
        });
        Self { len, bytes: Source::Stream(Box::pin(summed)) }
    }

    /// All the bytes in memory, for the twin and for signed payloads.
    pub async fn collect(self) -> io::Result<Bytes> {
        match self.bytes {
            Source::Whole(bytes) => Ok(bytes),
            Source::Stream(_) => {
                let buffer = BytesMut::with_capacity(usize::try_from(self.len).unwrap_or(0).min(1 << 20));
                let gather = |mut buffer: BytesMut, slice: Bytes| async move {
                    buffer.extend_from_slice(&slice);
                    Ok(buffer)
                };
                Ok(self.into_stream().try_fold(buffer, gather).await?.freeze())
            }
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { len: bytes.len() as u64, bytes: Source::Whole(bytes) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("len", &self.len).finish_non_exhaustive()
    }
}

/// `inner` as it is, if it has `len` bytes; an error in place of one byte less or more.
///
/// It looks past the last byte before it hands it on: once a connection has taken all the bytes
/// it announced it asks for no more, and an overlong body would be cut and stored.
pub(crate) fn exactly(len: u64, inner: ByteStream) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((inner, len)), move |state| async move {
        let (mut inner, left) = state?;
        let Some(slice) = next_slice(&mut inner).await else {
            let text = format!("{left} of the promised {len} bytes missing");
            return (left > 0).then(|| (Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)), None));
        };
        let overlong =
            || io::Error::new(io::ErrorKind::InvalidData, format!("more than the promised {len} bytes"));
        let checked = match slice {
            Err(error) => Err(error),
            Ok(slice) => match left.checked_sub(slice.len() as u64) {
                None => Err(overlong()),
                Some(0) => match next_slice(&mut inner).await {
                    None => Ok((slice, 0)),
                    Some(Ok(_)) => Err(overlong()),
                    Some(Err(error)) => Err(error),
                },
                Some(left) => Ok((slice, left)),
            },
        };
        match checked {
            Err(error) => Some((Err(error), None)),
            Ok((slice, 0)) => Some((Ok(slice), None)),
            Ok((slice, left)) => Some((Ok(slice), Some((inner, left)))),
        }
    })
}

fn other_bytes(found: u32, expected: u32) -> io::Error {
    let message = format!("their CRC32C is {found:08x} instead of {expected:08x}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The next item that is not an empty slice.
async fn next_slice(stream: &mut ByteStream) -> Option<io::Result<Bytes>> {
    loop {
        match stream.next().await {
            Some(Ok(slice)) if slice.is_empty() => {}
            item => return item,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn collect(len: u64, slices: &[&'static str]) -> io::Result<Bytes> {
        let slices: Vec<_> = slices.iter().map(|slice| Ok(Bytes::from_static(slice.as_bytes()))).collect();
        Body::from_stream(len, stream::iter(slices)).collect().await
    }

    #[tokio::test]
    async fn a_body_is_exactly_as_long_as_promised_or_an_error() {
        assert_eq!(collect(5, &["he", "", "llo", ""]).await.unwrap(), "hello");
        assert_eq!(collect(0, &[]).await.unwrap(), "");
        for (len, slices, kind) in [
            (6, &["he", "llo"][..], io::ErrorKind::UnexpectedEof),
            (4, &["he", "llo"], io::ErrorKind::InvalidData),
            (5, &["he", "llo", "!"], io::ErrorKind::InvalidData),
            (0, &["!"], io::ErrorKind::InvalidData),
        ] {
            assert_eq!(collect(len, slices).await.unwrap_err().kind(), kind, "{len} {slices:?}");
        }
    }

    #[tokio::test]
    async fn bytes_that_are_not_those_of_their_checksum_are_never_handed_on_whole() {
        let crc = crc32c::crc32c(b"hello");
        for (whole, crc32c) in [(false, crc), (false, crc ^ 1), (true, crc), (true, crc ^ 1)] {
            let slices = ["he", "l", "lo"].map(|slice| Bytes::from_static(slice.as_bytes()));
            let body = if whole { Body::from(slices.concat()) } else { Body::from_slices(slices.to_vec()) };
            let body = body.checked(crc32c);
            assert_eq!(body.len(), 5);
            let handed: Vec<_> = body.into_stream().collect().await;
            let bytes: usize = handed.iter().flatten().map(Bytes::len).sum();
            let right = crc32c == crc;
            assert_eq!((bytes == 5, handed.iter().all(Result::is_ok)), (right, right), "{whole}");
        }
        assert_eq!(Body::from(Bytes::new()).checked(0).collect().await.unwrap(), "");
    }

    #[tokio::test]
    async fn no_last_slice_is_handed_on_before_the_end_is_seen() {
        let slices = stream::iter([Ok(Bytes::from_static(b"ab")), Err(io::Error::other("late"))]);
        let mut body = Body::from_stream(2, slices).into_stream();
        assert!(body.next().await.unwrap().is_err());
        assert!(body.next().await.is_none());
    }
}
