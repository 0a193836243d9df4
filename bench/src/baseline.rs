//! The baseline: receives bytes, writes them, syncs them, and puts them as objects of 64 MiB, with
//! no framing, no checksum and no answer per event. No durable agent can cost less.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::process::announce;

const OBJECT_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// Receives on one connection after the other, until it is killed. One write and one sync for each `sync_mib`.
pub(crate) fn run(ready_file: &Path, dir: &Path, endpoint: SocketAddr, sync_mib: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").context("binding the baseline")?;
    let mut log = File::options().create(true).truncate(true).read(true).write(true).open(dir.join("log"))?;
    announce(ready_file, listener.local_addr()?)?;
    let mut s3 = TcpStream::connect(endpoint)?;
    let (mut end, mut shipped) = (0_u64, 0_u64);
    let mut group = vec![0; usize::from(sync_mib) << 20];
    let mut put_buffer = vec![0; BUFFER_BYTES];
    for stream in listener.incoming() {
        let mut stream = stream?;
        loop {
            let mut filled = 0;
            while filled < group.len() {
                match stream.read(&mut group[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            log.write_all(&group[..filled])?;
            log.sync_data()?;
            end += filled as u64;
            let last = filled < group.len();
            while end - shipped >= OBJECT_BYTES || (last && end > shipped) {
                let length = (end - shipped).min(OBJECT_BYTES);
                put(&mut s3, &log, shipped, length, &mut put_buffer)?;
                shipped += length;
            }
            if last {
                break;
            }
        }
    }
    Ok(())
}

fn put(s3: &mut TcpStream, log: &File, from: u64, length: u64, buffer: &mut [u8]) -> anyhow::Result<()> {
    s3.write_all(format!("PUT /baseline/{from} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
    let (mut at, end) = (from, from + length);
    while at < end {
        let wanted = buffer.len().min((end - at) as usize);
        log.read_exact_at(&mut buffer[..wanted], at)?;
        s3.write_all(&buffer[..wanted])?;
        at += wanted as u64;
    }
    let mut answer = [0; 512];
    let read = s3.read(&mut answer)?;
    ensure!(answer[..read].starts_with(b"HTTP/1.1 200"), "the endpoint refused a put");
    Ok(())
}
