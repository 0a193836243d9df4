//! The channels: their keys, and what is built from them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use contract::SinkName;
use durable_channel::Options;

use super::document::{Node, Table};
use super::section::{Key, Keys, Reading, Section, key, optional};
use super::value::Size;
use crate::channel::keys::Limits;

/// A channel, validated.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Its name.
    pub name: SinkName,
    /// What all its sources together may hold between the socket and the sync.
    pub queue_bytes: u32,
    /// How many idempotency keys it knows, and for how long.
    pub keys: Limits,
    /// What it is.
    pub kind: ChannelKind,
}

/// The kinds of channels.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// On disk: what is acknowledged is synced.
    Durable {
        /// The channel's own folder.
        dir: PathBuf,
        /// Its limits.
        options: Options,
    },
    /// In memory: fast, and lost with the process.
    Memory {
        /// The most events it holds.
        capacity_events: u64,
        /// The most events of one batch.
        transaction_capacity: u64,
        /// The most bytes it holds.
        capacity_bytes: u64,
    },
}

/// A channel with a name, which others may refer to even if the rest of it has mistakes.
pub(super) struct Named {
    pub(super) name: SinkName,
    pub(super) read: Option<ChannelConfig>,
}

// === impl Named ===

impl Named {
    /// The most bytes that it holds; 0 where it has mistakes, and nothing is built from it.
    pub(super) fn capacity_bytes(&self) -> u64 {
        match self.read.as_ref().map(|config| &config.kind) {
            Some(ChannelKind::Durable { options, .. }) => options.capacity_bytes,
            Some(ChannelKind::Memory { capacity_bytes, .. }) => *capacity_bytes,
            None => 0,
        }
    }
}

const KIND: Key = key(
    "kind",
    "\"durable\"",
    "\"durable\" syncs before it acknowledges; \"memory\" loses what it holds when the process ends.",
);
const QUEUE: Key = key(
    "queue",
    "\"8MiB\"",
    "The most bytes that all sources together hold between the socket and the sync; further requests wait.",
);

const IDEMPOTENCY: Keys = Keys {
    list: &[
        key(
            "keys",
            "250000",
            "The newest Idempotency-Keys that are known; each takes about 60 bytes of memory, and of a durable \
             channel's disk 64 bytes for each that may be known, from the first one on.",
        ),
        key("age", "\"24h\"", "How long an Idempotency-Key is known after its request."),
    ],
    tables: &[],
    renamed: &[("count", "keys"), ("max_keys", "keys"), ("ttl", "age"), ("max_age", "age")],
};

const DURABLE: Keys = Keys {
    list: &[
        KIND,
        optional(
            "dir",
            "The channel's folder; channels/NAME in data_dir if absent. Moving it moves the channel.",
        ),
        key(
            "capacity",
            "\"10GiB\"",
            "The most bytes on disk; beyond that, sources are refused until sinks have caught up.",
        ),
        key(
            "free_disk_floor",
            "\"256MiB\"",
            "Sources are refused while the disk has less free than this; sinks go on.",
        ),
        key(
            "segment",
            "\"64MiB\"",
            "The size of one file of the log; disk space is given back in steps of it.",
        ),
        key("max_batch", "\"16MiB\"", "The largest batch, such as one request, with its framing."),
        key(
            "max_group",
            "\"8MiB\"",
            "The most bytes synced at once; bounds how long the last of a burst waits.",
        ),
        key(
            "group_delay",
            "\"0ms\"",
            "How long a sync waits for more to join it; the running sync is batching enough.",
        ),
        key(
            "keep_damaged",
            "\"128MiB\"",
            "The most bytes of damaged pieces of the log that are kept in the folder's damaged/ for you to look at.",
        ),
        QUEUE,
    ],
    tables: &["idempotency"],
    renamed: &[
        ("type", "kind"),
        ("dataDirs", "dir"),
        ("checkpointDir", "dir"),
        ("maxFileSize", "segment"),
        ("minimumRequiredSpace", "free_disk_floor"),
    ],
};

const MEMORY: Keys = Keys {
    list: &[
        KIND,
        key("capacity", "10000", "The most events it holds; beyond that, sources are refused."),
        key("transaction_capacity", "1000", "The most events in one batch, such as one request."),
        key("capacity_bytes", "\"16MiB\"", "The most bytes it holds."),
        QUEUE,
    ],
    tables: &["idempotency"],
    renamed: &[
        ("type", "kind"),
        ("transactionCapacity", "transaction_capacity"),
        ("byteCapacity", "capacity_bytes"),
    ],
};

