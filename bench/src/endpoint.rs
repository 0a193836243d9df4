//! A counting S3 endpoint: it accepts puts, keeps the bytes in memory and looks at them only
//! after the clock has stopped. No disk, no MD5, no signatures: it is to cost as little as
//! possible, since it shares the cores with what is measured.
//!
//! `GET /_events` answers how many newlines have arrived; `GET /_check?N` checks ids 0..N,
//! answers in JSON, and forgets everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context;

use crate::event;
use crate::process::announce;

#[derive(Default)]
struct Store {
    objects: Vec<Vec<u8>>,
    bytes: u64,
    puts: u32,
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
    match (head.method.as_str(), head.target.as_str()) {
        ("PUT", _) => {
            store.puts += 1;
            store.bytes += body.len() as u64;
            store.objects.push(body);
            ("200 OK", String::new())
        }
        ("GET", "/_bytes") => ("200 OK", store.bytes.to_string()),
        ("GET", target) if target.starts_with("/_check?") => {
            let events = target["/_check?".len()..].parse().unwrap_or(0);
            let store = std::mem::take(&mut *store);
            // The claim under the control prefix is an object too, but holds no event.
            let objects =
                store.objects.iter().filter(|o| memchr::memmem::find(o, event::MARK).is_some()).count();
            let (missing, doubled, unknown) = event::check(store.objects.iter().map(Vec::as_slice), events);
            let answer = serde_json::json!({
                "objects": objects, "puts": store.puts, "missing": missing, "doubled": doubled, "unknown": unknown,
            });
            ("200 OK", answer.to_string())
        }
        _ => ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>".to_owned()),
    }
}

struct Head {
    method: String,
    target: String,
    length: usize,
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
        let mut head = Self { method, target, length: 0, expects_continue: false };
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(head));
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("expect") {
                head.expects_continue = true;
            }
        }
    }
}
