//! From open cuts to sealed ones: everything that a key or an object's bytes depend on is written down.

use std::sync::Arc;

use contract::{CutId, CutKind, ObjectKey};
use object_format::Codec;

use super::cut::{Attempt, BytesAt, Cut, Sums};
use super::error::S3SinkError;
use super::form::{CutCodec, Form};
use super::gather::{OpenBytes, OpenCut, extension};
use super::runs::Runs;
use super::shared::Shared;
use super::state::Record;

/// What is sealed in one append; bounds the record that must fit into the journal.
const CUTS_AT_ONCE: usize = 1000;

/// Seals `closed` in this order: staging synced first, then all their records with one sync (I3, I4).
pub(crate) fn seal(shared: &Shared, closed: Vec<OpenCut>) -> Result<(), S3SinkError> {
    let mut closed = closed.into_iter().peekable();
    while closed.peek().is_some() {
        seal_some(shared, closed.by_ref().take(CUTS_AT_ONCE).collect())?;
    }
    Ok(())
}

fn seal_some(shared: &Shared, closed: Vec<OpenCut>) -> Result<(), S3SinkError> {
    let (mut number, mut totals) = {
        let ledger = shared.ledger();
        (ledger.state().next_cut, ledger.state().sealed)
    };
    let mut records = Vec::with_capacity(closed.len());
    for open in closed {
        let (cut, attempt) = determine(shared, number, totals, open)?;
        totals = cut.totals;
        number += 1;
        records.push(Record::Sealed(Arc::new(cut), attempt));
    }
    shared.reach("before_staging_sync")?;
    shared.packer().staging.sync().map_err(S3SinkError::io("syncing the staging log"))?;
    shared.reach("before_seal")?;
    shared.metrics.cuts_sealed.inc_by(records.len() as u64);
    shared.commit(records)?;
    shared.reach("after_seal")
}

fn determine(
    shared: &Shared,
    number: u64,
    before: Sums,
    open: OpenCut,
) -> Result<(Cut, Attempt), S3SinkError> {
    let (length, crc32c, bytes) = match open.bytes {
        OpenBytes::Streamed(length, crc32c) => (length, crc32c, BytesAt::Channel),
        OpenBytes::Packed(pack) => {
            let packed = shared.packer().finish(pack).map_err(S3SinkError::io("writing the staging log"))?;
            (packed.length, packed.crc32c, BytesAt::Staged(packed.extents))
        }
    };
    let config = &shared.config;
    let id = CutId { channel: shared.channel, sink: shared.name.clone(), number };
    let count = open.runs.count();
    let (form, codec, totals) = match open.kind {
        CutKind::Events => (
            Form::Events { layout: config.layout.clone(), rows: Some(open.rows) },
            config.codec,
            Sums { events: before.events + count, ..before },
        ),
        CutKind::Dead => {
            (Form::Dead, Codec::None, Sums { dead_lettered: before.dead_lettered + count, ..before })
        }
    };
    let format = form.format();
    let extension = extension(format, codec);
    let key = ObjectKey::render(&config.prefix, &open.partition, &id, &extension);
    let cut = Cut {
        number,
        channel: shared.channel,
        bucket: config.store.bucket.clone(),
        // Too long a partition was a dead letter before it could be sealed.
        key: key.map_err(|error| S3SinkError::io("rendering a key")(std::io::Error::other(error)))?,
        content_type: format.content_type().to_owned(),
        content_encoding: codec.coding().content_encoding().map(str::to_owned),
        form,
        codec: CutCodec::At(codec),
        runs: open.runs,
        reasons: open.reasons,
        sealed_ms: wall_clock::now_ms(),
        totals,
    };
    Ok((cut, Attempt { length, crc32c, lost: Runs::default(), bytes }))
}
