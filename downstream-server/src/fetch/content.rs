//! One object as a stream of decoded pieces whose end means "length and checksum are right".

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::{BlobStore, ByteStream, CONTROL, ObjectInfo};
use bytes::Bytes;
use contract::{MetadataError, ObjectKey, ObjectMetadata};
use futures_util::StreamExt as _;
use object_format::{Decoder, Rows, UnknownCoding};

use super::{FetchError, Lines, coding};
use crate::config::FetchConfig;
use crate::inbox::{Identity, Place};
use crate::reading::Reading;

/// Times that an object is taken up again within one attempt.
const RESUMES: u32 = 16;

/// What the bytes as stored have to be, as far as anybody says.
struct Told {
    length: Option<u64>,
    crc32c: Option<u32>,
}

/// An object being read. At most `read_ahead_bytes` and one piece of it are in memory.
pub struct Content {
    store: Arc<dyn BlobStore>,
    place: Place,
    limits: FetchConfig,
    info: ObjectInfo,
    metadata: Option<ObjectMetadata>,
    reading: Reading,
    body: ByteStream,
    /// Bytes as stored that were read while waiting for a turn.
    ahead: VecDeque<Bytes>,
    /// Whether the body's end has been seen.
    body_ended: bool,
    /// Bytes as stored that the store has sent.
    received: u64,
    /// Times that the body broke off.
    broken_off: u32,
    /// Time that the store was waited for.
    waited: Duration,
    decoder: Decoder,
    finished: bool,
    stored: u64,
    crc32c: u32,
    decoded: u64,
    lines: Lines,
}

impl Content {
    /// Asks the store for the object, checks what it says of it, and reads ahead.
    pub(crate) async fn open(
        store: Arc<dyn BlobStore>,
        place: &Place,
        limits: &FetchConfig,
    ) -> Result<Self, FetchError> {
        let asked = Instant::now();
        let object =
            within(limits.read_timeout, store.get(&place.key, place.version_id.as_deref(), None)).await??;
        let metadata = metadata(&place.key, &object.info)?;
        within_limit(object.info.length.unwrap_or_default(), limits)?;
        let codec = match &metadata {
            Some(metadata) => {
                metadata.codec.parse().map_err(|UnknownCoding(name)| FetchError::Codec(name))?
            }
            None => coding::of(&place.key, &object.info, limits.codec)?,
        };
        let decoder = Decoder::new(codec, limits.max_zstd_window)?;
        let mut content = Self {
            store,
            place: place.clone(),
            limits: limits.clone(),
            info: object.info,
            reading: Reading::of(metadata.as_ref()),
            metadata,
            body: object.body,
            ahead: VecDeque::new(),
            body_ended: false,
            received: 0,
            broken_off: 0,
            waited: asked.elapsed(),
            decoder,
            finished: false,
            stored: 0,
            crc32c: 0,
            decoded: 0,
            lines: Lines::default(),
        };
        content.read_ahead().await?;
        Ok(content)
    }

