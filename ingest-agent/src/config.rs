//! The configuration: from a TOML file or from flags to validated types, with every mistake in one run.
//!
//! Three steps, each with a type of its own: `document` parses text into a tree whose values know their
//! lines, `section` reads one table of it against the list of its keys, and `sources`, `channels` and
//! `sinks` hold these lists and turn sections into what the parts of an agent are built from. Each key's documentation and
//! default stand in its list, and nowhere else: `--print-config` shows both.
//!
//! ```toml
//! config_version = 1
//!
//! [sources.web]
//! kind = "http"
//!
//! [sinks.s3]
//! kind = "s3"
//! bucket = "my-bucket"
//! ```

mod access;
mod channels;
mod document;
mod flags;
mod flume;
mod format;
mod mistakes;
mod s3;
mod section;
mod sinks;
mod sources;
mod stored;
#[cfg(test)]
mod tests;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use contract::SinkName;
use durable_channel::Start;

use crate::logging::{LogFormat, LogLevel};
use crate::sink::SinkKind;
use crate::source::SourceKind;

use self::channels::Named;
use self::document::Table;
use self::mistakes::Origin;
use self::section::{Keys, Read, Reading, Section, key, optional};
use self::value::{FromValue as _, Names, Word};

pub use self::channels::{ChannelConfig, ChannelKind};
pub use self::document::Lookup;
pub use self::flags::Flags;
pub use self::mistakes::{Mistake, Mistakes};

/// A validated configuration: everything that an agent is built from.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one, with different names.
    pub sources: Vec<SourceConfig>,
    /// At least one; every one named by a source or a sink stands here.
    pub channels: Vec<ChannelConfig>,
    /// At least one.
    pub sinks: Vec<SinkConfig>,
    /// Where the admin server listens, if anywhere.
    pub admin: Option<SocketAddr>,
    /// How many connections the admin server has at a time.
    pub admin_connections: usize,
    /// How long a flush may take that names no time-out.
    pub flush_timeout: Duration,
    /// How long the sinks may go on shipping after the sources have stopped.
    pub shutdown_timeout: Duration,
    /// The file that is written once everything listens.
    pub ready_file: Option<PathBuf>,
    /// What is logged.
    pub log_level: LogLevel,
    /// How it is logged.
    pub log_format: LogFormat,
    /// All of it as TOML, defaults filled in and secrets left out.
    pub effective: String,
    /// What is right and still worth a look, a sentence each that begins with the key's name.
    pub notes: Vec<String>,
}

/// A source and where its events go.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// Its name.
    pub name: SinkName,
    /// The channels that each event goes to; at least one.
    pub channels: Vec<SinkName>,
    /// What it is.
    pub kind: SourceKind,
}

/// A sink and where its events come from.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    /// Its name, also that of its reader.
    pub name: SinkName,
    /// The channel that it reads.
    pub channel: SinkName,
    /// Where it starts when it reads that channel for the first time.
    pub start: Start,
    /// What it is.
    pub kind: SinkKind,
}

/// The version of the configuration that this agent reads.
pub const CONFIG_VERSION: u64 = 1;

const TOP: Keys = Keys {
    list: &[
        key("config_version", "1", "The version of this file's keys."),
        key("data_dir", "\"sluicegate-data/agent\"", "The folder of everything that is kept on disk."),
        key(
            "shutdown_timeout",
            "\"30s\"",
            "How long sinks may go on shipping at shutdown. What is not shipped by then stays safely in the channel.",
        ),
        optional("ready_file", "A file to write, as JSON with every address, once everything listens."),
    ],
    tables: &["admin", "log", "sources", "channels", "sinks"],
    renamed: &[],
};

