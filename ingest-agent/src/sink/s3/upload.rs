//! One sealed cut on its way into the store, until it is done, set aside, or found to be a fork.
//!
//! [`answers`] decides; here its steps are taken. Nothing is given up: a request that may succeed later is sent again for as long as
//! the sink runs.

mod multipart;

use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore, ErrorKind, ObjectInfo, PutOptions, StoreError};
use command_line::AGENT;
use contract::{CutId, ObjectMetadata};

use super::answers::{self, Answer, Asked, Step, Then};
use super::content::{Content, Keeping, Mark};
use super::cut::{Attempt, BytesAt, Cut};
use super::error::S3SinkError;
use super::remake;
use super::shared::Shared;
use super::state::Record;
use super::trial;
use super::trouble::Trouble;

/// How a cut's way ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// The store holds it as this attempt.
    Stored {
        /// Which of the cut's attempts.
        attempt: u64,
    },
    /// The store will never take it; these are its kept bytes and the store's answer.
    SetAside {
        /// Where its bytes are kept.
        attempt: Attempt,
        /// What the store said.
        reason: String,
    },
}

/// One cut being sent.
pub(crate) struct Upload {
    shared: Arc<Shared>,
    store: Arc<dyn BlobStore>,
    cut: Arc<Cut>,
    attempts: Vec<Attempt>,
    /// What makes the cut be sent from the beginning again and again, and what the log was told of it.
    trouble: Trouble,
    /// The last no to a request that would store something.
    refusal: Option<Refusal>,
}

/// A no of the store.
struct Refusal {
    kind: ErrorKind,
    text: String,
}

/// What a look at the key found.
enum Found {
    /// The object of this attempt.
    Equal(u64),
    /// Nothing; and what is to be done then.
    Nothing(Then),
    /// Another object.
    Other,
}

/// What a look at the key may see.
enum Seen {
    /// The object of this attempt.
    Equal(u64),
    /// An object that says to be this attempt's, and is not: how it differs.
    Mangled(String),
    /// Another object.
    Other,
}

impl Upload {
    /// Prepares to send the pending cut `number`.
    pub(crate) fn new(shared: &Arc<Shared>, number: u64) -> Option<Self> {
        let pending = shared.ledger().state().pending.get(&number)?.clone();
        Some(Self {
            shared: Arc::clone(shared),
            store: shared.bucket(&pending.cut.bucket),
            cut: pending.cut,
            attempts: pending.attempts,
            trouble: Trouble::new(shared),
            refusal: None,
        })
    }

    /// Sends it, for as long as it takes. What has run out here (descriptors, room on the disk) is waited for too.
    pub(crate) async fn ship(mut self) -> Result<Shipped, S3SinkError> {
        loop {
            match self.try_to_ship().await {
                Err(error) if error.is_shortage() => {
                    if self.trouble.is_worth_a_line() {
                        tracing::warn!(
                            cut = self.cut.number,
                            error = &error as &dyn std::error::Error,
                            "a cut cannot be sent now; trying again until it can"
                        );
                    }
                    self.trouble.pause(false).await;
                }
                ended => return ended,
            }
        }
    }

    async fn try_to_ship(&mut self) -> Result<Shipped, S3SinkError> {
        loop {
            let attempt = self.newest().clone();
            let Some(content) = Content::open(&self.shared, &self.cut, &attempt)? else {
                self.remake().await?;
                continue;
            };
            if !self.shared.promises().conditions {
                match self.look(Then::Restart).await? {
                    Found::Nothing(_) => {}
                    Found::Equal(attempt) => return Ok(Shipped::Stored { attempt }),
                    Found::Other => {
                        self.fork()?;
                        continue;
                    }
                }
            }
            let step = if attempt.length <= self.shared.config.put_limit_bytes {
                self.put(&attempt, &content).await?
            } else {
                self.multipart(&attempt, &content).await?
            };
            if let Some(shipped) = self.take(step).await? {
                return Ok(shipped);
            }
        }
    }

