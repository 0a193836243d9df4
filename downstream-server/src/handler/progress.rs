//! How far objects got that are handed over in batches, in memory: the next attempt of this
//! process goes on where the last one failed. After a restart it begins anew, which "at least
//! once" allows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::batches::Batch;

/// Objects that are remembered; others begin anew.
const REMEMBERED: usize = 10_000;

/// The number of the first row that was not taken, by delivery id.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, u64>>);

impl Progress {
    /// Whether an earlier attempt has handed the batch over.
    pub(super) fn has(&self, delivery: &str, batch: &Batch) -> bool {
        self.map().get(delivery).is_some_and(|next| batch.end() <= *next)
    }

    /// Remembers that the batch, and all before it, were taken. The last one ends the object.
    pub(super) fn passed(&self, delivery: &str, batch: &Batch) {
        let mut map = self.map();
        if map.len() < REMEMBERED || map.contains_key(delivery) {
            map.insert(delivery.to_owned(), batch.end());
        }
    }

    /// Forgets an object that was handed over.
    pub(super) fn forget(&self, delivery: &str) {
        self.map().remove(delivery);
    }

    /// A panic of another holder leaves the map whole: each entry is replaced in one step.
    fn map(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
