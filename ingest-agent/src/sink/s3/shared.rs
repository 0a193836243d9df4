//! What the loop of the sink and its uploads share. All of it runs on one thread; the locks are never held
//! across an await, so nobody ever waits for one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blob_store::{BlobStore, Promises};
use contract::{ChannelId, SinkName};
use durable_channel::{Cursor, Reader};

use super::config::S3SinkConfig;
use super::cut::Cut;
use super::error::S3SinkError;
use super::learned::Learned;
use super::ledger::Ledger;
use super::pack::Packer;
use super::seams::Seams;
use super::state::Record;
use crate::telemetry::{SinkMetrics, Totals};

/// What the loop of the sink and its uploads share.
pub(crate) struct Shared {
    pub(super) name: SinkName,
    pub(super) channel: ChannelId,
    pub(super) config: S3SinkConfig,
    pub(super) seams: Seams,
    /// What the store was found to keep; where it is asked, known before anything is shipped to it.
    pub(super) learned: Mutex<Option<Learned>>,
    pub(super) metrics: Arc<SinkMetrics>,
    pub(super) dir: Option<PathBuf>,
    pub(super) reader: Mutex<Reader>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) packer: Mutex<Packer>,
}

impl Shared {
    pub(super) fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.reader().cursor()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn packer(&self) -> MutexGuard<'_, Packer> {
        self.packer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store of a bucket.
    pub(super) fn bucket(&self, name: &str) -> Arc<dyn BlobStore> {
        (self.seams.buckets)(name)
    }

    /// What the store keeps, as configured or as found.
    pub(super) fn promises(&self) -> Promises {
        let found = self.learned().map_or(Promises::ALL, |known| known.promises());
        Promises {
            conditions: self.config.conditional.unwrap_or(found.conditions),
            whole_checksums: self.config.composite.map_or(found.whole_checksums, |composite| !composite),
            ..found
        }
    }

    pub(super) fn learned(&self) -> Option<Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_learned(&self, known: Learned) {
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// Stops here, if a test wants a crash here.
    pub(super) fn reach(&self, point: &'static str) -> Result<(), S3SinkError> {
        self.seams.points.reach(point)
    }

    /// Where the bytes of a dead cut are kept.
    pub(super) fn kept(&self, number: u64) -> Option<PathBuf> {
        Some(kept_in(self.dir.as_ref()?, number))
    }

    /// Syncs `records`, takes them in, and shows the new totals in one step (I9).
    pub(super) fn commit(&self, records: Vec<Record>) -> Result<(), S3SinkError> {
        self.ledger().commit(records)?;
        self.show_totals();
        Ok(())
    }

    /// Shows what the state says.
    pub(super) fn show_totals(&self) {
        let ledger = self.ledger();
        let state = ledger.state();
        let settled = state.settled;
        self.metrics.update_totals(|totals| {
            *totals = Totals {
                origin: state.origin,
                settled: settled.all(),
                shipped: settled.events,
                dead_lettered: settled.dead_lettered,
                damaged: settled.damaged,
            };
        });
        let dead = state.dead_count();
        self.metrics.cuts_dead.set(gauge(dead as u64));
        let oldest = state.to_ship().next().and_then(|number| state.pending.get(&number));
        self.metrics.oldest_pending.set(oldest.map_or(0, |pending| gauge(pending.cut.sealed_ms / 1000)));
        self.metrics.cuts_pending.set(gauge((state.pending.len() - dead) as u64));
    }

    /// Deletes the kept bytes of a cut that is no longer dead.
    pub(super) fn forget_kept(&self, cut: &Cut) {
        if let Some(path) = self.kept(cut.number)
            && let Err(error) = self.seams.disk.remove(&path)
        {
            tracing::warn!(%error, cut = cut.number, "the kept bytes of a cut could not be deleted");
        }
    }
}

/// Where the bytes of the dead cut `number` are kept, below the sink's folder.
pub(super) fn kept_in(dir: &std::path::Path, number: u64) -> PathBuf {
    dir.join("dead").join(format!("{number:012}.object"))
}

/// A number as a gauge holds it.
pub(super) fn gauge(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
