//! The `s3` sink: its keys, and what is built from them.

mod credentials;

use std::path::PathBuf;
use std::time::Duration;

use blob_store::{MultipartChecksum, S3Options};
use contract::{BucketNameError, check_bucket_name};

use super::format;
use super::section::{Keys, Section, key, optional, required};
use super::sinks::{CHANNEL, KIND, START};
use super::stored;
use super::value::Size;
use crate::sink::s3::partition::{self, PartitionOptions, PartitionTemplate, Round, RoundUnit};
use crate::sink::s3::{RetryConfig, RollConfig, S3SinkConfig, Unresolved};

pub(super) const KEYS: Keys = Keys {
    list: &[
        KIND,
        CHANNEL,
        START,
        required("bucket", "The bucket."),
        key(
            "prefix",
            "\"events/\"",
            "What every key begins with; nothing but the claim is written outside of it.",
        ),
        optional("region", "The bucket's region; the environment's or the profile's if absent."),
        optional("endpoint", "URL of a server other than AWS, such as \"http://127.0.0.1:9000\"."),
        key(
            "path_style",
            "false",
            "Whether the bucket stands in the path instead of the host name; most servers other than AWS want it.",
        ),
        key(
            "conditional",
            "\"auto\"",
            "Whether puts carry If-None-Match; \"auto\" asks an endpoint at start. Where it cannot, or with false, the sink looks before it puts, and promises less.",
        ),
        key(
            "payload_signing",
            "false",
            "Whether signatures cover the bodies too; some servers want it over http.",
        ),
        key(
            "multipart_checksum",
            "\"auto\"",
            "What vouches for large objects: \"full_object\", \"composite\" for servers that know no other, or \"auto\", which asks an endpoint at start.",
        ),
        optional(
            "storage_class",
            "The storage class of objects, such as \"INTELLIGENT_TIERING\"; the store's own if absent. A class that nobody could read from at once is refused.",
        ),
        optional(
            "tags",
            "Tags of objects, as a list of \"NAME=VALUE\", 10 at most; they ask for s3:PutObjectTagging.",
        ),
        optional("ca_file", "PEM file of the certificate authorities to trust instead of the system's."),
        key(
            "control_prefix",
            "\"_sluicegate/\"",
            "Where the agent claims the channel as its own; keep notifications off it. Empty switches it off.",
        ),
        key(
            "partition",
            "\"\"",
            "Template of the part of the key between prefix and object name, such as \"dt=%Y-%m-%d/type=%{json:type}\".",
        ),
        key(
            "unresolved",
            "\"fallback\"",
            "What becomes of events that lack a value of the template: \"fallback\" (another partition) or \"dead_letter\".",
        ),
        key(
            "fallback_partition",
            "\"_unresolved\"",
            "The partition of events that lack a value of the template.",
        ),
        key("time_zone", "\"UTC\"", "The zone of the template's dates and times, such as \"Europe/Zurich\"."),
        optional("round_down", "To what the time is rounded down before it is written: \"10m\", \"6h\"."),
        key(
            "format",
            "\"ndjson\"",
            "How events are laid into objects: \"ndjson\" (one valid JSON object a line, whatever they are), \"text\" (body and newline, as Flume does it), \"raw\" or \"json_lines\".",
        ),
        key(
            "meta",
            "\"_meta\"",
            "With ndjson: the member that holds an event's headers and its own time, if it has any; \"\" leaves them out.",
        ),
        key("codec", "\"none\"", "How objects are compressed: \"none\", \"gzip\" or \"zstd\"."),
        optional(
            "codec_level",
            "The compression level: 1 to 9 for gzip (6 if absent), -7 to 19 for zstd (3 if absent).",
        ),
        optional(
            "compression_threads",
            "Threads that compress beside the sink's own, 64 at most; one for each core above two, but no more than four, if absent.",
        ),
        key("max_event", "\"16MiB\"", "The largest encoded event; a larger one is dead-lettered."),
        key("max_open_partitions", "10000", "Partitions open at a time; the oldest is sealed to make room."),
        key(
            "staging_memory",
            "\"16MiB\"",
            "How much of open partitions is held in memory before it spills to the staging log.",
        ),
        key(
            "staging",
            "\"4GiB\"",
            "How large the staging log may grow; beyond that, partitions are sealed early.",
        ),
        key(
            "journal",
            "\"16MiB\"",
            "Each of the two files of a new journal; a quarter of it bounds what is kept in memory of cuts that wait.",
        ),
        optional(
            "retain_high",
            "When open partitions keep more than this in the channel, the older ones are sealed early; half of its capacity at most, and if absent.",
        ),
        key(
            "put_limit",
            "\"64MiB\"",
            "The largest object that is sent in one request; larger ones go in parts.",
        ),
        key("part", "\"16MiB\"", "The size of a part, from 5 MiB on."),
        key("upload_concurrency", "2", "Requests to the store at a time."),
        key(
            "retry_base",
            "\"200ms\"",
            "The first pause before a request is tried again; it doubles up to retry_max.",
        ),
        key("retry_max", "\"30s\"", "The longest pause."),
        key(
            "alarm_after",
            "\"5m\"",
            "How long the same trouble with the store may last before sluicegate_sink_alarm is raised for it; what needs a person raises it at once.",
        ),
        key(
            "retry_horizon",
            "\"7d\"",
            "Nobody deletes or expires objects younger than this; a cut that is stored later than that is counted and told.",
        ),
        key("connect_timeout", "\"5s\"", "The longest wait for a connection."),
        key("read_timeout", "\"30s\"", "The longest wait without progress."),
        key(
            "operation_timeout",
            "\"60s\"",
            "The longest time for one request, to which 1 s is added for each min_rate of its body.",
        ),
        key("complete_timeout", "\"5m\"", "The longest time for completing an upload in parts."),
        key("min_rate", "\"64KiB\"", "The slowest transfer per second that is still waited for."),
    ],
    tables: &["roll", "credentials"],
    renamed: &[
        ("type", "kind"),
        ("channels", "channel"),
        ("encoder", "format"),
        ("timezone", "time_zone"),
        ("hdfs.path", "prefix"),
        ("hdfs.rollInterval", "roll.age"),
        ("hdfs.rollSize", "roll.raw_size"),
        ("hdfs.rollCount", "roll.events"),
        ("hdfs.idleTimeout", "roll.idle"),
        ("hdfs.timeZone", "time_zone"),
    ],
};

