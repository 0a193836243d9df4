//! A cut that is too large for one put: parts of one size, in order, each measured and then sent.
//!
//! The upload's id is journalled before the first part, so that a later start can abort it. Parts are read
//! twice, once for the checksum that the request carries and once to be sent: no part is ever whole in memory.

use blob_store::{ErrorKind, Operation, UploadId};

use super::{Found, Upload};
use crate::sink::s3::answers::{Asked, Step, Then};
use crate::sink::s3::content::{Content, Mark};
use crate::sink::s3::cut::Attempt;
use crate::sink::s3::error::S3SinkError;
use crate::sink::s3::state::Record;
use crate::sink::s3::trouble::Trouble;

/// S3's limit.
const MOST_PARTS: u64 = 10_000;

/// The size of the parts of an object: as configured, or larger if there would be too many.
pub(crate) fn part_bytes(configured: u64, length: u64) -> u64 {
    configured.max(length.div_ceil(MOST_PARTS)).max(1)
}

impl Upload {
    /// Sends the attempt in parts. The step is never `Go`.
    pub(super) async fn multipart(
        &mut self,
        attempt: &Attempt,
        content: &Content,
    ) -> Result<Step, S3SinkError> {
        let options = self.options(attempt);
        self.shared.reach("before_create")?;
        let created = self.store.create_upload(&self.cut.key, &options).await;
        self.shared.reach("after_create")?;
        match self.step(Asked::Create, &created) {
            Step::Go => {}
            step => return Ok(step),
        }
        let Ok(upload) = created else { return Ok(Step::Again { alarm: false }) };
        self.shared.commit(vec![Record::Upload(self.cut.number, upload.0.clone())])?;
        self.shared.reach("after_upload_recorded")?;

        let step = match self.parts(attempt, content, &upload).await? {
            Ok(parts) => self.complete(attempt, &upload, &parts).await?,
            Err(step) => step,
        };
        if step != Step::Done {
            self.abort(&upload).await?;
        }
        Ok(step)
    }

    /// Sends every part; the inner error is the step that ends this upload.
    async fn parts(
        &mut self,
        attempt: &Attempt,
        content: &Content,
        upload: &UploadId,
    ) -> Result<Result<Vec<blob_store::Part>, Step>, S3SinkError> {
        let size = part_bytes(self.shared.config.part_bytes, attempt.length);
        let (mut parts, mut mark, mut left) = (Vec::new(), Mark::default(), attempt.length);
        let (mut whole, mut trouble) = (0, Trouble::new(&self.shared));
        while left > 0 {
            let length = left.min(size);
            let number = i32::try_from(parts.len() + 1).expect("there are at most 10,000 parts");
            let Ok((crc32c, after)) = content.measure(&mark, length).await else {
                return Ok(Err(Step::Remake));
            };
            let part = loop {
                let body = content.body(&mark, length);
                self.shared.reach("before_part")?;
                let answer = self.store.upload_part(&self.cut.key, upload, number, body, crc32c).await;
                self.shared.reach("after_part")?;
                match (self.step(Asked::Part, &answer), answer) {
                    (Step::Go, Ok(part)) => break part,
                    (Step::Again { alarm }, _) => trouble.pause(alarm).await,
                    (step, _) => return Ok(Err(step)),
                }
            };
            trouble.over();
            parts.push(part);
            whole = crc32c::crc32c_combine(whole, crc32c, length as usize);
            (mark, left) = (after, left - length);
        }
        // The parts vouch for what was read, not for what was recorded, and the store may check nothing else.
        Ok(if whole == attempt.crc32c { Ok(parts) } else { Err(Step::Remake) })
    }

    async fn complete(
        &mut self,
        attempt: &Attempt,
        upload: &UploadId,
        parts: &[blob_store::Part],
    ) -> Result<Step, S3SinkError> {
        let (options, mut trouble) = (self.options(attempt), Trouble::new(&self.shared));
        loop {
            self.shared.reach("before_complete")?;
            let answer = self.store.complete_upload(&self.cut.key, upload, parts, &options).await;
            self.shared.reach("after_complete")?;
            match self.step(Asked::Complete, &answer) {
                Step::Again { alarm } => trouble.pause(alarm).await,
                Step::Look(Then::Complete) => match self.look(Then::Complete).await? {
                    Found::Nothing(_) => {
                        let alarm = answer.is_err_and(|error| error.kind.needs_an_operator());
                        trouble.pause(alarm).await;
                    }
                    // What was found is looked up again by the caller, who knows what to do with it.
                    Found::Equal(_) | Found::Other => return Ok(Step::Look(Then::Restart)),
                },
                step => return Ok(step),
            }
        }
    }

    /// Tells the store to forget the upload. What cannot be aborted now is found by the next start.
    async fn abort(&mut self, upload: &UploadId) -> Result<(), S3SinkError> {
        self.shared.reach("before_abort")?;
        let answer = self.store.abort_upload(&self.cut.key, upload).await;
        self.shared.reach("after_abort")?;
        debug_assert!(answer.as_ref().err().is_none_or(|error| error.operation == Operation::AbortUpload));
        if let Err(error) = &answer
            && error.kind != ErrorKind::NoSuchUpload
        {
            self.note(&answer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::part_bytes;

    #[test]
    fn an_object_never_has_more_than_ten_thousand_parts() {
        const MIB: u64 = 1 << 20;
        assert_eq!(part_bytes(16 * MIB, 65 * MIB), 16 * MIB);
        assert_eq!(part_bytes(16 * MIB, 160_000 * MIB), 16 * MIB);
        let grown = part_bytes(16 * MIB, 160_000 * MIB + 1);
        assert!(grown > 16 * MIB && (160_000 * MIB + 1).div_ceil(grown) <= 10_000);
    }
}