/// Reads `[channels.*]`; without any there is one durable channel called `main`.
pub(super) fn read(reading: &Reading, top: &mut Section<'_>, data_dir: &Path) -> Vec<Named> {
    let mut tables = top.named_tables("channels");
    if tables.is_empty() {
        tables.push(("main".to_owned(), "channels.main".to_owned(), Table::new(super::Origin::Nowhere)));
    }
    tables
        .into_iter()
        .filter_map(|(name, path, table)| read_one(reading, &name, path, table, data_dir))
        .collect()
}

fn read_one(reading: &Reading, name: &str, path: String, table: Table, data_dir: &Path) -> Option<Named> {
    let name = super::name(reading, name, &path, &table)?;
    let memory = matches!(table.entries.get("kind"), Some(Node::Leaf { value, .. }) if value.as_str() == Some("memory"));
    let mut section = Section::new(reading, path, table, if memory { MEMORY } else { DURABLE });
    section.choice("kind", &[("durable", ()), ("memory", ())]);
    let queue = section.bounded::<Size>("queue", 64 << 10, 1 << 30);
    let kind = if memory { read_memory(&mut section) } else { read_durable(&mut section, &name, data_dir) };
    let keys = read_keys(&mut section);
    let read = kind.zip(queue).zip(keys).map(|((kind, queue), keys)| ChannelConfig {
        name: name.clone(),
        queue_bytes: queue as u32,
        keys,
        kind,
    });
    Some(Named { name, read })
}

fn read_keys(section: &mut Section<'_>) -> Option<Limits> {
    let mut section = section.table("idempotency", IDEMPOTENCY);
    let keys = section.bounded::<u64>("keys", 1, 100_000_000);
    let age = section.time("age");
    Some(Limits { keys: keys? as u32, age: age? })
}

fn read_durable(section: &mut Section<'_>, name: &SinkName, data_dir: &Path) -> Option<ChannelKind> {
    let dir = section.optional::<PathBuf>("dir");
    let capacity = section.bounded::<Size>("capacity", 8 << 20, u64::MAX);
    let floor = section.bounded::<Size>("free_disk_floor", 0, u64::MAX);
    let segment = section.bounded::<Size>("segment", 1 << 20, 4 << 30);
    let max_batch = section.bounded::<Size>("max_batch", 64 << 10, 1 << 30);
    let max_group = section.bounded::<Size>("max_group", 64 << 10, 1 << 30);
    let group_delay = section.get::<Duration>("group_delay");
    let keep_damaged = section.bounded::<Size>("keep_damaged", 0, u64::MAX);
    if let (Some(max_batch), Some(segment)) = (max_batch, segment)
        && max_batch > segment / 2
    {
        section.wrong("max_batch", format!("{max_batch} bytes do not fit twice into a segment of {segment}"));
    }
    if let (Some(capacity), Some(segment)) = (capacity, segment)
        && capacity < 2 * segment
    {
        section.wrong("capacity", format!("{capacity} bytes are less than two segments of {segment}"));
    }
    let dir = dir?.unwrap_or_else(|| data_dir.join("channels").join(name.as_str()));
    let options = Options {
        segment_bytes: segment?,
        capacity_bytes: capacity?,
        free_disk_floor_bytes: floor?,
        max_frame_bytes: max_batch? as u32,
        max_group_bytes: max_group?,
        group_delay: group_delay?,
        keep_damaged_bytes: keep_damaged?,
    };
    Some(ChannelKind::Durable { dir, options })
}

fn read_memory(section: &mut Section<'_>) -> Option<ChannelKind> {
    let capacity_events = section.bounded::<u64>("capacity", 1, u64::from(u32::MAX));
    let transaction_capacity = section.bounded::<u64>("transaction_capacity", 1, u64::from(u32::MAX));
    let capacity_bytes = section.bounded::<Size>("capacity_bytes", 64 << 10, u64::MAX);
    if let (Some(capacity), Some(transaction)) = (capacity_events, transaction_capacity)
        && transaction > capacity
    {
        section
            .wrong("transaction_capacity", format!("{transaction} is more than the capacity of {capacity}"));
    }
    Some(ChannelKind::Memory {
        capacity_events: capacity_events?,
        transaction_capacity: transaction_capacity?,
        capacity_bytes: capacity_bytes?,
    })
}