    /// The next decoded bytes, never empty and not large, or `None` once all have come and
    /// length and checksum were right.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.finished {
            let mut piece = match self.decoder.piece() {
                Ok(piece) => piece,
                Err(broken) => return Err(self.reason_of(broken.into()).await),
            };
            if piece.is_none() {
                if let Some(stored) = self.stored_next().await? {
                    self.decoder.feed(stored);
                    continue;
                }
                // The checksum comes first: what is wrong with the bytes as stored explains
                // what the decoder would say of them.
                self.verify().await?;
                self.finished = true;
                piece = Some(self.decoder.finish()?).filter(|last| !last.is_empty());
            }
            if let Some(piece) = &piece {
                self.decoded += piece.len() as u64;
                self.bound_expansion()?;
                self.lines.pass(piece);
            }
            if self.finished {
                self.verify_events()?;
            }
            if piece.is_some() {
                return Ok(piece);
            }
        }
        Ok(None)
    }

    /// What the agent wrote beside the object; `None` for objects that are not ours.
    pub fn metadata(&self) -> Option<&ObjectMetadata> {
        self.metadata.as_ref()
    }

    /// By what the object is to be taken apart.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Whether it is no object of events but one of an agent's own, such as the claim of a channel.
    pub(crate) fn is_control(&self) -> bool {
        // The claims of older agents bear no mark.
        self.info.metadata.contains_key(CONTROL) || self.place.key.starts_with("_sluicegate/")
    }

    /// What the store said about the object.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Events in the object: as the agent counted them, or, in objects that are not ours, the
    /// lines that have come so far.
    pub fn events(&self) -> u64 {
        self.metadata.as_ref().map_or_else(|| self.lines.count(), |metadata| metadata.events)
    }

    /// Bytes as stored that have come so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored
    }

    /// Bytes after decompression that have come so far.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded
    }

    /// The lines that have come so far.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The identity that the object itself tells: our metadata, or else what the store says.
    pub(crate) fn identity(&self) -> Identity {
        let version = self.info.version_id.as_deref().or(self.place.version_id.as_deref());
        if let Some(metadata) = &self.metadata {
            return Identity::of_metadata(metadata.clone()).stored_as(version, self.info.etag.as_deref());
        }
        Identity::of_object(&self.place.bucket, &self.place.key, version, self.info.etag.as_deref())
    }

    /// Whether it is the object that was told of, where only its `ETag` can say so: an object that
    /// is not ours, in a bucket without versions. This is `If-Match` for every store, also for
    /// those that do not know it; what has come of the other object is dropped unread.
    pub(crate) fn expect_etag(&self, told: Option<&str>) -> Result<(), FetchError> {
        let (Some(told), Some(found)) = (told, self.info.etag.as_deref()) else { return Ok(()) };
        let told = told.trim_matches('"');
        if self.metadata.is_some() || self.place.version_id.is_some() || told == found {
            return Ok(());
        }
        Err(FetchError::Overwritten { told: told.to_owned(), found: found.to_owned() })
    }

    async fn read_ahead(&mut self) -> Result<(), FetchError> {
        let mut room = self.limits.read_ahead_bytes;
        while room > 0
            && let Some(bytes) = self.body_next().await?
        {
            room = room.saturating_sub(bytes.len());
            self.ahead.push_back(bytes);
        }
        Ok(())
    }

    /// The next bytes as stored, counted and added to the checksum.
    async fn stored_next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let next = match self.ahead.pop_front() {
            Some(bytes) => Some(bytes),
            None => self.body_next().await?,
        };
        if let Some(bytes) = &next {
            self.stored += bytes.len() as u64;
            self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        }
        Ok(next)
    }

    /// Why bytes do not decode: if they are not those that were stored, that. Otherwise they never will.
    async fn reason_of(&mut self, broken: FetchError) -> FetchError {
        loop {
            match self.stored_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return error,
            }
        }
        self.verify().await.err().unwrap_or(broken)
    }

    /// The next bytes from the store. A connection that breaks off, perhaps because it waited
    /// long for its turn, is taken up where it ended: what was handed out stays right.
    async fn body_next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.body_ended {
            let asked = Instant::now();
            let next = within(self.limits.read_timeout, self.body.next()).await;
            self.waited += asked.elapsed();
            if self.waited > self.limits.timeout {
                return Err(FetchError::Slow(self.limits.timeout));
            }
            let error = match next {
                Ok(Some(Ok(bytes))) => {
                    self.received += bytes.len() as u64;
                    within_limit(self.received, &self.limits)?;
                    return Ok(Some(bytes));
                }
                Ok(None) => {
                    self.body_ended = true;
                    break;
                }
                Ok(Some(Err(error))) => FetchError::Read(error),
                Err(timeout) => timeout,
            };
            self.broken_off += 1;
            let rest = self.info.length.map(|length| self.received..length).filter(|rest| !rest.is_empty());
            let Some(rest) = rest.filter(|_| self.broken_off <= RESUMES) else { return Err(error) };
            tracing::debug!(%error, at = self.received, "taking the object up where it broke off");
            self.resume(rest, error).await?;
        }
        Ok(None)
    }

    async fn resume(&mut self, rest: Range<u64>, broken: FetchError) -> Result<(), FetchError> {
        let version = self.info.version_id.as_deref().or(self.place.version_id.as_deref());
        let get = self.store.get(&self.place.key, version, Some(rest));
        let object = within(self.limits.read_timeout, get).await??;
        // The key may hold another object by now; then the attempt has to begin anew.
        if (&object.info.etag, object.info.length) != (&self.info.etag, self.info.length) {
            return Err(broken);
        }
        self.body = object.body;
        Ok(())
    }

    /// A few bytes that become many are a bomb, or a mistake of whoever compressed them.
    fn bound_expansion(&self) -> Result<(), FetchError> {
        let FetchConfig { max_decoded_bytes, max_expansion, expansion_floor_bytes, .. } = self.limits;
        if self.decoded > max_decoded_bytes {
            return Err(FetchError::Expanded(max_decoded_bytes));
        }
        if self.decoded > expansion_floor_bytes && self.decoded / max_expansion > self.stored {
            return Err(FetchError::Bomb {
                stored: self.stored,
                decoded: self.decoded,
                limit: max_expansion,
            });
        }
        Ok(())
    }

    async fn verify(&mut self) -> Result<(), FetchError> {
        let told = match &self.metadata {
            Some(metadata) => Told { length: Some(metadata.length), crc32c: Some(metadata.crc32c) },
            None => self.told_by_the_store().await?,
        };
        if let Some(expected) = told.length
            && expected != self.stored
        {
            return Err(FetchError::Length { found: self.stored, expected });
        }
        if let Some(expected) = told.crc32c
            && expected != self.crc32c
        {
            return Err(FetchError::Checksum { found: self.crc32c, expected });
        }
        Ok(())
    }

    /// Where the agent says that lines are events, there are as many as it says (I10).
    fn verify_events(&self) -> Result<(), FetchError> {
        let Some(metadata) = self.metadata.as_ref().filter(|metadata| metadata.rows.is_some()) else {
            return Ok(());
        };
        let (found, expected) = (self.lines.count(), metadata.events);
        if self.reading == Reading::Rows(Rows::Events) && found != expected {
            return Err(FetchError::Events { found, expected });
        }
        Ok(())
    }

    /// What the store says of an object that is not ours. Of many it keeps no checksum of this kind, and
    /// an `ETag` is none: encryption and multipart uploads make another. An answer in chunks names no
    /// length; then a head may, or else the body's end is all there is.
    async fn told_by_the_store(&mut self) -> Result<Told, FetchError> {
        let length = self.info.length;
        // A length that is wrong already needs no further question.
        let asks = self.limits.verify_foreign && length.is_none_or(|length| length == self.stored);
        if !asks {
            return Ok(Told { length, crc32c: None });
        }
        let version = self.info.version_id.as_deref().or(self.place.version_id.as_deref());
        match within(self.limits.read_timeout, self.store.head(&self.place.key, version)).await? {
            Ok(info) if info.etag == self.info.etag => {
                Ok(Told { length: length.or(info.length), crc32c: info.crc32c })
            }
            // Another object is there by now; ours had come whole before.
            Ok(_) => Ok(Told { length, crc32c: None }),
            Err(error) if error.retry_can_help() => Err(error.into()),
            Err(error) => {
                tracing::debug!(%error, "the store does not tell the object's checksum");
                Ok(Told { length, crc32c: None })
            }
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("place", &self.place)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// Reads our metadata, if the object has it, and holds it against the cut that the key names.
fn metadata(key: &str, info: &ObjectInfo) -> Result<Option<ObjectMetadata>, FetchError> {
    let named = ObjectKey::cut_of(key);
    let ours = named.is_some() || info.metadata.keys().any(|name| name == "sluicegate-cut");
    if !ours {
        return Ok(None);
    }
    let metadata = ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str));
    match (named, metadata) {
        (Some(named), Err(MetadataError::Foreign)) => Err(FetchError::NotTheCut { named, found: None }),
        (_, Err(error)) => Err(error.into()),
        (Some(named), Ok(metadata)) if named != metadata.cut => {
            Err(FetchError::NotTheCut { named, found: Some(metadata.cut.to_string()) })
        }
        (_, Ok(metadata)) => Ok(Some(metadata)),
    }
}

fn within_limit(found: u64, limits: &FetchConfig) -> Result<(), FetchError> {
    let limit = limits.max_object_bytes;
    if found > limit { Err(FetchError::TooLarge { found, limit }) } else { Ok(()) }
}

async fn within<F: Future>(limit: Duration, work: F) -> Result<F::Output, FetchError> {
    tokio::time::timeout(limit, work).await.map_err(|_| FetchError::Timeout(limit))
}

#[cfg(test)]
mod tests;
