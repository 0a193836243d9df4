//! A counting S3 endpoint: it accepts puts and multipart uploads, keeps the bytes in memory and looks at them only
//! after the clock has stopped. No disk, no MD5, no signatures: it is to cost as little as possible, since it shares
//! the cores with what is measured.
//!
//! `GET /_bytes` answers how many bytes have arrived; `GET /_check?N` checks ids 0..N, answers in JSON, and forgets
//! everything.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;

use crate::event::{self, Seen};
use crate::process::announce;

#[derive(Default)]
struct Store {
    objects: Vec<Object>,
    bytes: u64,
    puts: u32,
}

pub(crate) struct Object {
    /// Without the query: the parts of an upload are pieces of one key.
    pub(crate) key: String,
    /// Which part of an upload it is; 0 for a whole object.
    pub(crate) part: u32,
    pub(crate) encoding: Encoding,
    /// Whether heads of pieces (`aws-chunked`) stand between the bytes.
    pub(crate) in_pieces: bool,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// Serves until it is killed.
pub(crate) fn run(ready_file: &Path, discard: bool) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("binding the endpoint")?;
    announce(ready_file, listener.local_addr()?)?;
    let store = Arc::new(Mutex::new(Store::default()));
    for stream in listener.incoming() {
        let (stream, store) = (stream?, Arc::clone(&store));
        std::thread::spawn(move || serve(stream, &store, discard));
    }
    Ok(())
}

