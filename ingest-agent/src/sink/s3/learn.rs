//! What does this store keep? Asked where it is not AWS, and said in the log if it is not all.
//!
//! | lacking | then |
//! |---|---|
//! | conditional puts | the key is looked at before each put |
//! | checksums of whole uploads | the parts' checksums vouch for their bytes |
//! | right checksums in a head | an object is known by cut, length and checksum in its metadata, and its length |
//!
//! A store that was never asked is asked before anything is shipped, each request for as long as it takes. What was
//! found is kept (`learned`), so that a later start ships with what is known; once a day it is asked again beside.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blob_store::{ErrorKind, Patience, Promises, StoreError, promises};
use tokio::sync::Mutex;

use super::learned::Learned;
use super::shared::Shared;
use super::trouble::Trouble;

/// How long what was found counts as known.
const FRESH: Duration = Duration::from_hours(24);

/// Finds out what is to be known of the store before anything is sent to it.
pub(super) async fn learn(shared: &Shared) {
    let Some(asking) = Asking::of(shared) else { return };
    if !asking.recall() {
        asking.ask().await;
    }
}

/// Asks again once a day, for as long as the sink runs.
pub(super) async fn keep_up(shared: Arc<Shared>) {
    let Some(asking) = Asking::of(&shared) else { return };
    loop {
        // The clock may have been set meanwhile, so the age is no more than a hint.
        let age = Duration::from_millis(
            wall_clock::now_ms().saturating_sub(shared.learned().map_or(0, |known| known.asked_ms)),
        );
        tokio::time::sleep(FRESH.saturating_sub(age)).await;
        asking.ask().await;
        // Also where the store did not let itself be asked.
        tokio::time::sleep(FRESH).await;
    }
}

/// What the sink's own small objects are called that the store is tried with; `None` where it is not asked. No other
/// sink uses them, so that uploads found there are what this one has left.
pub(super) fn key(shared: &Shared) -> Option<String> {
    let config = &shared.config;
    let prefix = config.control_prefix.as_ref()?;
    let decided = config.conditional.is_some() && config.composite.is_some();
    (config.store.endpoint.is_some() && !decided)
        .then(|| format!("{}/promises/{}-{}", prefix.trim_end_matches('/'), shared.channel, shared.name))
}

struct Asking<'a> {
    shared: &'a Shared,
    key: String,
    endpoint: &'a str,
}

impl<'a> Asking<'a> {
    fn of(shared: &'a Shared) -> Option<Self> {
        Some(Self { shared, key: key(shared)?, endpoint: shared.config.store.endpoint.as_deref()? })
    }

    /// Whether the store is known from an earlier time.
    fn recall(&self) -> bool {
        let (shared, bucket) = (self.shared, &self.shared.config.store.bucket);
        let Some(dir) = &shared.dir else { return false };
        match Learned::read(&*shared.seams.disk, dir, self.endpoint, bucket) {
            Ok(Some(known)) => {
                tell(known.promises());
                shared.set_learned(known);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "what was known of the store is not used; it is asked again");
                false
            }
        }
    }

    /// Asks the store, until it has answered.
    async fn ask(&self) {
        let (shared, store) = (self.shared, self.shared.bucket(&self.shared.config.store.bucket));
        let waiting = Waiting { shared, trouble: Mutex::new(Trouble::new(shared)) };
        let found = loop {
            match promises(&*store, &self.key, &waiting).await {
                Ok(found) => break found,
                Err(error) if error.kind == ErrorKind::Rejected => {
                    // A setting that all requests share: nothing that is shipped would be taken either.
                    waiting.wait(&error, 1).await;
                }
                Err(error) => {
                    tracing::warn!(key = %self.key, error = %error, "what the store keeps could not be asked; it is taken for what S3 keeps");
                    break Promises::ALL;
                }
            }
        };
        if shared.learned().is_none_or(|known| known.promises() != found) {
            tell(found);
        }
        let known = Learned::new(self.endpoint, &shared.config.store.bucket, wall_clock::now_ms(), found);
        if let Some(dir) = &shared.dir
            && let Err(error) = known.write(&*shared.seams.disk, dir)
        {
            tracing::warn!(%error, "what the store keeps could not be written down; the next start asks again");
        }
        shared.set_learned(known);
    }
}

/// Waits for as long as it takes.
struct Waiting<'a> {
    shared: &'a Shared,
    trouble: Mutex<Trouble>,
}

#[async_trait]
impl Patience for Waiting<'_> {
    async fn wait(&self, error: &StoreError, failures: u32) -> bool {
        self.shared.metrics.requests.inc();
        let mut trouble = self.trouble.lock().await;
        if failures == 1 {
            // Another request: what was before has been answered, and its pauses begin anew.
            trouble.over();
        }
        if trouble.is_worth_a_line() {
            tracing::warn!(error = %error, kind = %error.kind, "the store cannot be asked yet what it keeps");
        }
        trouble.pause(error.kind.needs_an_operator()).await;
        true
    }
}

fn tell(found: Promises) {
    if !found.conditions {
        tracing::warn!(
            "the store does not keep conditional puts: each key is looked at before its put, which is weaker"
        );
    }
    if !found.whole_checksums {
        tracing::warn!(
            "the store takes no checksum of a whole multipart upload: the parts' checksums vouch for them"
        );
    }
    if !found.right_checksums {
        tracing::warn!(
            "the store tells wrong checksums of its objects: they are known by their metadata and length"
        );
    }
}
