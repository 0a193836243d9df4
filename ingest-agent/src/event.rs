//! The one event type and its encoding in a channel.
//!
//! An event is a body (bytes, kept as they came), headers (UTF-8 names and values) and, where the source knows
//! it, its own time. When nothing is known about the time, the arrival time that the channel stamped on the
//! whole batch stands for it ([`EventRef::time_ms`]).
//!
//! A batch's payload is its events one after the other. All integers are little-endian:
//!
//! ```text
//! tag         u8    high four bits: version, 1; bit 0: a timestamp follows; bit 1: headers follow
//! [timestamp  i64   milliseconds since 1970-01-01T00:00:00Z]
//! [headers    u32   bytes of the block that follows; then, until it ends:
//!                   u32 length, name; u32 length, value]
//! body        u32   length; then the body
//! ```
//!
//! Behind the last event there may be annotations of the batch as a whole ([`KeyStamp`], [`Known`]), which are no
//! events.
//!
//! Without headers and timestamp that is five bytes beside the body. A source encodes straight into the batch's
//! buffer, which is what the channel writes: the body is copied once between the socket's buffer and the
//! file. Decoding borrows. The frame around the payload has a checksum, so a [`DecodeError`] means a bug or a
//! newer version, not a bad disk.

mod annotation;
mod draft;
mod key;
mod known;

pub use draft::Draft;
pub use key::KeyStamp;
pub use object_format::Known;

use annotation::Annotations;

/// One event, borrowed from a batch's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The event's own time in milliseconds since the epoch, if its source knew one.
    pub timestamp_ms: Option<i64>,
    /// Its headers in the order in which they came.
    pub headers: HeadersRef<'a>,
    /// Its body.
    pub body: &'a [u8],
    /// What is known of the body without a look at it; changes nothing about what the event is.
    pub known: Known,
}

/// An event's headers, still encoded.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadersRef<'a> {
    encoded: &'a [u8],
}

/// The events of one payload, in order; ends after the first error.
#[derive(Debug, Clone)]
pub struct Events<'a> {
    payload: &'a [u8],
    at: usize,
    index: u32,
    count: u32,
    known: Known,
}

/// A payload that is not what this version writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("decoding event {index} of a batch at byte {offset}: {problem}")]
pub struct DecodeError {
    /// Which event of the batch, counting from 0.
    pub index: u32,
    /// Where in the payload that event begins.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The header whose value, milliseconds since the epoch, is the event's own time, as in Flume.
pub const TIMESTAMP_HEADER: &str = "timestamp";

/// What [`encode`] adds to the length of a body that has neither headers nor a timestamp.
pub const PLAIN_OVERHEAD_BYTES: usize = 5;

const VERSION: u8 = 1 << 4;
const VERSION_MASK: u8 = 0xf0;
const HAS_TIMESTAMP: u8 = 1;
const HAS_HEADERS: u8 = 1 << 1;

/// Appends one event to `buf`.
///
/// # Panics
/// If the body or the headers take 4 GiB or more; every source's own limit is far below.
pub fn encode<'h>(
    buf: &mut Vec<u8>,
    timestamp_ms: Option<i64>,
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: &[u8],
) {
    let tag_at = buf.len();
    buf.push(VERSION);
    if let Some(timestamp_ms) = timestamp_ms {
        buf[tag_at] |= HAS_TIMESTAMP;
        buf.extend_from_slice(&timestamp_ms.to_le_bytes());
    }
    let mut headers = headers.into_iter().peekable();
    if headers.peek().is_some() {
        buf[tag_at] |= HAS_HEADERS;
        let length_at = buf.len();
        buf.extend_from_slice(&[0; 4]);
        for (name, value) in headers {
            put(buf, name.as_bytes());
            put(buf, value.as_bytes());
        }
        let length = length_of(buf.len() - length_at - 4);
        buf[length_at..length_at + 4].copy_from_slice(&length);
    }
    put(buf, body);
}

/// Appends one event that is nothing but a body: the hot path of line and raw sources.
#[inline]
pub fn encode_body(buf: &mut Vec<u8>, body: &[u8]) {
    buf.push(VERSION);
    put(buf, body);
}

/// The `count` events of `payload`. What is known of their bodies is not looked for.
pub fn decode_all(payload: &[u8], count: u32) -> Events<'_> {
    Events { payload, at: 0, index: 0, count, known: Known::NOTHING }
}

/// As [`decode_all`], with what whoever took the bodies in has noted of them.
pub fn decode_known(payload: &[u8], count: u32) -> Events<'_> {
    Events { known: known::of(payload, count), ..decode_all(payload, count) }
}

