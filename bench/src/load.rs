//! Load: threads that send events and count answers. Each thread owns a dense range of ids.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;

use anyhow::{Context, bail, ensure};

use crate::event::Events;

/// How events are sent and how they are answered.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Lines without an answer.
    Lines,
    /// Lines, each answered with `OK`.
    Netcat,
    /// NDJSON requests of so many events, each answered with 200.
    Http { events_per_request: u32 },
}

/// Sends `events` events over `connections` connections; returns when every answer is there.
pub(crate) fn send(
    shape: Shape,
    addr: SocketAddr,
    events: u32,
    event_bytes: usize,
    connections: u32,
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let share = events.div_ceil(connections);
        let threads: Vec<_> = (0..connections)
            .map(|n| (n * share).min(events)..((n + 1) * share).min(events))
            .map(|ids| {
                scope.spawn(move || {
                    let stream = TcpStream::connect(addr).with_context(|| format!("connecting to {addr}"))?;
                    stream.set_nodelay(true)?;
                    match shape {
                        Shape::Lines => lines(stream, ids, event_bytes),
                        Shape::Netcat => netcat(&stream, ids, event_bytes),
                        Shape::Http { events_per_request } => {
                            http(stream, ids, event_bytes, events_per_request)
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a load thread does not panic"))
    })
}

fn write_lines(out: &mut impl Write, ids: Range<u32>, event_bytes: usize) -> anyhow::Result<()> {
    let events = Events::new(event_bytes);
    let mut buffer = Vec::with_capacity((64 << 10) + event_bytes);
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

fn lines(mut stream: TcpStream, ids: Range<u32>, event_bytes: usize) -> anyhow::Result<()> {
    write_lines(&mut stream, ids, event_bytes)
}

fn netcat(stream: &TcpStream, ids: Range<u32>, event_bytes: usize) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let wanted = 3 * ids.len();
        let sender = scope.spawn(move || write_lines(&mut &*stream, ids, event_bytes));
        let (mut answers, mut got) = (vec![0; 64 << 10], 0);
        while got < wanted {
            let read = (&mut &*stream).read(&mut answers)?;
            ensure!(read > 0, "the agent closed the connection after {} answers", got / 3);
            for (i, byte) in answers[..read].iter().enumerate() {
                ensure!(*byte == b"OK\n"[(got + i) % 3], "answer {} is not OK", (got + i) / 3);
            }
            got += read;
        }
        sender.join().expect("the sending thread does not panic")
    })
}

fn http(stream: TcpStream, ids: Range<u32>, event_bytes: usize, per_request: u32) -> anyhow::Result<()> {
    let events = Events::new(event_bytes);
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut request = Vec::new();
    let mut first = ids.start;
    while first < ids.end {
        let end = (first + per_request).min(ids.end);
        request.clear();
        let length = (end - first) as usize * (event_bytes + 1);
        write!(
            request,
            "POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
        )?;
        for id in first..end {
            events.push(id, &mut request);
        }
        out.write_all(&request)?;
        answer(&mut reader)?;
        first = end;
    }
    Ok(())
}

/// Reads one answer with a Content-Length; anything but 200 is an error.
fn answer(reader: &mut impl BufRead) -> anyhow::Result<()> {
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the agent closed the connection");
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
    if !status.starts_with("HTTP/1.1 200") {
        bail!("{}: {}", status.trim(), String::from_utf8_lossy(&body));
    }
    Ok(())
}
