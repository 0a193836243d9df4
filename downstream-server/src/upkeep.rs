//! What has to be done from time to time: drop old rows, and say when cuts are missing for too
//! long.

use std::time::Duration;

use crate::app::App;
use crate::clock::now_ms;
use crate::config::RetentionConfig;
use crate::inbox::{InboxError, Keep};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(60);

/// The rounds over one inbox.
pub(crate) struct Upkeep {
    pub(crate) app: App,
    pub(crate) retention: RetentionConfig,
}

impl Upkeep {
    /// Makes its rounds until it is dropped: whatever it does may be cut short at any moment.
    pub(crate) async fn run(self) {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut alarmed = false;
        loop {
            round.tick().await;
            if let Err(error) = self.drop_done(now_ms()).await {
                tracing::error!(%error, "dropping rows of done objects");
            }
            match self.app.inbox.gaps(self.app.reconcile.whole).await {
                Ok(gaps) => {
                    let alarm = self.app.missing_too_long(&gaps);
                    if alarm && !alarmed {
                        tracing::error!(
                            cuts = gaps.missing_cuts,
                            "cuts are missing for too long; see /v1/continuity"
                        );
                    }
                    alarmed = alarm;
                }
                Err(error) => tracing::error!(%error, "looking for missing cuts"),
            }
        }
    }

    /// Drops what is too old or too many.
    pub(crate) async fn drop_done(&self, now_ms: i64) -> Result<(), InboxError> {
        let age_ms = i64::try_from(self.retention.age.as_millis()).unwrap_or(i64::MAX);
        let keep = Keep { after_ms: now_ms.saturating_sub(age_ms), rows: self.retention.rows };
        while self.app.inbox.drop_done(keep).await? {}
        Ok(())
    }
}
