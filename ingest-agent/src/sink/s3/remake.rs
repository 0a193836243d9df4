//! The bytes of a sealed cut made again: checked against what was recorded, and a new attempt if they differ.
//!
//! That happens when the staging log is lost or rotten, and when the channel has lost events of a cut since it was
//! sealed. The key stays; an object of any attempt is the cut's object (I5).

use std::sync::Arc;

use super::content::{Content, Mark};
use super::cut::{Attempt, BytesAt, Cut};
use super::error::S3SinkError;
use super::pack::Pack;
use super::positions::PositionSet;
use super::rows::{Filled, Rows};
use super::runs::Runs;
use super::shared::Shared;
use object_format::Codec;

/// Bytes between two looks at whether somebody else has work.
const STEP_BYTES: usize = 256 << 10;

/// Checks the bytes of `attempt`; if they are not what it says, makes a new one, which is not journalled yet.
///
/// Of a cut that `was_dead` the channel may have let go: if the kept bytes are lost, so are those events. Of any other
/// cut that cannot be.
pub(crate) async fn remake(
    shared: &Arc<Shared>,
    cut: &Arc<Cut>,
    attempt: &Attempt,
    was_dead: bool,
) -> Result<Option<Attempt>, S3SinkError> {
    if let Some(content) = Content::open(shared, cut, attempt)? {
        match content.measure(&Mark::default(), attempt.length).await {
            Ok((crc32c, _)) if crc32c == attempt.crc32c => return Ok(None),
            Err(error) if !error.is_loss() => return Err(error),
            _ => {}
        }
    }
    let codec = cut.codec.codec(shared.config.codec);
    let streamed = matches!(attempt.bytes, BytesAt::Channel);
    let mut lost = attempt.lost.clone();
    loop {
        let mut rows = Rows::new(shared.cursor(), Arc::clone(cut), Arc::new(lost.clone()));
        if was_dead {
            rows.take_gone_for_lost();
        }
        let damaged = if streamed {
            let (mut length, mut crc32c, mut slice) = (0, 0, Vec::new());
            loop {
                slice.clear();
                let filled = rows.fill(&mut slice, STEP_BYTES)?;
                length += slice.len() as u64;
                crc32c = crc32c::crc32c_append(crc32c, &slice);
                match filled {
                    Filled::More => tokio::task::yield_now().await,
                    Filled::End => {
                        return Ok(Some(Attempt { length, crc32c, lost, bytes: BytesAt::Channel }));
                    }
                    Filled::Damaged(run) => break run,
                }
            }
        } else {
            match pack_again(shared, &mut rows, codec).await? {
                Ok((length, crc32c, bytes)) => return Ok(Some(Attempt { length, crc32c, lost, bytes })),
                Err(damaged) => damaged,
            }
        };
        tracing::error!(
            cut = cut.number,
            from = damaged.start,
            to = damaged.end,
            "a sealed cut has lost events to damage"
        );
        lost = with(&lost, damaged);
    }
}

type Repacked = Result<(u64, u32, BytesAt), std::ops::Range<u64>>;

/// Encodes and compresses the cut into the staging log once more, synced.
async fn pack_again(shared: &Arc<Shared>, rows: &mut Rows, codec: Codec) -> Result<Repacked, S3SinkError> {
    let failed = || S3SinkError::io("staging a sealed cut again");
    let mut compressor = (shared.seams.compressors)(codec).map_err(failed())?;
    let (mut pack, mut slice) = (Pack::default(), Vec::new());
    loop {
        slice.clear();
        let filled = rows.fill(&mut slice, STEP_BYTES)?;
        // An object without events is still one that readers can open.
        if !slice.is_empty() || pack.length() == 0 {
            shared.packer().add_frame(&mut pack, &slice, &mut compressor).map_err(failed())?;
        }
        match filled {
            Filled::More => tokio::task::yield_now().await,
            Filled::End => {
                let mut packer = shared.packer();
                let packed = packer.finish(pack).map_err(failed())?;
                packer.staging.sync().map_err(failed())?;
                return Ok(Ok((packed.length, packed.crc32c, BytesAt::Staged(packed.extents))));
            }
            Filled::Damaged(run) => {
                shared.packer().discard(pack);
                return Ok(Err(run));
            }
        }
    }
}

fn with(lost: &Runs, run: std::ops::Range<u64>) -> Runs {
    let mut set = PositionSet::new(0);
    // Position 0 can be lost too, and everything below a set's watermark counts as held: shift by one.
    lost.iter().chain([run]).for_each(|run| set.insert(run.start + 1..run.end + 1));
    set.above().iter().map(|run| run.start - 1..run.end - 1).collect()
}