const ROLL: Keys = Keys {
    list: &[
        key(
            "size",
            "\"64MiB\"",
            "An object is sealed when it has this many bytes as stored; 0B switches a rule off.",
        ),
        key("raw_size", "\"0B\"", "As size, before compression."),
        key("events", "0", "An object is sealed when it has this many events; 0 switches it off."),
        key("age", "\"5m\"", "An object is sealed this long after its first event; 0s switches it off."),
        key(
            "idle",
            "\"0s\"",
            "An object is sealed when its partition had no event for this long; 0s switches it off.",
        ),
    ],
    tables: &[],
    renamed: &[("interval", "age"), ("count", "events")],
};

/// Reads `[sinks.NAME]` of kind `s3`; `capacity_bytes` is that of its channel.
pub(super) fn read(section: &mut Section<'_>, capacity_bytes: u64) -> Option<S3SinkConfig> {
    let store = read_store(section);
    let conditional =
        section.choice("conditional", &[("auto", None), ("true", Some(true)), ("false", Some(false))]);
    let composite = section.choice(
        "multipart_checksum",
        &[("auto", None), ("full_object", Some(false)), ("composite", Some(true))],
    );
    let prefix = key_prefix(section, "prefix");
    let control_prefix = key_prefix(section, "control_prefix");
    let partition = read_partition(section);
    let unresolved = section
        .choice("unresolved", &[("fallback", Unresolved::Fallback), ("dead_letter", Unresolved::DeadLetter)]);
    let layout = format::layout(section);
    let codec = format::codec(section);
    let compression_threads = read_threads(section);
    let roll = read_roll(section.table("roll", ROLL));
    let max_event_bytes = section.bounded::<Size>("max_event", 1, 1 << 30);
    let max_open_partitions = section.bounded::<u64>("max_open_partitions", 1, 1_000_000);
    let staging_memory_bytes = section.bounded::<Size>("staging_memory", 1 << 20, 1 << 40);
    let staging_bytes = section.bounded::<Size>("staging", 8 << 20, u64::MAX);
    let journal_bytes = section.bounded::<Size>("journal", 1 << 20, 1 << 30);
    let retain_high = section.optional::<Size>("retain_high");
    let put_limit_bytes = section.bounded::<Size>("put_limit", 5 << 20, 5 << 30);
    let part_bytes = section.bounded::<Size>("part", 5 << 20, 5 << 30);
    let upload_concurrency = section.bounded::<u64>("upload_concurrency", 1, 256);
    let retry_base = section.get::<Duration>("retry_base");
    let retry_max = section.get::<Duration>("retry_max");
    let alarm_after = section.time("alarm_after");
    let retry_horizon = section.time("retry_horizon");
    if let (Some(base), Some(max)) = (retry_base, retry_max)
        && (base > max || base.is_zero())
    {
        section.wrong("retry_base", "is not between 1ms and retry_max");
    }
    if let (Some(prefix), Some(control)) = (&prefix, &control_prefix)
        && !control.is_empty()
        && !prefix.is_empty()
        && control.starts_with(prefix.as_str())
    {
        section.wrong(
            "control_prefix",
            format!("\"{control}\" lies within prefix \"{prefix}\", so claims would be notified"),
        );
    }
    Some(S3SinkConfig {
        store: store?,
        conditional: conditional?,
        composite: composite?,
        prefix: prefix?,
        partition: partition?,
        unresolved: unresolved?,
        layout: layout?,
        codec: codec?,
        compression_threads: compression_threads?,
        roll: roll?,
        max_event_bytes: max_event_bytes?,
        max_open_partitions: max_open_partitions? as usize,
        staging_memory_bytes: staging_memory_bytes?,
        staging_bytes: staging_bytes?,
        journal_bytes: journal_bytes?,
        retain_high_bytes: retain_high?.map_or(capacity_bytes / 2, Into::into),
        put_limit_bytes: put_limit_bytes?,
        part_bytes: part_bytes?,
        upload_concurrency: upload_concurrency? as usize,
        retry: RetryConfig { base: retry_base?, max: retry_max? },
        alarm_after: alarm_after?,
        retry_horizon: retry_horizon?,
        control_prefix: Some(control_prefix?).filter(|prefix| !prefix.is_empty()),
    })
}