    /// Takes a step that ends a request or an upload; `None`: send the cut from the beginning.
    async fn take(&mut self, mut step: Step) -> Result<Option<Shipped>, S3SinkError> {
        loop {
            step = match step {
                Step::Done => {
                    self.tell_if_late();
                    let attempt = self.attempts.len() as u64 - 1;
                    return Ok(Some(Shipped::Stored { attempt }));
                }
                Step::Look(then) => match self.look(then).await? {
                    Found::Equal(attempt) => return Ok(Some(Shipped::Stored { attempt })),
                    Found::Nothing(then) => Step::Absent(then),
                    Found::Other => Step::Fork,
                },
                Step::Absent(Then::SetAside) => match self.set_aside().await? {
                    Some(shipped) => return Ok(Some(shipped)),
                    None => Step::Again { alarm: true },
                },
                Step::Absent(Then::Restart | Then::Complete) => {
                    self.tell_contradiction();
                    let alarm = self.refusal.as_ref().is_some_and(|no| no.kind.needs_an_operator());
                    self.trouble.pause(alarm).await;
                    return Ok(None);
                }
                Step::Again { alarm } => {
                    self.trouble.pause(alarm).await;
                    return Ok(None);
                }
                Step::Remake => {
                    self.remake().await?;
                    self.trouble.pause(false).await;
                    return Ok(None);
                }
                Step::Go => return Ok(None),
                Step::Fork => {
                    self.fork()?;
                    return Ok(None);
                }
            };
        }
    }

    async fn put(&mut self, attempt: &Attempt, content: &Content) -> Result<Step, S3SinkError> {
        let body = content.body(&Mark::default(), attempt.length);
        let options = self.options(attempt);
        self.shared.reach("before_put")?;
        let answer = self.store.put_if_absent(&self.cut.key, body, &options).await;
        self.shared.reach("after_put")?;
        Ok(self.step(Asked::Put, &answer))
    }

    /// Looks what the key holds, again and again until the store says.
    async fn look(&mut self, then: Then) -> Result<Found, S3SinkError> {
        let mut trouble = Trouble::new(&self.shared);
        loop {
            let looked = self.store.head(&self.cut.key, None).await;
            self.shared.reach("after_look")?;
            self.note(&looked);
            let seen = looked.as_ref().map(|info| self.seen(info));
            let answer = match &seen {
                Err(error) => Answer::Failed(error.kind),
                Ok(Seen::Equal(_)) => Answer::Equal,
                Ok(Seen::Mangled(_)) => Answer::Mangled,
                Ok(Seen::Other) => Answer::Different,
            };
            if let Ok(Seen::Mangled(how)) = &seen
                && self.trouble.is_worth_a_line()
            {
                tracing::error!(cut = %self.cut.id(&self.shared.name), key = %self.cut.key, how, "the store shows this cut's object otherwise than it was sent; nothing is concluded from that");
            }
            match (answers::next(Asked::Look(then), answer), seen) {
                (Step::Done, Ok(Seen::Equal(attempt))) => return Ok(Found::Equal(attempt)),
                (Step::Absent(then), _) => return Ok(Found::Nothing(then)),
                (Step::Again { alarm }, _) => trouble.pause(alarm).await,
                _ => return Ok(Found::Other),
            }
        }
    }

