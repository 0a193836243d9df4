//! The reconciliation: lists the buckets and takes in every object that no notice told of.
//!
//! A notice can be lost before it reaches us; an object in the bucket cannot. So from time to
//! time, and whenever it is asked for, every configured prefix is listed from its first key to
//! its last, page by page. What the inbox does not know becomes owed as if it had been noticed
//! (a later notice of it is a repeat, I8). The position is kept with what was taken in, so that a
//! listing goes on after a crash where it was. At most one page is in memory, and pages come no
//! faster than configured. A page that cannot be read is asked for again at half its size, down to
//! the key that is at fault: that one is passed over, counted and told.
//!
//! After a loss of commits the buckets are listed at once: see `loss`.
//!
//! It also looks once at each place that names a done cut and is not where that was found: it may
//! hold something else, which would be a fork.

mod loss;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use blob_store::{BlobStore, ErrorKind, Listed, StoreError};
use contract::{Notice, ObjectKey, ObjectMetadata};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock::now_ms;
use crate::config::ReconcileConfig;
use crate::error::ApiError;
use crate::fetch::Stores;
use crate::inbox::{Inbox, InboxError, Listing, Suspect, Unknown};
use crate::notices::expect_json;
use crate::telemetry::Metrics;
use crate::workers::with_causes;

/// Objects on a page.
const PAGE: usize = 1000;

/// Suspects looked at before the next look at the clock.
const SUSPECTS: usize = 100;

/// Longest wait before the inbox is asked whether a listing is due.
const LOOK: Duration = Duration::from_secs(60);