/// What keys begin with. S3 takes a slash there, as the name of a folder without a name.
fn key_prefix(section: &mut Section<'_>, name: &str) -> Option<String> {
    let prefix = section.get::<String>(name)?;
    let Some(rest) = prefix.strip_prefix('/') else { return Some(prefix) };
    let rest = rest.trim_start_matches('/');
    section.wrong(name, format!("\"{prefix}\" begins with a slash, and keys in S3 do not: write \"{rest}\""));
    None
}

/// The bucket, which a store other than AWS may call as it likes.
fn read_bucket(section: &mut Section<'_>) -> Option<String> {
    let bucket = section.get::<String>("bucket")?;
    match check_bucket_name(&bucket) {
        Ok(()) => Some(bucket),
        Err(error @ BucketNameError::Aws { .. }) if section.is_set("endpoint") => {
            section.note(
                "bucket",
                format!("{error}; whether this endpoint takes it is for the endpoint to say"),
            );
            Some(bucket)
        }
        Err(error) => {
            section.wrong("bucket", error.to_string());
            None
        }
    }
}

fn read_store(section: &mut Section<'_>) -> Option<S3Options> {
    let bucket = read_bucket(section);
    let region = section.optional::<String>("region");
    let endpoint = section.optional::<String>("endpoint");
    let path_style = section.get("path_style");
    let payload_signing = section.get("payload_signing");
    let storage_class = stored::storage_class(section);
    let tags = stored::tags(section);
    let ca_file = section.optional::<PathBuf>("ca_file");
    let connect_timeout = section.time("connect_timeout");
    let read_timeout = section.time("read_timeout");
    let operation_timeout = section.time("operation_timeout");
    let complete_timeout = section.time("complete_timeout");
    let min_rate = section.bounded::<Size>("min_rate", 1, u64::MAX);
    let credentials = credentials::read(section);
    if let Some(Some(endpoint)) = &endpoint
        && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
    {
        section.wrong("endpoint", format!("\"{endpoint}\" does not begin with http:// or https://"));
    }
    Some(S3Options {
        bucket: bucket?,
        region: region?,
        endpoint: endpoint?,
        path_style: path_style?,
        credentials: credentials?,
        payload_signing: payload_signing?,
        // Decided from put to put.
        multipart_checksum: MultipartChecksum::FullObject,
        storage_class: storage_class?,
        tags: tags?,
        ca_file: ca_file?,
        connect_timeout: connect_timeout?,
        read_timeout: read_timeout?,
        operation_timeout: operation_timeout?,
        complete_timeout: complete_timeout?,
        min_bytes_per_second: min_rate?,
    })
}