const ADMIN: Keys = Keys {
    list: &[
        key("enabled", "true", "Whether there is an admin address at all."),
        key(
            "listen",
            "\"127.0.0.1:8081\"",
            "Address and port for metrics, health and flush; port 0 takes a free one. It has no authentication.",
        ),
        key("flush_timeout", "\"60s\"", "How long a flush may take that names no time-out of its own."),
        key("max_connections", "64", "Connections served at a time; further ones wait to be accepted."),
    ],
    tables: &[],
    renamed: &[("bind", "listen"), ("port", "listen")],
};

const LOG: Keys = Keys {
    list: &[
        key(
            "level",
            "\"info\"",
            "off, error, warn, info, debug or trace; for one module more: \"info,ingest_agent::sink=debug\".",
        ),
        key("format", "\"text\"", "\"text\" for people or \"json\", one object a line. Always to stderr."),
    ],
    tables: &[],
    renamed: &[],
};

// === impl Config ===

impl Config {
    /// Reads the text of a file that is called `file` in messages; `flags` win over it.
    pub fn parse(file: &str, text: &str, flags: &Flags, env: Lookup<'_>) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        if let Some(mistake) = flume::mistake(text) {
            return Err(Mistakes { file: file.to_owned(), list: vec![mistake] });
        }
        let mut document = Table::parse(text, env, &mut mistakes);
        flags.apply(&mut document);
        Self::read(file, document, mistakes)
    }

    /// Makes a configuration of flags alone.
    pub fn from_flags(flags: &Flags) -> Result<Self, Mistakes> {
        let mut document = Table::new(Origin::Nowhere);
        flags.apply(&mut document);
        Self::read("command line", document, Vec::new())
    }

    fn read(file: &str, document: Table, mistakes: Vec<Mistake>) -> Result<Self, Mistakes> {
        let reading = Reading::new(mistakes);
        let config = read_top(&reading, document);
        let Read { effective, notes, mistakes: list } = reading.finish();
        match config {
            Some(config) if list.is_empty() => Ok(Self { effective, notes, ..config }),
            _ => Err(Mistakes { file: file.to_owned(), list }),
        }
    }

    /// Every key of a pipeline made of flags, those that are still missing among them, as commented TOML.
    pub fn outline(flags: &Flags) -> String {
        let mut document = Table::new(Origin::Nowhere);
        flags.apply_all(&mut document);
        let reading = Reading::new(Vec::new());
        // What is missing or wrong is not asked here: it stands in the text as it is.
        let _ = read_top(&reading, document);
        reading.finish().effective
    }
}

/// A duration as it is written everywhere, such as `30s`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    Duration::from_value(&toml::Value::String(text.to_owned()))
}

fn read_top(reading: &Reading, document: Table) -> Option<Config> {
    let mut top = Section::new(reading, "", document, TOP);
    let version = top.get::<u64>("config_version");
    if version.is_some_and(|version| version != CONFIG_VERSION) {
        top.wrong("config_version", format!("this agent reads version {CONFIG_VERSION}"));
    }
    let data_dir = top.get::<PathBuf>("data_dir");
    let shutdown_timeout = top.get("shutdown_timeout");
    let ready_file = top.optional("ready_file");

    let mut admin = top.table("admin", ADMIN);
    let admin_enabled = admin.get::<bool>("enabled");
    let listen = match admin_enabled {
        Some(true) => admin.listener("listen"),
        _ => admin.get::<SocketAddr>("listen"),
    };
    let flush_timeout = admin.time("flush_timeout");
    let admin_connections = admin.bounded::<u64>("max_connections", 1, 10_000);

    let mut log = top.table("log", LOG);
    let level = log
        .get::<String>("level")
        .and_then(|text| LogLevel::parse(&text).map_err(|error| log.wrong("level", error.to_string())).ok());
    let log_format = log.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);

    let data_dir_or_any = data_dir.clone().unwrap_or_default();
    let channels = channels::read(reading, &mut top, &data_dir_or_any);
    let sources = sources::read(reading, &mut top, &channels);
    let sinks = sinks::read(reading, &mut top, &channels);
    data_dir?;
    Some(Config {
        sources: sources?,
        channels: channels.into_iter().map(|channel| channel.read).collect::<Option<_>>()?,
        sinks: sinks?,
        admin: admin_enabled?.then_some(listen?),
        admin_connections: admin_connections? as usize,
        flush_timeout: flush_timeout?,
        shutdown_timeout: shutdown_timeout?,
        ready_file: ready_file?,
        log_level: level?,
        log_format: log_format?,
        effective: String::new(),
        notes: Vec::new(),
    })
}

