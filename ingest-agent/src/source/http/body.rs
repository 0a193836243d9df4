//! A request's body on its way into a draft: within its limits, within its time, within the room there is.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::answer::Refusal;
use super::inflate::{Encoding, Limits};
use crate::decode::whole::Whole;
use crate::decode::{Decoder, Shape};
use crate::event::Draft;
use crate::source::intake::{Intake, Room};
use crate::source::key::Keyed;

/// How a body is to be received.
pub(super) struct Receiving<'a> {
    pub(super) intake: &'a Intake,
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
    /// The largest window of zstd.
    pub(super) max_zstd_window_bytes: u64,
    /// The most bytes of the body, as sent and when expanded.
    pub(super) limit: usize,
    pub(super) request_timeout: Duration,
    pub(super) room_timeout: Duration,
}

/// Room reserved for a body that does not say how long it is, until it turns out longer.
const UNKNOWN_BYTES: usize = 64 << 10;

/// Room for what a batch has beside its events.
const FRAME_BYTES: usize = 4 << 10;

impl Receiving<'_> {
    /// The events of `body`, and the room that they take; `keyed` is told the bytes that they are made of.
    pub(super) async fn receive(
        &self,
        body: &mut Incoming,
        keyed: Option<&mut Keyed>,
    ) -> Result<(Draft, Room), Refusal> {
        let received = tokio::time::timeout(self.request_timeout, self.receive_untimed(body, keyed)).await;
        received.map_err(|_| Refusal::TooSlow(self.request_timeout))?
    }

    async fn receive_untimed(
        &self,
        body: &mut Incoming,
        mut keyed: Option<&mut Keyed>,
    ) -> Result<(Draft, Room), Refusal> {
        let declared = body.size_hint().exact();
        if declared.is_some_and(|declared| declared > self.limit as u64) {
            return Err(self.too_large());
        }
        // A sender that is silent holds no room: the first bytes are there before room is asked for.
        let first = self.chunk(body).await?;
        let mut room = self.reserve(declared).await?;
        let mut draft = self.intake.draft();
        let expected_bytes = declared.map_or(0, |declared| declared as usize);
        let mut decoder = Decoder::new(self.shape, expected_bytes);
        let mut compressed = Whole::expecting(expected_bytes);
        let mut received = 0;
        let mut next = first;
        while let Some(chunk) = next {
            received += chunk.len();
            if received > self.limit {
                return Err(self.too_large());
            }
            if self.encoding == Encoding::Identity {
                if let Some(keyed) = &mut keyed {
                    keyed.feed(&chunk);
                }
                decoder.feed(chunk, &mut draft)?;
            } else {
                compressed.push(chunk);
            }
            self.grow(&mut room, &draft, &decoder, compressed.len_bytes())?;
            next = self.chunk(body).await?;
        }
        if self.encoding != Encoding::Identity {
            let held_bytes = compressed.len_bytes();
            let limits = Limits { bytes: self.limit, zstd_window_bytes: self.max_zstd_window_bytes };
            self.encoding.expand(compressed.into_bytes(), limits, |chunk| {
                if let Some(keyed) = &mut keyed {
                    keyed.feed(&chunk);
                }
                decoder.feed(chunk, &mut draft)?;
                self.grow(&mut room, &draft, &decoder, held_bytes)
            })?;
        }
        let held_bytes = decoder.held_bytes();
        decoder.finish(&mut draft)?;
        if !self.intake.grow(&mut room, held_bytes + draft.len_bytes()) {
            return Err(Refusal::NoRoom);
        }
        Ok((draft, room))
    }

    async fn chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
        while let Some(frame) = body.frame().await {
            // Trailers are no part of the body.
            if let Ok(chunk) = frame.map_err(|_| Refusal::BrokeOff)?.into_data() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    /// Waits for the room that the body will most likely take, not for ever.
    async fn reserve(&self, declared: Option<u64>) -> Result<Room, Refusal> {
        let likely = match (declared.map(|declared| declared as usize), self.encoding, self.shape) {
            (None, _, _) => UNKNOWN_BYTES,
            (Some(declared), Encoding::Gzip | Encoding::Zstd, _) => 8 * declared,
            // Lines are encoded as they come, and each adds a few bytes.
            (Some(declared), Encoding::Identity, Shape::JsonLines { .. } | Shape::TextLines) => {
                declared + declared / 8
            }
            // Everything else is kept whole until it is encoded.
            (Some(declared), Encoding::Identity, _) => declared * 5 / 2,
        };
        let reserved = self.intake.reserve(likely.min(self.limit * 5 / 2) + FRAME_BYTES);
        let reserved = tokio::time::timeout(self.room_timeout, reserved).await;
        // What fills the queue may be waiting for something that has run out: then that is the reason.
        reserved.map_err(|_| {
            self.intake.waits_for().map_or(Refusal::NoRoom, |short| Refusal::Append(short.into()))
        })
    }

    fn grow(&self, room: &mut Room, draft: &Draft, decoder: &Decoder, beside: usize) -> Result<(), Refusal> {
        let held_bytes = draft.len_bytes() + decoder.held_bytes() + beside;
        if self.intake.grow(room, held_bytes) { Ok(()) } else { Err(Refusal::NoRoom) }
    }

    fn too_large(&self) -> Refusal {
        Refusal::BodyTooLarge { limit: self.limit, expanded: false }
    }
}
