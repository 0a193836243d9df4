//! What the `logger` and `null` sinks share: read in order, hand each frame over, release, settle.
//!
//! They keep nothing beyond the reader's released position, so their totals count from the
//! start of the process, and after a crash they see again what was not released.

use std::time::Duration;

use durable_channel::Item;

use super::{FlushReport, FlushRequest, SinkContext, SinkError};

/// Frames between two releases: a release is a synced write, a flush should not wait for a whole backlog.
const FRAMES_PER_RELEASE: usize = 256;

/// How long reading rests when there is no descriptor for the next segment.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Hands every event of the channel to `each(first position, count, arrival in ms, payload)` until shutdown, and
/// then what is left in the channel.
pub(super) async fn drain(
    mut ctx: SinkContext,
    mut each: impl FnMut(u64, u32, u64, &[u8]),
) -> Result<(), SinkError> {
    let mut position = ctx.reader.released();
    ctx.metrics.update_totals(|totals| totals.origin = position);
    let mut waiting: Vec<FlushRequest> = Vec::new();
    loop {
        // Taken before reading: what is synced between the last read and the wait wakes us at once.
        let mut progress = ctx.channel.progress();
        let stopping = ctx.shutdown.is_cancelled();
        let reached = match read_some(&mut ctx, position, &mut each) {
            Err(SinkError::Read(error)) if error.is_shortage() => {
                tracing::warn!(%error, "the channel cannot be read now; reading it again in a moment");
                tokio::time::sleep(READ_AGAIN).await;
                continue;
            }
            reached => reached?,
        };
        let more = reached > position;
        position = reached;
        waiting = answer(waiting, position);
        if more {
            continue;
        }
        if stopping {
            return Ok(());
        }
        tokio::select! {
            () = progress.changed() => {}
            () = ctx.shutdown.cancelled() => {}
            Some(request) = ctx.flush.recv() => waiting.push(request),
        }
    }
}

/// Reads a bounded number of frames, releases once, and returns where it got to.
fn read_some(
    ctx: &mut SinkContext,
    from: u64,
    each: &mut impl FnMut(u64, u32, u64, &[u8]),
) -> Result<u64, SinkError> {
    let (mut position, mut damaged) = (from, 0);
    for _ in 0..FRAMES_PER_RELEASE {
        let Some(item) = ctx.reader.read(position)? else { break };
        match item {
            Item::Frame { first, count, arrival_ms, payload } => {
                each(first, count, arrival_ms, payload);
                position = first + u64::from(count);
            }
            Item::Damaged { first, count } => {
                damaged += count;
                position = first + count;
            }
        }
    }
    if position > from {
        ctx.reader.release(position).map_err(SinkError::Release)?;
        ctx.metrics.update_totals(|totals| {
            totals.settled += position - from;
            totals.shipped += position - from - damaged;
            totals.damaged += damaged;
        });
    }
    Ok(position)
}

fn answer(waiting: Vec<FlushRequest>, position: u64) -> Vec<FlushRequest> {
    let (done, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|request| request.upto <= position);
    for request in done {
        // A waiter that went away needs no answer.
        let _ = request.reply.send(FlushReport::default());
    }
    waiting
}