    /// Which attempt an object is: by cut, length and checksum in its metadata, its length, and the checksum
    /// that the store keeps, if it keeps the right ones. Never by its ETag.
    fn seen(&self, info: &ObjectInfo) -> Seen {
        let found = ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str));
        let Ok(found) = found else { return Seen::Other };
        let is = |attempt: &Attempt| {
            found.cut == self.cut.id(&self.shared.name)
                && (found.length, found.crc32c) == (attempt.length, attempt.crc32c)
        };
        let Some(index) = self.attempts.iter().rposition(is) else { return Seen::Other };
        if let Some(length) = info.length
            && length != found.length
        {
            return Seen::Mangled(format!("{length} bytes instead of {}", found.length));
        }
        match info.crc32c.filter(|_| self.shared.promises().right_checksums) {
            Some(crc) if crc != found.crc32c => {
                Seen::Mangled(format!("its CRC32C is {crc:08x} instead of {:08x}", found.crc32c))
            }
            _ => Seen::Equal(index as u64),
        }
    }

    /// Makes the bytes of the cut again as a new recorded attempt, if they are not what was recorded.
    async fn remake(&mut self) -> Result<(), S3SinkError> {
        let was_dead = self.attempts.iter().any(|attempt| attempt.bytes == BytesAt::Kept);
        if let Some(attempt) = remake::remake(&self.shared, &self.cut, self.newest(), was_dead).await? {
            let number = self.cut.number;
            tracing::warn!(
                cut = number,
                "the bytes of a sealed cut were lost and made again as a new attempt"
            );
            self.shared.reach("before_attempt")?;
            self.shared.commit(vec![Record::Attempt(number, attempt.clone())])?;
            self.shared.reach("after_attempt")?;
            self.attempts.push(attempt);
        }
        Ok(())
    }

    /// Keeps the bytes of a cut that the store will never take; `None` if there is no room for them, or if they
    /// had to be made again. The channel lets go of them afterwards, so only bytes that were checked count.
    async fn set_aside(&mut self) -> Result<Option<Shipped>, S3SinkError> {
        if !self.is_this_object_alone().await {
            return Ok(None);
        }
        let newest = self.newest();
        let reason = self.refusal.as_ref().map(|no| no.text.clone()).unwrap_or_default();
        let dead: u64 = self.shared.ledger().state().dead().map(|dead| dead.attempts[0].length).sum();
        let Some(path) = self.shared.kept(self.cut.number) else {
            // Beside a memory channel there is no place to keep them, and to wait for ever would hold back the rest.
            return Ok(Some(Shipped::SetAside { attempt: newest.clone(), reason }));
        };
        if dead + newest.length > self.shared.config.staging_bytes {
            tracing::error!("no room for another dead cut; replay or drop some with `{AGENT} dead`");
            return Ok(None);
        }
        let Some(content) = Content::open(&self.shared, &self.cut, newest)? else { return Ok(None) };
        self.shared.reach("before_keep")?;
        match content.keep(&*self.shared.seams.disk, &path, newest).await? {
            Keeping::Kept => {}
            Keeping::OtherBytes => {
                self.remake().await?;
                return Ok(None);
            }
            Keeping::NoRoom => {
                tracing::error!("the disk has no room for a dead cut; trying again until it has");
                return Ok(None);
            }
        }
        let attempt = Attempt { bytes: BytesAt::Kept, ..newest.clone() };
        Ok(Some(Shipped::SetAside { attempt, reason }))
    }

    /// Whether what the store refuses is this object, and not whatever is sent to it in this manner. What cannot be told
    /// is taken for the latter: it costs time, and the other way round each cut would be set aside.
    async fn is_this_object_alone(&mut self) -> bool {
        if self.refusal.as_ref().is_none_or(|no| no.kind != ErrorKind::Rejected) {
            return true;
        }
        let cut = self.cut.id(&self.shared.name);
        let taken = match &self.shared.config.control_prefix {
            None => Ok(false),
            Some(prefix) => {
                let key = format!("{}/trials/{cut}", prefix.trim_end_matches('/'));
                let manner = self.options(self.newest());
                let in_parts = self.newest().length > self.shared.config.put_limit_bytes;
                self.shared.metrics.requests.inc();
                trial::is_taken(&*self.store, &key, &manner, in_parts).await
            }
        };
        if !matches!(taken, Ok(true)) && self.trouble.is_worth_a_line() {
            let refusal = self.refusal.as_ref().map(|no| no.text.as_str()).unwrap_or_default();
            tracing::error!(%cut, refusal, "the store refuses what this sink sends, not this object alone; a setting has to be put right (storage_class, tags, multipart_checksum, conditional), and nothing is shipped before");
        }
        taken.unwrap_or(false)
    }

    /// A key that is taken for the put and empty for the look, or an upload that is gone and has come to nothing: each
    /// of the two answers is nothing to tell of, both together are.
    fn tell_contradiction(&mut self) {
        let Some(refusal) = self.refusal.as_ref().filter(|no| is_expected(no.kind)) else { return };
        if self.trouble.is_worth_a_line() {
            tracing::warn!(cut = %self.cut.id(&self.shared.name), key = %self.cut.key, refusal = refusal.text, "the store refused the cut as if it had it, and shows nothing under its key; it is sent again");
        }
    }

    /// The store has just taken what it may have held and forgotten: an earlier answer may have been lost.
    fn tell_if_late(&self) {
        let age = Duration::from_millis(wall_clock::now_ms().saturating_sub(self.cut.sealed_ms));
        if age > self.shared.config.retry_horizon {
            self.shared.metrics.cuts_late.inc();
            tracing::error!(cut = %self.cut.id(&self.shared.name), key = %self.cut.key, age_s = age.as_secs(), "stored a cut that is older than retry_horizon: if its object was stored and deleted or expired meanwhile, it is there again");
        }
    }

    fn options(&self, attempt: &Attempt) -> PutOptions {
        PutOptions {
            content_type: self.cut.content_type.clone(),
            content_encoding: self.cut.content_encoding.clone(),
            metadata: self.cut.metadata(&self.shared.name, attempt).to_pairs(),
            crc32c: attempt.crc32c,
            conditional: self.shared.promises().conditions,
            composite: !self.shared.promises().whole_checksums,
        }
    }

    fn newest(&self) -> &Attempt {
        self.attempts.last().expect("a sealed cut has an attempt")
    }

    fn step<T>(&mut self, asked: Asked, answer: &Result<T, StoreError>) -> Step {
        self.note(answer);
        if let Err(error) = answer {
            self.refusal = Some(Refusal { kind: error.kind, text: error.to_string() });
        }
        answers::next(asked, answer.as_ref().map_or_else(|error| Answer::Failed(error.kind), |_| Answer::Ok))
    }

    /// Counts an answer, and says in the log what it was if it is a no that is not expected.
    fn note<T>(&mut self, answer: &Result<T, StoreError>) {
        self.shared.metrics.requests.inc();
        if let Err(error) = answer
            && !is_expected(error.kind)
            && self.trouble.is_worth_a_line()
        {
            tracing::warn!(cut = %self.cut.id(&self.shared.name), error = %error, kind = %error.kind, "the store did not do as asked");
        }
    }

    /// The key holds something else, and no attempt of ours ever came to be there. The sink stops, unless the channel
    /// was adopted since the seal: then the other one is who this channel was once, and the cut goes on under the
    /// channel's own identity.
    fn fork(&mut self) -> Result<(), S3SinkError> {
        let (cut, channel) = (self.cut.id(&self.shared.name), self.shared.channel);
        let key = self.cut.key.rsplit_once(&cut.to_string()).filter(|_| cut.channel != channel);
        let Some((before, extension)) = key else {
            return Err(S3SinkError::Fork {
                cut,
                bucket: self.cut.bucket.clone(),
                key: self.cut.key.clone(),
            });
        };
        let key = format!("{before}{}{extension}", CutId { channel, ..cut.clone() });
        tracing::warn!(%cut, %key, "another agent has stored a cut of this number; it is sent under the adopted identity");
        self.shared.commit(vec![Record::Moved(cut.number, channel, key.clone())])?;
        self.cut = Arc::new(Cut { channel, key, ..Cut::clone(&self.cut) });
        Ok(())
    }
}

/// Answers that a lost one before them explains.
fn is_expected(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PreconditionFailed | ErrorKind::NoSuchKey)
}
