//! How many connections the agent lets in: as many as configured, unless that would leave too few descriptors for its own
//! files and for its connections to the store.

use entrance::descriptors;

use crate::config::{ChannelConfig, ChannelKind, Config};
use crate::sink::SinkKind;

/// Standard streams, runtimes, listeners, the log, names that are looked up.
const PROCESS: u64 = 40;

/// Of a channel: its lock, its last segment and the next one, identity, keys, the places of readers.
const CHANNEL: u64 = 16;

/// Of a sink: its runtime, its journal, its place in the channel, what it looks up.
const SINK: u64 = 12;

/// Of an S3 sink also: its staging log, which has some large files.
const STAGING: u64 = 24;

/// Of an upload: a connection, one that is being replaced, and the segment that it reads.
const UPLOAD: u64 = 3;

/// Lowers the limits of connections so far that the process's limit of open files is never what stops a channel or a sink.
pub(super) fn lower_limits(config: &mut Config) {
    let (limit, kept) = (descriptors::limit(), kept(config));
    let mut limits: Vec<_> = config
        .sources
        .iter_mut()
        .map(|source| (source.name.to_string(), source.kind.max_connections()))
        .collect();
    if config.admin.is_some() {
        limits.push(("admin".to_owned(), &mut config.admin_connections));
    }
    let wanted: Vec<_> = limits.iter().map(|(_, wanted)| **wanted).collect();
    let shares = descriptors::share(limit, kept, &wanted);
    for ((name, wanted), share) in limits.into_iter().zip(shares) {
        if share < *wanted {
            tracing::warn!(
                source = name,
                max_connections = share,
                configured = *wanted,
                open_files = limit,
                kept,
                "fewer connections than configured: the limit of open files (LimitNOFILE, ulimit -n) leaves room for no more"
            );
            *wanted = share;
        }
    }
}

/// Descriptors for everything but connections from outside.
fn kept(config: &Config) -> u64 {
    let channel = |channel: &ChannelConfig| match channel.kind {
        ChannelKind::Durable { .. } => CHANNEL,
        ChannelKind::Memory { .. } => 0,
    };
    let sink = |kind: &SinkKind| match kind {
        SinkKind::S3(s3) => SINK + STAGING + UPLOAD * s3.upload_concurrency.max(1) as u64,
        _ => SINK,
    };
    PROCESS
        + config.channels.iter().map(channel).sum::<u64>()
        + config.sinks.iter().map(|configured| sink(&configured.kind)).sum::<u64>()
}
