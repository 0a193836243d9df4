//! Making up for commits that the inbox lost: the buckets are listed until nothing can be missing.

use super::Reconciler;
use crate::clock::now_ms;
use crate::inbox::InboxError;

impl Reconciler {
    /// As long as a loss is marked, asks for a listing of every prefix at once, and for one more when what was too young
    /// for that one has come of age. Then takes the mark away.
    pub(super) async fn make_up_for_loss(&self) -> Result<(), InboxError> {
        let Some(loss) = self.inbox.loss().await? else { return Ok(()) };
        if loss.since_ms > now_ms() {
            // Or the listings from now on would seem to be from before it.
            return self.inbox.redate_loss(now_ms()).await;
        }
        let settled_ms = loss.since_ms + self.config.grace.as_millis() as i64;
        let listings = self.inbox.listings().await?;
        let mut is_whole = true;
        for bucket in self.stores.keys() {
            for prefix in &self.config.prefixes {
                let listing =
                    listings.iter().find(|known| known.bucket == *bucket && known.prefix == *prefix);
                let started_ms = listing.and_then(|listing| listing.started_ms).unwrap_or(i64::MIN);
                let finished_ms = listing.and_then(|listing| listing.finished_ms).unwrap_or(i64::MIN);
                if started_ms >= settled_ms && finished_ms >= started_ms {
                    continue;
                }
                is_whole = false;
                let asked = listing.is_some_and(|listing| listing.asked_ms.is_some());
                let due = started_ms < loss.since_ms || (started_ms < settled_ms && now_ms() >= settled_ms);
                if due && !asked {
                    self.inbox.ask_listing(bucket, prefix, now_ms()).await?;
                }
            }
        }
        if is_whole {
            self.inbox.made_up_for(loss).await?;
            tracing::info!(
                commits = loss.commits,
                foreign = self.config.foreign,
                "every bucket was listed since commits of the inbox were lost; objects that no agent wrote were looked for only with \
                 reconcile.foreign"
            );
        }
        Ok(())
    }
}
