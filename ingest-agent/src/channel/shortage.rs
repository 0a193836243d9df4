//! Telling of what has run out: when a channel begins to refuse for it, while it lasts, and when it is over.

use std::time::Duration;

use durable_channel::Shortage;
use tokio::time::{Instant, sleep, timeout};

use super::ChannelHandle;

/// How often it is told that a shortage lasts.
const WHILE_IT_LASTS: Duration = Duration::from_secs(60);

/// The least between two lines: what runs out and comes back by turns is one story.
const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// Logs what `channel` lacks, for ever.
pub(crate) async fn tell(channel: ChannelHandle) {
    let mut progress = channel.progress();
    loop {
        let Some(shortage) = channel.channel().stats().shortage else {
            progress.changed().await;
            continue;
        };
        let began = Instant::now();
        warn(&channel, shortage, began);
        sleep(LEAST_PAUSE).await;
        let mut told = Instant::now();
        while let Some(shortage) = channel.channel().stats().shortage {
            // Progress is made of all kinds; only that of time is told.
            let _ = timeout(WHILE_IT_LASTS.saturating_sub(told.elapsed()), progress.changed()).await;
            if told.elapsed() >= WHILE_IT_LASTS {
                warn(&channel, shortage, began);
                told = Instant::now();
            }
        }
        let seconds = began.elapsed().as_secs();
        tracing::info!(channel = channel.name(), seconds, "the channel takes events again");
    }
}

fn warn(channel: &ChannelHandle, shortage: Shortage, began: Instant) {
    let seconds = began.elapsed().as_secs();
    tracing::warn!(
        channel = channel.name(),
        seconds,
        reason = %shortage,
        "the channel takes no events now; sinks go on, and it goes on by itself once that is over"
    );
}