/// A name that the user chose; it becomes a part of files and keys, so what it may be is narrow.
fn name(reading: &Reading, name: &str, path: &str, table: &Table) -> Option<SinkName> {
    let parsed = name.parse();
    if parsed.is_err() {
        reading.mistake(&table.origin, format!("{path}: \"{name}\" is not {}", SinkName::WHAT));
    }
    parsed.ok()
}

/// Which of `known` the key `name` of a section means: what it says, or the only one there is.
fn one_or_named(section: &mut Section<'_>, name: &str, known: &[Named]) -> Option<Vec<SinkName>> {
    let named = if let Some(Names(named)) = section.optional(name)? {
        named
    } else {
        let [only] = known else {
            section.wrong(name, format!("is missing, and there are several channels: {}", list(known)));
            return None;
        };
        vec![only.name.clone()]
    };
    if named.is_empty() {
        section.wrong(name, "names no channel");
        return None;
    }
    let is_known = |channel: &SinkName| known.iter().any(|known| known.name == *channel);
    for channel in named.iter().filter(|channel| !is_known(channel)) {
        section.wrong(name, format!("there is no channel \"{channel}\"; there is {}", list(known)));
    }
    named.iter().all(is_known).then_some(named)
}

fn list(channels: &[Named]) -> String {
    channels.iter().map(|channel| format!("\"{}\"", channel.name)).collect::<Vec<_>>().join(", ")
}

/// What to do in the place of a kind that others have and this agent does not.
fn elsewhere(kind: &str) -> Option<String> {
    let instead = match kind {
        "rabbitmq" | "amqp" | "sqs" | "kafka" | "amps" | "jms" | "mqtt" | "nats" | "redis" => {
            "this agent reads no queue: let a consumer of yours post what it reads to a source of kind http, \
             with the message's id as Idempotency-Key, and acknowledge it after the 200"
        }
        "tail" | "taildir" | "file" | "spooldir" | "exec" | "journald" | "syslog" | "syslogtcp"
        | "syslogudp" => {
            "this agent has no such source: pipe the lines to a source of kind netcat, or post them to one of \
             kind http"
        }
        "avro" | "thrift" => "this agent speaks HTTP and lines: an HTTP client posts Flume's JSON to POST /",
        "hdfs" => "objects are written by kind s3",
        "file_roll" | "hbase" | "elasticsearch" | "http" | "loki" => {
            "sinks write to S3: what reads the objects from there is the downstream server and its handlers"
        }
        _ => return None,
    };
    Some(format!("there is no kind \"{kind}\": {instead}"))
}

/// Says what is wrong with a table whose kind decides what its keys are, and is none that is known.
fn unknown_kind<T>(reading: &Reading, path: String, table: Table, keys: Keys, kinds: &[&str]) -> Option<T> {
    // Its other keys belong to a kind nobody knows, so they are not judged.
    let entries = table.entries.into_iter().filter(|(name, _)| name == "kind" || name == "type").collect();
    let mut section = Section::new(reading, path, Table { origin: table.origin, entries }, keys);
    let choices: Vec<_> = kinds.iter().map(|kind| (*kind, ())).collect();
    let known_elsewhere = section.optional::<Word>("kind").flatten().and_then(|Word(kind)| elsewhere(&kind));
    match known_elsewhere {
        Some(instead) => section.wrong("kind", format!("{instead}; there is {}", kinds.join(", "))),
        None => drop(section.choice("kind", &choices)),
    }
    None
}
