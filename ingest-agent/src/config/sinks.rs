//! The sinks: their keys, and what is built from them.

use durable_channel::Start;

use super::channels::Named;
use super::document::{Node, Table};
use super::section::{Key, Keys, Reading, Section, key, optional, required};
use super::{SinkConfig, one_or_named, s3};
use crate::channel::keys;
use crate::sink::SinkKind;
use crate::sink::logger::LoggerConfig;

pub(super) const KIND: Key = required("kind", "\"s3\", \"logger\" or \"null\".");
pub(super) const CHANNEL: Key =
    optional("channel", "The channel that it reads; may be absent where there is only one channel.");
pub(super) const START: Key = key(
    "start",
    "\"oldest\"",
    "Where it starts when it reads its channel for the first time: with the \"oldest\" event still held, or with the next one, \"newest\".",
);

const LOGGER: Keys = Keys {
    list: &[
        KIND,
        CHANNEL,
        START,
        key("max_body", "\"1KiB\"", "How much of each body is shown, on standard output."),
    ],
    tables: &[],
    renamed: &[("type", "kind"), ("channels", "channel"), ("maxBytesToLog", "max_body")],
};

const NULL: Keys = Keys {
    list: &[KIND, CHANNEL, START],
    tables: &[],
    renamed: &[("type", "kind"), ("channels", "channel")],
};

/// Reads `[sinks.*]`.
pub(super) fn read(reading: &Reading, top: &mut Section<'_>, channels: &[Named]) -> Option<Vec<SinkConfig>> {
    let tables = top.named_tables("sinks");
    if tables.is_empty() {
        reading.mistake(top.origin(), "sinks: there is none; at least one [sinks.NAME] is needed");
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
) -> Option<SinkConfig> {
    let name = super::name(reading, name, &path, &table);
    if name.as_ref().is_some_and(|name| keys::is_keeper(name.as_str())) {
        reading.mistake(
            &table.origin,
            format!("{path}: the channel's own reader has this name; choose another"),
        );
    }
    let kind = match table.entries.get("kind") {
        Some(Node::Leaf { value, .. }) => value.as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let keys = match kind.as_str() {
        "s3" => s3::KEYS,
        "logger" => LOGGER,
        "null" => NULL,
        _ => return super::unknown_kind(reading, path, table, NULL, &["s3", "logger", "null"]),
    };
    let mut section = Section::new(reading, path, table, keys);
    let channel = one_or_named(&mut section, "channel", channels);
    if channel.as_ref().is_some_and(|channels| channels.len() > 1) {
        section.wrong("channel", "a sink reads one channel");
    }
    let channel = channel.and_then(|channels| channels.into_iter().next());
    let capacity =
        channels.iter().find(|known| Some(&known.name) == channel.as_ref()).map_or(0, Named::capacity_bytes);
    let start = section.choice("start", &[("oldest", Start::Oldest), ("newest", Start::Newest)]);
    let kind = match kind.as_str() {
        "s3" => s3::read(&mut section, capacity).map(|config| SinkKind::S3(Box::new(config))),
        "logger" => section
            .bounded::<super::value::Size>("max_body", 0, 16 << 20)
            .map(|bytes| SinkKind::Logger(LoggerConfig { max_body_bytes: bytes as usize })),
        _ => Some(SinkKind::Null),
    };
    Some(SinkConfig { name: name?, channel: channel?, start: start?, kind: kind? })
}
