//! As much of HTTP/1.1 as passing on one request and one answer takes: both whole in memory, as bytes.

use std::fmt::Write as _;
use std::io;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Operation;

/// The largest head that is read.
const HEAD: usize = 64 << 10;

/// A request as it came.
pub(super) struct Request {
    /// Its head, without the blank line.
    head: String,
    body: Vec<u8>,
}

/// An answer, to be changed and sent.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= HEAD {
                return Err(io::Error::other("the head is too large"));
            }
            head.push(stream.read_u8().await?);
        }
        head.truncate(head.len() - 4);
        let head = String::from_utf8(head).map_err(io::Error::other)?;
        let length = headers(&head).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(Ok(0), |(_, length)| length.parse()).map_err(io::Error::other)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok(Self { head, body })
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.starts_with("HEAD ")
    }

    /// What it asks, and of which key or below which prefix; `None` for what the seam never asks.
    pub(super) fn asks(&self) -> Option<(Operation, String)> {
        let mut line = self.head.lines().next()?.split(' ');
        let (method, target) = (line.next()?, line.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (_bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        let argument = |name: &str| {
            let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| decode(value))
        };
        let prefix = || argument("prefix").unwrap_or_default();
        let key = decode(key);
        Some(match (method, key.is_empty()) {
            ("HEAD", true) => (Operation::Check, key),
            ("HEAD", false) => (Operation::Head, key),
            ("PUT", false) if argument("partNumber").is_some() => (Operation::UploadPart, key),
            ("PUT", false) => (Operation::Put, key),
            ("POST", false) if argument("uploads").is_some() => (Operation::CreateUpload, key),
            ("POST", false) if argument("uploadId").is_some() => (Operation::CompleteUpload, key),
            ("DELETE", false) if argument("uploadId").is_some() => (Operation::AbortUpload, key),
            ("DELETE", false) => (Operation::Discard, key),
            ("GET", true) if argument("uploads").is_some() => (Operation::ListUploads, prefix()),
            ("GET", true) => (Operation::List, prefix()),
            ("GET", false) => (Operation::Get, key),
            _ => return None,
        })
    }

    /// The store's answer to it.
    pub(super) async fn ask(&self, store: &str) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(store).await?;
        // The signature covers the host as the client named it, so that stays; this header is not covered.
        let head = format!("{}\r\nconnection: close\r\n\r\n", self.head);
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Answer::parse(&answer).ok_or_else(|| io::Error::other("the store's answer is no HTTP"))
    }
}

impl Answer {
    pub(super) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut answer = Self { status, headers, body: Vec::new() };
        answer.replace_body(body);
        answer
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = str::from_utf8(&bytes[..end]).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let headers = headers(head).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut answer = Self { status, headers, body: bytes[end + 4..].to_vec() };
        answer.remove("connection");
        answer.remove("keep-alive");
        Some(answer)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Another body, with the length that it has.
    pub(super) fn replace_body(&mut self, body: &[u8]) {
        self.remove("transfer-encoding");
        body.clone_into(&mut self.body);
        self.set("content-length", &body.len().to_string());
    }

    pub(super) async fn send(&self, stream: &mut TcpStream) -> io::Result<()> {
        self.send_short(stream, self.body.len()).await
    }

    /// As the answer to a head: everything but the body.
    pub(super) async fn send_head(&self, stream: &mut TcpStream) -> io::Result<()> {
        self.send_short(stream, 0).await
    }

    /// Promises the whole body, and ends after `bytes` of it.
    pub(super) async fn send_short(&self, stream: &mut TcpStream, bytes: usize) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&self.body[..bytes.min(self.body.len())]).await?;
        stream.shutdown().await
    }
}

/// What a port that is not HTTP's may say.
pub(super) async fn send_noise(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\x16\x03\x01 200 OK\r\n\r\n").await?;
    stream.shutdown().await
}

fn headers(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim(), value.trim()))
    })
}
