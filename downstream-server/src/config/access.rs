//! The part of the settings that says who is let in, and over what.

use std::time::Duration;

use command_line::values::path;
use entrance::{Tls, Tokens};

use super::ServeConfig;
use super::settings::Settings;
use super::validate::{between, with_file};
use super::values;

/// Largest heads that can be configured, least and most.
const HEAD_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=1 << 20;

pub(super) fn tokens(s: &mut Settings) -> Tokens {
    let mut tokens = Tokens::default();
    for text in with_file(s, "tokens", "token_file") {
        if let Err(error) = tokens.add(&text) {
            s.mistake(format!("tokens: {error}"));
        }
    }
    tokens
}

fn some_time(text: &str) -> Result<Duration, String> {
    match values::duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn serve(s: &mut Settings) -> ServeConfig {
    let files = (s.optional("tls.certificate", path), s.optional("tls.key", path));
    let tls = match files {
        (Some(certificate), Some(key)) => {
            Tls::load(&certificate, &key).map_err(|error| s.mistake(format!("tls: {error}"))).ok()
        }
        (None, None) => None,
        _ => {
            s.mistake("tls: certificate and key need each other; set both, or none for plain HTTP");
            None
        }
    };
    ServeConfig {
        tls,
        max_connections: s.value("max_connections", 1, |text| between(text, 1, 100_000)),
        client_timeout: s.value("client_timeout", Duration::ZERO, some_time),
        idle_timeout: s.value("idle_timeout", Duration::ZERO, some_time),
        max_headers: s.value("max_headers", 1, |text| between(text, 10, 10_000)),
        max_head_bytes: s.value("max_head_bytes", 0, |text| match values::bytes(text)? {
            bytes if HEAD_BYTES.contains(&bytes) => Ok(bytes as usize),
            _ => Err(format!("`{text}` is not between 4KiB and 1MiB")),
        }),
    }
}
