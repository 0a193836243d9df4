//! Values that people write wrong in the same way in every program, with the way out in the message.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Reads an address and port to listen on: `127.0.0.1:8080`, `[::]:8080`, or `localhost:8080`, which is
/// IPv4's loopback address. Nothing is asked of a resolver. The error says how to write what was meant.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = |text: &str| text.parse::<u16>().ok();
    match text.rsplit_once(':') {
        Some(("localhost", after)) if let Some(port) = port(after) => {
            return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        Some((host, after)) if let Some(port) = port(after) => {
            if host.is_empty() || host == "*" {
                return Err(without_host(text, port));
            }
            if host.contains(':') {
                return Err(format!("\"{text}\" needs brackets around the address: \"[{host}]:{port}\""));
            }
        }
        None if let Some(port) = port(text) => return Err(without_host(text, port)),
        None if text == "localhost" || text.parse::<std::net::IpAddr>().is_ok() => {
            return Err(format!("\"{text}\" has no port, as in \"127.0.0.1:8080\""));
        }
        _ => {}
    }
    Err(format!("\"{text}\" is not an address and port, such as \"127.0.0.1:8080\" or \"[::]:8080\""))
}

fn without_host(text: &str, port: u16) -> String {
    format!(
        "\"{text}\" names no address: write \"127.0.0.1:{port}\" for this machine alone, or \
         \"0.0.0.0:{port}\" for every address of it"
    )
}

/// Reads a path of a configuration, in which no shell has replaced `~`.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty text is not a path".to_owned());
    }
    match text.strip_prefix('~') {
        Some(rest) => Err(format!(
            "\"{text}\" begins with \"~\", which only a shell replaces: write the whole path{}, or \
             \"./{text}\" for a folder of that name",
            if rest.is_empty() || rest.starts_with('/') {
                format!(" (\"${{env:HOME}}{rest}\" where the file may use the environment)")
            } else {
                String::new()
            }
        )),
        None => Ok(PathBuf::from(text)),
    }
}

/// Whether two addresses cannot be listened on at the same time. Port 0 takes a free one.
pub fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip()
        // An address of all interfaces takes each of them; IPv6's takes IPv4's too on Linux.
        || (one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4()))
        || (other.ip().is_unspecified() && (other.is_ipv6() || one.is_ipv4()));
    one.port() != 0 && one.port() == other.port() && same_address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_what_is_none_says_how_to_write_it() {
        let address = |text: &str| listen_address(text).map(|address| address.to_string());
        for (text, read) in
            [("127.0.0.1:0", "127.0.0.1:0"), ("[::]:8080", "[::]:8080"), ("localhost:8080", "127.0.0.1:8080")]
        {
            assert_eq!(address(text).as_deref(), Ok(read));
        }
        for (text, said) in [
            ("8080", "write \"127.0.0.1:8080\" for this machine alone, or \"0.0.0.0:8080\""),
            (":8080", "write \"127.0.0.1:8080\" for this machine alone, or \"0.0.0.0:8080\""),
            ("*:8080", "write \"127.0.0.1:8080\" for this machine alone, or \"0.0.0.0:8080\""),
            ("::1:8080", "needs brackets around the address: \"[::1]:8080\""),
            ("127.0.0.1", "has no port"),
            ("localhost", "has no port"),
            ("localhost:99999", "is not an address and port"),
            ("example.com:8080", "is not an address and port"),
            ("", "is not an address and port"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_with_a_tilde_is_refused_with_what_to_write() {
        assert_eq!(path("a/~b"), Ok(PathBuf::from("a/~b")));
        assert!(path("~/x").is_err_and(|text| text.contains("\"${env:HOME}/x\"")));
        assert!(path("~").is_err_and(|text| text.contains("\"./~\"")));
        assert!(path("~joe/x").is_err_and(|text| !text.contains("HOME")));
        assert!(path("").is_err());
    }

    #[test]
    fn two_addresses_clash_where_one_takes_the_other() {
        let clashes = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(clash(one, other), clash(other, one));
            clash(one, other)
        };
        assert!(clashes("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(clashes("127.0.0.1:8080", "0.0.0.0:8080"));
        assert!(clashes("127.0.0.1:8080", "[::]:8080"));
        assert!(clashes("[::1]:8080", "[::]:8080"));
        assert!(!clashes("[::1]:8080", "0.0.0.0:8080"));
        assert!(!clashes("127.0.0.1:8080", "127.0.0.2:8080"));
        assert!(!clashes("127.0.0.1:8080", "127.0.0.1:8081"));
        assert!(!clashes("127.0.0.1:0", "127.0.0.1:0"));
    }
}
