//! Load in a closed loop: threads that send events as fast as they are answered. Each thread owns a dense range of ids.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::event::{Events, Form, Kinds};
use crate::tls::Client;

/// How events are sent and how they are answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Lines without an answer.
    Lines,
    /// Lines, each answered with `OK`.
    Netcat,
    /// NDJSON requests of so many events, each answered with 200.
    Http(u32),
    /// As `Http`, but said to be `application/json`, for a server that does not know NDJSON by name.
    HttpAsJson(u32),
    /// Requests of so many events in the shape of Flume's `JSONHandler`, each answered with 200.
    Flume(u32),
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    /// The id of the first event.
    pub(crate) first: u32,
    pub(crate) events: u32,
    pub(crate) event_bytes: usize,
    pub(crate) connections: u32,
    pub(crate) kinds: Kinds,
}

/// Where events are sent.
pub(crate) struct Source {
    pub(crate) addr: SocketAddr,
    /// For HTTP over TLS.
    pub(crate) tls: Option<Client>,
}

/// Makes one request after the other in a buffer that is used again.
pub(crate) struct Requests {
    events: Events,
    shape: Shape,
    bytes: Vec<u8>,
}

impl Load {
    /// The ids that each connection sends.
    pub(crate) fn shares(self) -> impl Iterator<Item = Range<u32>> {
        let share = self.events.div_ceil(self.connections);
        let id = move |n: u32| self.first + n.saturating_mul(share).min(self.events);
        (0..self.connections).map(move |n| id(n)..id(n + 1))
    }
}

/// How long a sender waits that was told 503. Senders are asked for longer, but here it is the machine that is busy.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Sends the load; returns when every answer is there.
pub(crate) fn send(load: Load, source: &Source) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = load
            .shares()
            .map(|ids| {
                scope.spawn(move || {
                    let stream = connect(source.addr)?;
                    match load.shape {
                        Shape::Lines => write_lines(&mut &stream, ids, load),
                        Shape::Netcat => netcat(&stream, ids, load),
                        Shape::Http(per_request)
                        | Shape::HttpAsJson(per_request)
                        | Shape::Flume(per_request) => {
                            let requests = Requests::new(load);
                            match &source.tls {
                                Some(tls) => http(tls.over(stream)?, ids, per_request, requests),
                                None => http(stream, ids, per_request, requests),
                            }
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a load thread does not panic"))
    })
}

pub(crate) fn connect(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(addr).with_context(|| format!("connecting to {addr}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn write_lines(out: &mut impl Write, ids: Range<u32>, load: Load) -> anyhow::Result<()> {
    let events = Events::new(load.event_bytes, Form::Line, load.kinds);
    let mut buffer = Vec::with_capacity((64 << 10) + load.event_bytes);
    for id in ids {
        events.push(id, &mut buffer);
        if buffer.len() >= 64 << 10 {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)?;
    Ok(())
}

fn netcat(stream: &TcpStream, ids: Range<u32>, load: Load) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let wanted = ids.len();
        let sender = scope.spawn(move || write_lines(&mut &*stream, ids, load));
        let mut answers = Answers::default();
        while answers.count < wanted {
            answers.read(stream)?;
        }
        sender.join().expect("the sending thread does not panic")
    })
}

fn http(
    stream: impl Read + Write,
    ids: Range<u32>,
    per_request: u32,
    mut requests: Requests,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = ids.start;
    while first < ids.end {
        let end = (first + per_request).min(ids.end);
        let request = requests.make(first..end);
        stream.get_mut().write_all(request)?;
        let (mut status, mut body) = answer(&mut stream)?;
        while status == 503 {
            std::thread::sleep(AGAIN_AFTER);
            stream.get_mut().write_all(request)?;
            (status, body) = answer(&mut stream)?;
        }
        ensure!(status == 200, "the answer is {status}: {body}");
        first = end;
    }
    Ok(())
}

/// Counts the `OK`s of a netcat source.
#[derive(Default)]
pub(crate) struct Answers {
    /// Whole answers.
    pub(crate) count: usize,
    bytes: usize,
    buffer: Vec<u8>,
}

impl Answers {
    /// Reads once; an error if there is anything but `OK`.
    pub(crate) fn read(&mut self, mut stream: &TcpStream) -> anyhow::Result<()> {
        self.buffer.resize(64 << 10, 0);
        let read = stream.read(&mut self.buffer)?;
        ensure!(read > 0, "the connection was closed after {} answers", self.count);
        for byte in &self.buffer[..read] {
            ensure!(*byte == b"OK\n"[self.bytes % 3], "answer {} is not OK", self.bytes / 3);
            self.bytes += 1;
        }
        self.count = self.bytes / 3;
        Ok(())
    }
}

impl Requests {
    pub(crate) fn new(load: Load) -> Self {
        let form = if matches!(load.shape, Shape::Flume(_)) { Form::Flume } else { Form::Line };
        let events = Events::new(load.event_bytes, form, load.kinds);
        Self { events, shape: load.shape, bytes: Vec::new() }
    }

    /// The bytes that send the events `ids`: a request, or lines.
    pub(crate) fn make(&mut self, ids: Range<u32>) -> &[u8] {
        self.bytes.clear();
        let events_bytes = ids.len() * self.events.record_bytes();
        let head = match self.shape {
            Shape::Lines | Shape::Netcat => String::new(),
            Shape::Http(_) => head("/v1/events", "application/x-ndjson", events_bytes),
            Shape::HttpAsJson(_) => head("/v1/events", "application/json", events_bytes),
            Shape::Flume(_) => head("/", "application/json", events_bytes + 1),
        };
        self.bytes.extend_from_slice(head.as_bytes());
        if let Shape::Flume(_) = self.shape {
            self.bytes.push(b'[');
        }
        ids.for_each(|id| self.events.push(id, &mut self.bytes));
        if let (Shape::Flume(_), Some(last)) = (self.shape, self.bytes.last_mut()) {
            *last = b']';
        }
        &self.bytes
    }
}

fn head(path: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Reads one answer that has a Content-Length: its status and body.
pub(crate) fn answer(reader: &mut impl BufRead) -> anyhow::Result<(u16, String)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let Some(status) = line.split(' ').nth(1).and_then(|status| status.parse().ok()) else {
        bail!("the answer begins with {line:?}");
    };
    let mut length = 0;
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the connection was closed within an answer");
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