/// What lists, and what for.
pub(crate) struct Reconciler {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stores: Stores,
    pub(crate) config: ReconcileConfig,
    pub(crate) metrics: Arc<Metrics>,
    /// Woken when somebody asks for a listing.
    pub(crate) asked: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum ListingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Inbox(#[from] InboxError),
    /// Or it would be asked for the same page for ever.
    #[error("the store's page goes on after {0:?}, where it began")]
    Stuck(String),
    #[error("the server stopped")]
    Stopped,
}

impl Reconciler {
    /// Lists whatever is due, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut buckets: Vec<_> = self.stores.keys().cloned().collect();
        buckets.sort_unstable();
        let pause = self.config.interval.map_or(LOOK, |interval| interval.min(LOOK));
        while !shutdown.is_cancelled() {
            if let Err(error) = self.make_up_for_loss().await {
                tracing::error!(%error, "asking the inbox whether it lost commits");
            }
            for bucket in &buckets {
                for prefix in &self.config.prefixes {
                    if let Err(error) = self.pass(bucket, prefix, &shutdown).await {
                        tracing::error!(%error, bucket, prefix, "asking the inbox about a listing");
                    }
                }
            }
            self.look_at_suspects(&shutdown).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.asked.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Lists one prefix if that is due.
    async fn pass(&self, bucket: &str, prefix: &str, shutdown: &CancellationToken) -> Result<(), InboxError> {
        let now = now_ms();
        // What never ended counts as ended in 1970.
        let due_before_ms = self.config.interval.map_or(-1, |interval| now - interval.as_millis() as i64);
        let Some(mut listing) = self.inbox.begin_listing(bucket, prefix, due_before_ms, now).await? else {
            return Ok(());
        };
        tracing::info!(bucket, prefix, after = listing.position, "listing the bucket");
        let ended = self.list(&mut listing, shutdown).await;
        let error = ended.err().map(|error| {
            let text = with_causes(&error);
            if !matches!(error, ListingError::Stopped) {
                self.metrics.reconcile_errors.inc();
                tracing::warn!(error = text, bucket, prefix, "the listing stopped; it goes on later");
            }
            text
        });
        if error.is_none() {
            let (listed, taken) = (listing.listed, listing.taken);
            tracing::info!(bucket, prefix, listed, taken, "the bucket is listed");
        }
        self.inbox.end_listing(listing, error, now_ms()).await
    }

    async fn list(&self, listing: &mut Listing, shutdown: &CancellationToken) -> Result<(), ListingError> {
        let Some(store) = self.stores.get(&listing.bucket) else { return Ok(()) };
        let made_ms = if self.config.whole { i64::MIN } else { self.inbox.made_ms().await? };
        let mut size = PAGE;
        loop {
            let started = Instant::now();
            let after = Some(&*listing.position).filter(|position| !position.is_empty());
            let page = tokio::select! {
                page = store.list(&listing.prefix, after, size) => page,
                () = shutdown.cancelled() => return Err(ListingError::Stopped),
            };
            let page = match page {
                Err(error) if error.kind == ErrorKind::ErrorIn200 && size > 1 => {
                    tracing::debug!(%error, size, "a page cannot be read; a smaller one is asked for");
                    size /= 2;
                    continue;
                }
                page => page?,
            };
            size = (size * 2).min(PAGE);
            for key in &page.unreadable {
                self.metrics.reconcile_passed_over.inc();
                tracing::warn!(bucket = listing.bucket, key, "a key that cannot be read is passed over");
            }
            let (count, truncated) = (page.objects.len(), page.truncated);
            match page.last() {
                Some(last) if last > &*listing.position => last.clone_into(&mut listing.position),
                _ if truncated => return Err(ListingError::Stuck(listing.position.clone())),
                _ => {}
            }
            let settled_ms = now_ms() - self.config.grace.as_millis() as i64;
            let noticeable = page
                .objects
                .into_iter()
                .filter_map(|object| self.noticeable(&listing.bucket, object, settled_ms, made_ms))
                .collect();
            let unknown = self.inbox.unknown(noticeable).await?;
            listing.listed += count as u64;
            let taken = self.inbox.list_page(listing.clone(), unknown, now_ms()).await?;
            listing.taken += taken;
            self.metrics.reconcile_listed.inc_by(count as u64);
            self.metrics.reconcile_taken.inc_by(taken);
            if !truncated {
                return Ok(());
            }
            let due = Duration::from_secs_f64(count as f64 / f64::from(self.config.objects_per_second));
            tokio::select! {
                () = tokio::time::sleep(due.saturating_sub(started.elapsed())) => {}
                () = shutdown.cancelled() => return Err(ListingError::Stopped),
            }
        }
    }

    /// What a notice of the object would have said, if the object is one to look for.
    fn noticeable(&self, bucket: &str, object: Listed, settled_ms: i64, made_ms: i64) -> Option<Unknown> {
        let stored_ms = object.last_modified.map(to_ms);
        // Its notice may still be on its way; the next listing sees the object again.
        if stored_ms.is_some_and(|stored_ms| stored_ms > settled_ms) {
            return None;
        }
        let ours = ObjectKey::cut_of(&object.key).is_some();
        let leave = stored_ms.is_some_and(|stored_ms| stored_ms < made_ms);
        if !ours && (leave || !self.config.foreign) {
            return None;
        }
        let time = stored_ms.and_then(|stored_ms| jiff::Timestamp::from_millisecond(stored_ms).ok());
        let notice = Notice {
            etag: object.etag,
            size: Some(object.length),
            event_time: time.map(|time| time.to_string()),
            ..Notice::new(bucket, object.key)
        };
        Some(Unknown { notice, leave })
    }

    async fn look_at_suspects(&self, shutdown: &CancellationToken) {
        loop {
            let suspects = match self.inbox.suspects(SUSPECTS).await {
                Ok(suspects) if suspects.is_empty() => return,
                Ok(suspects) => suspects,
                Err(error) => {
                    tracing::error!(%error, "asking the inbox for places to look at");
                    return;
                }
            };
            for suspect in suspects {
                if shutdown.is_cancelled() {
                    return;
                }
                if let Err(error) = self.look_at(suspect).await {
                    tracing::warn!(error = with_causes(&error), "looking at another place of a done cut");
                    return;
                }
            }
        }
    }

    async fn look_at(&self, suspect: Suspect) -> Result<(), ListingError> {
        let place = &suspect.place;
        let found = match self.stores.get(&place.bucket) {
            Some(store) => metadata(&**store, &place.key, place.version_id.as_deref()).await?,
            None => None,
        };
        self.inbox.cleared(suspect, found, now_ms()).await?;
        Ok(())
    }
}

/// What the object says about itself; `None` if there is none, or none of ours.
async fn metadata(
    store: &dyn BlobStore,
    key: &str,
    version: Option<&str>,
) -> Result<Option<ObjectMetadata>, StoreError> {
    match store.head(key, version).await {
        Ok(info) => Ok(ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str)).ok()),
        Err(error) if error.kind == ErrorKind::NoSuchKey || !error.retry_can_help() => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `POST /v1/reconcile`: lists every configured prefix now.
pub(crate) async fn ask(State(app): State<App>, headers: HeaderMap) -> Result<Response, ApiError> {
    expect_json(&headers)?;
    for bucket in &app.notices.buckets {
        for prefix in &app.reconcile.prefixes {
            app.inbox.ask_listing(bucket, prefix, now_ms()).await?;
        }
    }
    app.asked.notify_one();
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "asked" }))).into_response())
}

/// `GET /v1/reconcile`: how far each prefix has been listed.
pub(crate) async fn show(State(app): State<App>) -> Result<Response, ApiError> {
    let listings = app.inbox.listings().await?;
    Ok(Json(json!({ "now_ms": now_ms(), "listings": listings })).into_response())
}

#[cfg(test)]
pub(crate) mod tests;