fn read_partition(section: &mut Section<'_>) -> Option<PartitionTemplate> {
    let template = section.get::<String>("partition");
    let fallback = section.get::<String>("fallback_partition");
    let zone = section.get::<String>("time_zone").and_then(|name| {
        let zone = partition::time_zone(&name);
        if zone.is_none() {
            section.wrong("time_zone", format!("\"{name}\" is no time zone, such as \"Europe/Zurich\""));
        }
        zone
    });
    let round = section.optional::<Duration>("round_down").and_then(|step| match step.map(round) {
        None => Some(None),
        Some(Some(round)) => Some(Some(round)),
        Some(None) => {
            section.wrong("round_down", "is not 1 to 60 seconds or minutes, or 1 to 24 hours");
            None
        }
    });
    let (template, fallback) = (template?, fallback?);
    let options = PartitionOptions { time_zone: zone?, round: round?, fallback };
    let parsed = PartitionTemplate::parse(&template, options);
    parsed.map_err(|error| section.wrong("partition", error.to_string())).ok()
}

fn round(step: Duration) -> Option<Round> {
    let seconds = step.as_secs();
    let (value, unit) = match seconds {
        _ if step.subsec_nanos() > 0 => return None,
        0..=59 => (seconds, RoundUnit::Second),
        60..=3599 if seconds.is_multiple_of(60) => (seconds / 60, RoundUnit::Minute),
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, RoundUnit::Hour),
        _ => return None,
    };
    Round::new(u32::try_from(value).ok()?, unit)
}

fn read_threads(section: &mut Section<'_>) -> Option<usize> {
    let threads = section.optional::<u64>("compression_threads")?;
    if threads > Some(64) {
        section.wrong("compression_threads", "is more than 64");
        return None;
    }
    let beside_two = || std::thread::available_parallelism().map_or(0, |cores| cores.get().saturating_sub(2));
    Some(threads.map_or_else(|| beside_two().min(4), |threads| threads as usize))
}

fn read_roll(mut section: Section<'_>) -> Option<RollConfig> {
    let size = section.bounded::<Size>("size", 0, 5 << 40);
    let raw_size = section.bounded::<Size>("raw_size", 0, 5 << 40);
    let events = section.get::<u64>("events");
    let age = section.get::<Duration>("age");
    let idle = section.get::<Duration>("idle");
    let number = |number: u64| Some(number).filter(|number| *number > 0);
    let time = |time: Duration| Some(time).filter(|time| !time.is_zero());
    let rules = RollConfig {
        bytes: number(size?),
        uncompressed_bytes: number(raw_size?),
        events: number(events?),
        age: time(age?),
        idle: time(idle?),
    };
    let none = RollConfig { bytes: None, uncompressed_bytes: None, events: None, age: None, idle: None };
    if rules == none {
        section.wrong("age", "with every rule off no object would ever be sealed: give one of them a value");
        return None;
    }
    if rules.age.is_none() && rules.idle.is_none() {
        section.note("age", "without age and idle the last events of a partition wait for the next ones");
    }
    Some(rules)
}
