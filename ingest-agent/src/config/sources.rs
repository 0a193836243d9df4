//! The sources: their keys, and what is built from them.

use std::time::Duration;

use super::access;
use super::channels::Named;
use super::document::{Node, Table};
use super::section::{Key, Keys, Reading, Section, key, optional, required, secret};
use super::value::Size;
use super::{SourceConfig, one_or_named};
use crate::source::SourceKind;
use crate::source::http::HttpConfig;
use crate::source::netcat::NetcatConfig;

const KIND: Key = required("kind", "\"http\" or \"netcat\".");
const CHANNELS: Key = optional(
    "channels",
    "The channels that each event goes to, all of them; may be absent where there is only one channel.",
);

const HTTP: Keys = Keys {
    list: &[
        KIND,
        CHANNELS,
        key(
            "listen",
            "\"127.0.0.1:8080\"",
            "Address and port; port 0 takes a free one. Without tokens it has no authentication.",
        ),
        optional(
            "tls_certificate",
            "PEM file with the certificate chain. With tls_key the source speaks HTTPS alone; SIGHUP reads both again.",
        ),
        optional("tls_key", "PEM file with the certificate's key."),
        secret(
            "tokens",
            "Who may send, as \"NAME:TOKEN\" or a list of them; write \"NAME:${env:VARIABLE}\" to keep a token out of this
             file. Requests then need Authorization: Bearer TOKEN. A name's idempotency keys are its own.",
        ),
        optional("token_file", "File with one NAME:TOKEN a line, in addition."),
        key(
            "max_body",
            "\"4MiB\"",
            "The largest request body, before and after decompression; a larger one is answered 413.",
        ),
        key("max_head", "\"16KiB\"", "The largest request line and headers together; a larger one is answered 431."),
        key("max_headers", "100", "The most header lines of a request; one with more is answered 431."),
        key(
            "max_zstd_window",
            "\"8MiB\"",
            "The largest window of a body in zstd, and so the memory to expand one, rounded down to a power of two; a larger one (zstd --long) is answered 413.",
        ),
        key("max_key", "255", "The longest Idempotency-Key in bytes; a longer one is answered 400."),
        key(
            "request_timeout",
            "\"30s\"",
            "How long the head of a request may take to arrive, and then its body; a slower one is answered 408.",
        ),
        key(
            "idle_timeout",
            "\"75s\"",
            "How long a connection may be open without a request; longer than a proxy in front keeps it, or requests are lost to it.",
        ),
        key(
            "room_timeout",
            "\"5s\"",
            "How long a request waits for room in the channel's queue, and then for whatever the disk lacks, before it is answered 503.",
        ),
        key(
            "max_connections",
            "1024",
            "Connections served at a time; further ones wait to be accepted. Fewer where the limit of open files asks for it.",
        ),
        key("retry_after", "\"5s\"", "What Retry-After says when the channel is full."),
        key(
            "normalise_to_utf8",
            "false",
            "Whether Flume's JSON in UTF-16 or UTF-32 is stored as UTF-8; Flume keeps the charset.",
        ),
        key(
            "validate_ndjson",
            "true",
            "Whether each line of NDJSON must be JSON; one that is not refuses its request.",
        ),
    ],
    tables: &[],
    renamed: &[("type", "kind"), ("bind", "listen"), ("port", "listen"), ("channel", "channels")],
};

const NETCAT: Keys = Keys {
    list: &[
        KIND,
        CHANNELS,
        key(
            "listen",
            "\"127.0.0.1:4444\"",
            "Address and port; port 0 takes a free one. It has no authentication: whoever reaches it can send.",
        ),
        key(
            "max_line",
            "\"1MiB\"",
            "The longest line with its newline; a longer one is answered FAILED and ends its connection.",
        ),
        key("ack_every_event", "true", "Whether each line is answered OK once it is durable."),
        key(
            "emit_unterminated",
            "false",
            "Whether what follows the last newline is an event too when the sender closes.",
        ),
        key(
            "max_connections",
            "1024",
            "Connections served at a time; further ones wait to be accepted. Fewer where the limit of open files asks for it.",
        ),
        key(
            "idle_timeout",
            "\"10m\"",
            "How long a connection may be silent, with no answer owed to it, before it is closed; 0s is for ever.",
        ),
        key(
            "room_timeout",
            "\"5s\"",
            "How long lines that were read wait for whatever the disk lacks before they are answered FAILED.",
        ),
        key("max_unsynced_batches", "8", "Batches of one connection that wait for their sync at a time."),
    ],
    tables: &[],
    renamed: &[
        ("type", "kind"),
        ("bind", "listen"),
        ("port", "listen"),
        ("channel", "channels"),
        ("max-line-length", "max_line"),
        ("ack-every-event", "ack_every_event"),
    ],
};

