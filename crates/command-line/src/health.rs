//! Asking a running program how it is, with nothing but the standard library.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a health check waits for each step; a container engine's own limit should be longer.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the program that listens on `address` whether it is ready (`GET /health/ready`).
///
/// An unspecified address (`0.0.0.0`, `::`) is asked on loopback.
///
/// # Errors
/// What it answered instead of 200, or why it could not be asked, for people to read.
pub fn healthy(address: SocketAddr) -> Result<(), String> {
    healthy_by(address, Ok)
}

/// As [`healthy`], through what `wrap` makes of the connection, such as TLS.
///
/// # Errors
/// As [`healthy`], and what `wrap` says.
pub fn healthy_by<S: Read + Write>(
    address: SocketAddr,
    wrap: impl FnOnce(TcpStream) -> io::Result<S>,
) -> Result<(), String> {
    match ask(on_this_machine(address), wrap) {
        Ok(status) if status.split(' ').nth(1) == Some("200") => Ok(()),
        Ok(status) => Err(format!("{address} answered {status:?}")),
        Err(error) => Err(format!("asking {address}: {error}")),
    }
}

/// The status line of the answer.
fn ask<S: Read + Write>(
    address: SocketAddr,
    wrap: impl FnOnce(TcpStream) -> io::Result<S>,
) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    let mut stream = wrap(stream)?;
    write!(stream, "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut status = String::new();
    // The status is in the first bytes, whatever else comes.
    BufReader::new(stream.take(256)).read_line(&mut status)?;
    Ok(status.trim_end().to_owned())
}

fn on_this_machine(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` on a free port of all addresses.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /health/ready HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_a_200_is_healthy() {
        assert_eq!(healthy(answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n")), Ok(()));
        let sick = healthy(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        assert!(sick.contains("503"), "{sick}");
        // A status is a field of its own, not a text that stands somewhere.
        assert!(healthy(answering("HTTP/1.1 500 200\r\n\r\n")).is_err());
        assert!(healthy(answering("")).is_err());
    }

    #[test]
    fn nobody_there_is_not_healthy() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(healthy(free).unwrap_err().contains("asking 127.0.0.1:"));
    }
}
