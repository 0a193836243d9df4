//! The part of the settings that says who is let in, and over what.

use std::time::Duration;

use command_line::values::path;
use entrance::{Tls, Tokens};

use super::settings::Settings;
use super::validate::{between, with_file};
use super::values;
use super::{ServeConfig, StoreEventsConfig};

/// Largest heads that can be configured, least and most.
const HEAD_BYTES: std::ops::RangeInclusive<u64> = 4 << 10..=1 << 20;

pub(super) fn tokens(s: &mut Settings) -> Tokens {
    named(s, "tokens", "token_file")
}

pub(super) fn store_events(s: &mut Settings) -> StoreEventsConfig {
    let config = StoreEventsConfig {
        senders: named(s, "store_events.tokens", "store_events.token_file"),
        raw_keys: s.list("store_events.raw_keys"),
        encoded_keys: s.list("store_events.encoded_keys"),
        control_prefix: s.value("store_events.control_prefix", String::new(), |text| match text {
            // Every key begins with nothing.
            "" => Err("it is empty, so that no event would ever be taken".to_owned()),
            text => Ok(text.to_owned()),
        }),
    };
    for name in config.raw_keys.iter().filter(|name| config.encoded_keys.contains(name)) {
        s.mistake(format!("store_events.raw_keys: {name} is named in store_events.encoded_keys as well"));
    }
    config
}

/// Tokens with their names, from a setting and from the file that another one names.
fn named(s: &mut Settings, name: &'static str, file: &'static str) -> Tokens {
    let mut tokens = Tokens::default();
    for text in with_file(s, name, file) {
        if let Err(error) = tokens.add(&text) {
            s.mistake(format!("{name}: {error}"));
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