/// A source of a kind that does not exist: only what all kinds have is looked at.
const ANY: Keys = Keys { list: &[KIND, CHANNELS], tables: &[], renamed: &[("type", "kind")] };

/// Reads `[sources.*]`.
pub(super) fn read(
    reading: &Reading,
    top: &mut Section<'_>,
    channels: &[Named],
) -> Option<Vec<SourceConfig>> {
    let tables = top.named_tables("sources");
    if tables.is_empty() {
        reading.mistake(top.origin(), "sources: there is none; at least one [sources.NAME] is needed");
    }
    let read = tables.into_iter().map(|(name, path, table)| read_one(reading, &name, path, table, channels));
    read.collect::<Vec<_>>().into_iter().collect()
}

fn read_one(
    reading: &Reading,
    name: &str,
    path: String,
    table: Table,
    channels: &[Named],
) -> Option<SourceConfig> {
    let name = super::name(reading, name, &path, &table);
    let kind = match table.entries.get("kind") {
        Some(Node::Leaf { value, .. }) => value.as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let keys = match kind.as_str() {
        "http" => HTTP,
        "netcat" => NETCAT,
        _ => return super::unknown_kind(reading, path, table, ANY, &["http", "netcat"]),
    };
    let mut section = Section::new(reading, path, table, keys);
    let feeds = one_or_named(&mut section, "channels", channels);
    let kind = if kind == "http" { read_http(&mut section) } else { read_netcat(&mut section) };
    Some(SourceConfig { name: name?, channels: feeds?, kind: kind? })
}

fn read_http(section: &mut Section<'_>) -> Option<SourceKind> {
    let listen = section.listener("listen");
    let tls = access::tls(section);
    let tokens = access::tokens(section);
    let max_body = section.bounded::<Size>("max_body", 1 << 10, 1 << 30);
    let max_head = section.bounded::<Size>("max_head", 8 << 10, 1 << 20);
    let max_key = section.bounded::<u64>("max_key", 1, 8 << 10);
    let max_headers = section.bounded::<u64>("max_headers", 10, 10_000);
    let max_zstd_window = section.bounded::<Size>("max_zstd_window", 1 << 10, 1 << 31);
    let request_timeout = section.time("request_timeout");
    let idle_timeout = section.time("idle_timeout");
    let room_timeout = section.get::<Duration>("room_timeout");
    let max_connections = section.bounded::<u64>("max_connections", 1, 1_000_000);
    let retry_after = section.get::<Duration>("retry_after");
    let normalise_to_utf8 = section.get("normalise_to_utf8");
    let validate_ndjson = section.get("validate_ndjson");
    Some(SourceKind::Http(HttpConfig {
        listen: listen?,
        tls: tls?,
        tokens: tokens?,
        max_body_bytes: max_body? as usize,
        max_head_bytes: max_head? as usize,
        max_headers: max_headers? as usize,
        max_zstd_window_bytes: max_zstd_window?,
        max_key_bytes: max_key? as usize,
        request_timeout: request_timeout?,
        idle_timeout: idle_timeout?,
        room_timeout: room_timeout?,
        max_connections: max_connections? as usize,
        retry_after: retry_after?,
        normalise_to_utf8: normalise_to_utf8?,
        validate_ndjson: validate_ndjson?,
    }))
}

fn read_netcat(section: &mut Section<'_>) -> Option<SourceKind> {
    let listen = section.listener("listen");
    let max_line = section.bounded::<Size>("max_line", 16, 1 << 30);
    let ack_every_event = section.get("ack_every_event");
    let emit_unterminated = section.get("emit_unterminated");
    let max_connections = section.bounded::<u64>("max_connections", 1, 1_000_000);
    let idle_timeout = section.get::<Duration>("idle_timeout");
    let room_timeout = section.get::<Duration>("room_timeout");
    let max_unsynced_batches = section.bounded::<u64>("max_unsynced_batches", 1, 1024);
    Some(SourceKind::Netcat(NetcatConfig {
        listen: listen?,
        max_line_bytes: max_line? as usize,
        ack_every_event: ack_every_event?,
        emit_unterminated: emit_unterminated?,
        max_connections: max_connections? as usize,
        idle_timeout: Some(idle_timeout?).filter(|timeout| !timeout.is_zero()),
        room_timeout: room_timeout?,
        max_unsynced_batches: max_unsynced_batches? as usize,
    }))
}
