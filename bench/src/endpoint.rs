//! A counting S3 endpoint: it accepts puts and multipart uploads, keeps the bytes in memory and looks at them only
//! after the clock has stopped. No disk, no MD5, no signatures: it is to cost as little as possible, since it shares
//! the cores with what is measured.
//!
//! `GET /_bytes` answers how many bytes have arrived; `GET /_check?N` checks ids 0..N, answers in JSON, and forgets
//! everything.

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

struct Object {
    /// Without the query: the parts of an upload are pieces of one key.
    key: String,
    encoding: Encoding,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    Gzip,
    Zstd,
}

/// Serves until it is killed.
pub(crate) fn run(ready_file: &Path) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("binding the endpoint")?;
    announce(ready_file, listener.local_addr()?)?;
    let store = Arc::new(Mutex::new(Store::default()));
    for stream in listener.incoming() {
        let (stream, store) = (stream?, Arc::clone(&store));
        std::thread::spawn(move || serve(stream, &store));
    }
    Ok(())
}

fn serve(stream: TcpStream, store: &Mutex<Store>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    while let Some(head) = Head::read(&mut reader)? {
        if head.expects_continue {
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::with_capacity(head.length);
        (&mut reader).take(head.length as u64).read_to_end(&mut body)?;
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
        ("PUT", key, _) => {
            store.puts += 1;
            store.bytes += body.len() as u64;
            let encoding = Encoding::of(key, head.encoding.as_deref());
            store.objects.push(Object { key: key.to_owned(), encoding, bytes: body });
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
    let mut seen = Seen::new(events);
    let mut keys = Vec::new();
    for object in &store.objects {
        let plain = object.decompressed().unwrap_or_default();
        // The claim under the control prefix is an object too, but holds no event.
        if memchr::memmem::find(&plain, event::MARK).is_some() {
            keys.push(&object.key);
            seen.scan(&plain);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    serde_json::json!({
        "objects": keys.len(), "puts": store.puts, "bytes": store.bytes,
        "missing": seen.missing(), "doubled": seen.doubled(), "unknown": seen.unknown,
    })
}

// === impl Object ===

impl Object {
    fn decompressed(&self) -> std::io::Result<std::borrow::Cow<'_, [u8]>> {
        let mut plain = Vec::new();
        match self.encoding {
            Encoding::Plain => return Ok(self.bytes.as_slice().into()),
            Encoding::Gzip => {
                flate2::read::MultiGzDecoder::new(self.bytes.as_slice()).read_to_end(&mut plain)?;
            }
            Encoding::Zstd => zstd::stream::copy_decode(self.bytes.as_slice(), &mut plain)?,
        }
        Ok(plain.into())
    }
}

impl Encoding {
    fn of(key: &str, header: Option<&str>) -> Self {
        match header {
            Some("gzip") => Self::Gzip,
            Some("zstd") => Self::Zstd,
            _ => match key.rsplit_once('.') {
                Some((_, "gz")) => Self::Gzip,
                Some((_, "zst")) => Self::Zstd,
                _ => Self::Plain,
            },
        }
    }
}

// === Head ===

struct Head {
    method: String,
    target: String,
    length: usize,
    encoding: Option<String>,
    expects_continue: bool,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut head = Self { method, target, length: 0, encoding: None, expects_continue: false };
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(head));
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().unwrap_or(0),
                "content-encoding" => head.encoding = Some(value.trim().to_ascii_lowercase()),
                "expect" => head.expects_continue = true,
                _ => {}
            }
        }
    }
}