fn serve(stream: TcpStream, store: &Mutex<Store>, discard: bool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    while let Some(head) = Head::read(&mut reader)? {
        if head.expects_continue {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::new();
        let mut arriving = (&mut reader).take(head.length as u64);
        if discard {
            std::io::copy(&mut arriving, &mut std::io::sink())?;
        } else {
            body.reserve_exact(head.length);
            arriving.read_to_end(&mut body)?;
        }
        let (status, answer) = answer(&head, body, store);
        let mut text =
            format!("HTTP/1.1 {status}\r\nETag: \"0\"\r\nContent-Length: {}\r\n\r\n", answer.len());
        if head.method != "HEAD" {
            text.push_str(&answer);
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn answer(head: &Head, body: Vec<u8>, store: &Mutex<Store>) -> (&'static str, String) {
    let mut store = store.lock().expect("no thread panics while it holds the store");
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    match (head.method.as_str(), path, query) {
        ("PUT", key, query) => {
            store.puts += 1;
            store.bytes += head.event_bytes() as u64;
            let encoding = Encoding::of(key, head.encoding.as_deref());
            let in_pieces = head.decoded_length.is_some();
            let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber="));
            let part = part.and_then(|number| number.parse().ok()).unwrap_or(0);
            store.objects.push(Object { key: key.to_owned(), part, encoding, in_pieces, bytes: body });
            ("200 OK", String::new())
        }
        ("POST", key, "uploads" | "uploads=") => (
            "200 OK",
            format!(
                "<InitiateMultipartUploadResult><Bucket>bench</Bucket><Key>{}</Key>\
                 <UploadId>1</UploadId></InitiateMultipartUploadResult>",
                key.trim_start_matches("/bench/"),
            ),
        ),
        ("POST", _, query) if query.contains("uploadId=") => (
            "200 OK",
            "<CompleteMultipartUploadResult><ETag>\"0\"</ETag></CompleteMultipartUploadResult>".to_owned(),
        ),
        ("GET", "/_bytes", _) => ("200 OK", store.bytes.to_string()),
        ("GET", "/_check", events) => {
            let events = events.parse().unwrap_or(0);
            ("200 OK", check(&std::mem::take(&mut *store), events).to_string())
        }
        _ => ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>".to_owned()),
    }
}

fn check(store: &Store, events: u32) -> serde_json::Value {
    let mut found = Found::new(events);
    let mut pieces: Vec<&Object> = store.objects.iter().collect();
    pieces.sort_by_key(|piece| (&piece.key, piece.part));
    for whole in pieces.chunk_by(|one, next| one.key == next.key && next.part > 0) {
        match whole {
            [object] => found.add(object),
            // An id, or what a compressor made, may lie across parts.
            parts => found.add(&Object {
                key: parts[0].key.clone(),
                part: 0,
                encoding: parts[0].encoding,
                in_pieces: false,
                bytes: parts.iter().flat_map(|part| part.stored().into_owned()).collect(),
            }),
        }
    }
    found.report(Some(store.puts))
}

/// What is in the objects that were looked at so far.
pub(crate) struct Found {
    seen: Seen,
    keys: BTreeSet<String>,
}

impl Found {
    /// Ids below `events` are looked for.
    pub(crate) fn new(events: u32) -> Self {
        Self { seen: Seen::new(events), keys: BTreeSet::new() }
    }

    pub(crate) fn add(&mut self, object: &Object) {
        let plain = object.decompressed().unwrap_or_default();
        // The claim under the control prefix is an object too, but holds no event.
        if memchr::memmem::find(&plain, event::MARK).is_some() {
            self.keys.insert(object.key.clone());
            self.seen.scan(&plain);
        }
    }

    pub(crate) fn report(&self, puts: Option<u32>) -> serde_json::Value {
        serde_json::json!({
            "objects": self.keys.len(), "puts": puts,
            "missing": self.seen.missing(), "doubled": self.seen.doubled(), "unknown": self.seen.unknown,
        })
    }
}

// === impl Object ===

impl Object {
    /// The bytes without the heads of pieces.
    fn stored(&self) -> Cow<'_, [u8]> {
        if self.in_pieces { joined(&self.bytes).into() } else { Cow::from(&self.bytes) }
    }

    pub(crate) fn decompressed(&self) -> std::io::Result<Cow<'_, [u8]>> {
        let bytes = self.stored();
        let mut plain = Vec::new();
        match self.encoding {
            Encoding::Plain => return Ok(bytes),
            Encoding::Gzip => {
                flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut plain)?;
            }
            Encoding::Zstd => zstd::stream::copy_decode(&*bytes, &mut plain)?,
        }
        Ok(plain.into())
    }
}

impl Encoding {
    pub(crate) fn of(key: &str, header: Option<&str>) -> Self {
        match header {
            Some(header) if header.contains("gzip") => Self::Gzip,
            Some(header) if header.contains("zstd") => Self::Zstd,
            _ => match key.rsplit_once('.') {
                Some((_, "gz")) => Self::Gzip,
                Some((_, "zst")) => Self::Zstd,
                _ => Self::Plain,
            },
        }
    }
}

/// The bytes of a body in pieces: each has a line with its length in hexadecimal before it, and a line's end behind it.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    while let Some(end) = memchr::memmem::find(body, b"\r\n") {
        let digits = body[..end].split(|byte| *byte == b';').next().unwrap_or_default();
        let length =
            std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let piece = length.filter(|length| *length > 0).and_then(|length| body[end + 2..].get(..length));
        let Some(piece) = piece else { break };
        out.extend_from_slice(piece);
        body = body[end + 2 + piece.len()..].strip_prefix(b"\r\n").unwrap_or_default();
    }
    out
}

// === Head ===

struct Head {
    method: String,
    target: String,
    length: usize,
    /// Of a body in pieces that each have a head: how long it is without those.
    decoded_length: Option<usize>,
    encoding: Option<String>,
    expects_continue: bool,
}

impl Head {
    /// The length of what is stored.
    fn event_bytes(&self) -> usize {
        self.decoded_length.unwrap_or(self.length)
    }

    fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut head =
            Self { method, target, length: 0, decoded_length: None, encoding: None, expects_continue: false };
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(head));
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().unwrap_or(0),
                "x-amz-decoded-content-length" => head.decoded_length = value.trim().parse().ok(),
                "content-encoding" => head.encoding = Some(value.trim().to_ascii_lowercase()),
                "expect" => head.expects_continue = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_pieces_is_joined_without_their_heads() {
        let body = b"5;chunk-signature=00\r\nhello\r\n2\r\n \r\r\n3\r\nyou\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
        assert_eq!(joined(body), b"hello \ryou");
    }
}