/// The event's own time as its headers tell it: the last [`TIMESTAMP_HEADER`] that is a whole number.
pub fn timestamp_of<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Option<i64> {
    let stamps = headers.into_iter().filter(|(name, _)| *name == TIMESTAMP_HEADER);
    stamps.filter_map(|(_, value)| value.trim().parse().ok()).last()
}

fn put(buf: &mut Vec<u8>, bytes: &[u8]) {
    buf.extend_from_slice(&length_of(bytes.len()));
    buf.extend_from_slice(bytes);
}

fn length_of(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("every source limits events far below 4 GiB").to_le_bytes()
}

// === impl EventRef ===

impl<'a> EventRef<'a> {
    /// The event's own time, else when its batch arrived; milliseconds since the epoch.
    pub fn time_ms(&self, arrival_ms: i64) -> i64 {
        self.timestamp_ms.unwrap_or(arrival_ms)
    }

    /// The event of a batch that came at `arrival_ms`, as a writer of objects takes it.
    #[inline]
    pub fn arrived(&self, arrival_ms: i64) -> object_format::Event<'a, HeadersRef<'a>> {
        let Self { timestamp_ms, headers, body, known } = *self;
        object_format::Event { timestamp_ms, arrival_ms, headers, body, known }
    }
}

// === impl HeadersRef ===

impl<'a> HeadersRef<'a> {
    /// Whether there is no header at all.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Names and values in the order in which they came.
    pub fn iter(self) -> Headers<'a> {
        Headers(Cursor { bytes: self.encoded, at: 0 })
    }

    /// The value of the header `name`, which is compared exactly.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find_map(|(found, value)| (found == name).then_some(value))
    }
}

/// Names and values of an event's headers.
pub struct Headers<'a>(Cursor<'a>);

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        // The decoder has walked the block once, so every pair is there and is text.
        Some((self.0.text().ok()?, self.0.text().ok()?))
    }
}

impl<'a> IntoIterator for HeadersRef<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

impl std::fmt::Debug for HeadersRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

// === impl Events ===

impl<'a> Iterator for Events<'a> {
    type Item = Result<EventRef<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.at;
        let decoded = if self.index == self.count {
            if Annotations::behind(self.payload, offset).are_all() {
                return None;
            }
            Err("there is more than the batch's count of events")
        } else {
            let mut cursor = Cursor { bytes: self.payload, at: offset };
            let event = cursor.event(self.known);
            self.at = cursor.at;
            event
        };
        let index = self.index;
        match decoded {
            Ok(event) => {
                self.index += 1;
                Some(Ok(event))
            }
            Err(problem) => {
                *self = decode_all(&[], 0);
                Some(Err(DecodeError { index, offset, problem }))
            }
        }
    }
}

// === Cursor ===

/// Reads the parts of the encoding one after the other.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn event(&mut self, known: Known) -> Result<EventRef<'a>, &'static str> {
        let tag = self.tag()?;
        let timestamp_ms = if tag & HAS_TIMESTAMP == 0 {
            None
        } else {
            Some(i64::from_le_bytes(self.take(8)?.try_into().expect("took eight bytes")))
        };
        let headers = if tag & HAS_HEADERS == 0 { HeadersRef::default() } else { self.headers()? };
        let body = self.counted()?;
        Ok(EventRef { timestamp_ms, headers, body, known })
    }

    /// Passes over an event.
    fn skip(&mut self) -> Result<(), &'static str> {
        let tag = self.tag()?;
        self.take(if tag & HAS_TIMESTAMP == 0 { 0 } else { 8 })?;
        if tag & HAS_HEADERS != 0 {
            self.counted()?;
        }
        self.counted().map(drop)
    }

    fn tag(&mut self) -> Result<u8, &'static str> {
        let tag = self.take(1)?[0];
        if tag & VERSION_MASK != VERSION || tag & !(VERSION_MASK | HAS_TIMESTAMP | HAS_HEADERS) != 0 {
            return Err("its version or flags are unknown to this program");
        }
        Ok(tag)
    }

    fn headers(&mut self) -> Result<HeadersRef<'a>, &'static str> {
        let encoded = self.counted()?;
        let mut pairs = Cursor { bytes: encoded, at: 0 };
        while pairs.at < encoded.len() {
            pairs.text()?;
            pairs.text()?;
        }
        Ok(HeadersRef { encoded })
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        str::from_utf8(self.counted()?).map_err(|_| "a header is not UTF-8")
    }

    fn counted(&mut self) -> Result<&'a [u8], &'static str> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().expect("took four bytes"));
        self.take(length as usize)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it ends after the payload does")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
