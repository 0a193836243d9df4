//! A cut: what one object holds, sealed; and its attempts, the encodings of it that may have become visible.
//!
//! Everything that the object's key and bytes depend on stands here (I4): after the seal neither configuration nor
//! clock nor time zone is asked again. Byte-exact, with the shapes of `wire` (number, text, bytes, checksum, list)
//! and of `runs`:
//!
//! ```text
//! cut      number      its number
//!          16 bytes    channel id
//!          u8          kind: 0 events, 1 dead letters
//!          text        bucket
//!          text        key
//!          text        format
//!          text        codec
//!          text        content type
//!          text        content encoding; empty for none
//!          form        from version 2 of the record on; see `form`
//!          runs        the positions
//!          list        reasons, for dead letters: number, the last position it is the reason of; u8 reason
//!          number      when it was sealed, in milliseconds since the epoch
//!          3 numbers   events, dead-lettered, damaged: running totals of this channel and sink with this cut
//!
//! attempt  number      length in bytes
//!          checksum    CRC32C of all bytes
//!          runs        positions of the cut that it lacks, because damage of the channel took them
//!          u8          where its bytes are: 0 in the channel, 1 in the staging log, 2 in the folder of dead cuts
//!          list        extents in the staging log, in order: numbers file, offset, length
//! ```

use contract::{ChannelId, CutId, CutKind, ObjectMetadata, SinkName};

use super::form::{self, CutCodec, Form};
use super::runs::Runs;
use super::wire::{Malformed, Take, put_bytes, put_crc, put_number, put_numbers};

/// What one object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Dense per channel and sink, from 1.
    pub number: u64,
    /// The channel's id when it was sealed.
    pub channel: ChannelId,
    /// The bucket that the object goes to.
    pub bucket: String,
    /// Its rendered key.
    pub key: String,
    /// What it holds, and how that is laid into the object.
    pub form: Form,
    /// How the object is compressed.
    pub codec: CutCodec,
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// The positions of its events.
    pub runs: Runs,
    /// For dead letters: why, each up to and with a position.
    pub reasons: Vec<(u64, Reason)>,
    /// When it was sealed, in milliseconds since the epoch; says how long ago it may have been sent.
    pub sealed_ms: u64,
    /// The running totals up to and with this cut.
    pub totals: Sums,
}

/// Positions by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// In objects of events.
    pub events: u64,
    /// In objects of dead letters, or in cuts that were set aside whole.
    pub dead_lettered: u64,
    /// Lost to damage of the channel.
    pub damaged: u64,
}

/// Why an event could not go where it belonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is larger than an event may be.
    TooLarge,
    /// Its partition would make a key that S3 does not take.
    KeyTooLong,
    /// It lacks a value of the partition template, and there shall be no fallback.
    Unresolved,
}

/// One encoding of a cut, recorded before any request that could make it visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Bytes of the object.
    pub length: u64,
    /// CRC32C of the object.
    pub crc32c: u32,
    /// Positions of the cut that it lacks because of damage.
    pub lost: Runs,
    /// Where its bytes are.
    pub bytes: BytesAt,
}

/// Where the bytes of an attempt are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BytesAt {
    /// They are the encoded events, read from the channel again.
    Channel,
    /// In these extents of the staging log, one after the other.
    Staged(Vec<Extent>),
    /// In the file that was written when the cut was set aside.
    Kept,
}

/// A piece of the staging log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The file's number.
    pub file: u64,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl Extent {
    /// Takes the first `length` bytes off.
    pub(crate) fn take_front(&mut self, length: u64) -> Self {
        let front = Self { length, ..*self };
        self.offset += length;
        self.length -= length;
        front
    }
}

impl Cut {
    /// Its id under the name of its sink.
    pub(crate) fn id(&self, sink: &SinkName) -> CutId {
        CutId { channel: self.channel, sink: sink.clone(), number: self.number }
    }

    /// Whether it holds events or dead letters.
    pub(crate) fn kind(&self) -> CutKind {
        self.form.kind()
    }

    /// What the object of `attempt` says about itself.
    pub(crate) fn metadata(&self, sink: &SinkName, attempt: &Attempt) -> ObjectMetadata {
        let events = self.runs.count() - attempt.lost.count();
        ObjectMetadata {
            version: ObjectMetadata::VERSION,
            cut: self.id(sink),
            kind: self.kind(),
            events,
            first: self.runs.first(),
            last: self.runs.last(),
            set_aside: if self.kind() == CutKind::Dead { events } else { 0 },
            total_events: self.totals.events,
            total_dead_lettered: self.totals.dead_lettered,
            total_damaged: self.totals.damaged,
            length: attempt.length,
            crc32c: attempt.crc32c,
            format: self.form.format().name().to_owned(),
            format_version: self.form.format().version(),
            rows: self.form.rows().map(|rows| rows.name().to_owned()),
            codec: self.codec.coding().name().to_owned(),
        }
    }

    /// Why the event at `position` is a dead letter, if it is one.
    pub(crate) fn reason_of(&self, position: u64) -> Option<Reason> {
        let index = self.reasons.partition_point(|&(last, _)| last < position);
        self.reasons.get(index).map(|&(_, reason)| reason)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.number);
        out.extend_from_slice(&self.channel.0);
        out.push(u8::from(self.kind() == CutKind::Dead));
        let (format, codec) = (self.form.format().name(), self.codec.coding().name());
        let encoding = self.content_encoding.as_deref().unwrap_or_default();
        for text in [&self.bucket, &self.key, format, codec, &self.content_type, encoding] {
            put_bytes(out, text.as_bytes());
        }
        form::put(&self.form, self.codec, out);
        self.runs.encode(out);
        put_number(out, self.reasons.len() as u64);
        for &(last, reason) in &self.reasons {
            put_number(out, last);
            out.push(reason as u8);
        }
        put_number(out, self.sealed_ms);
        self.totals.encode(out);
    }

    /// Reads a cut of a record of `version`.
    pub(super) fn decode(take: &mut Take<'_>, version: u8) -> Result<Self, Malformed> {
        let number = take.number()?;
        let channel = ChannelId(take.array()?);
        let kind = match take.byte()? {
            0 => CutKind::Events,
            1 => CutKind::Dead,
            _ => return Err(Malformed("a kind of cut")),
        };
        let mut text = || take.text();
        let (bucket, key, format, codec) = (text()?, text()?, text()?, text()?);
        let (content_type, content_encoding) = (text()?, text()?);
        let (form, codec) = form::take(take, version, kind, &format, &codec)?;
        Ok(Self {
            number,
            channel,
            bucket,
            key,
            form,
            codec,
            content_type,
            content_encoding: Some(content_encoding).filter(|name| !name.is_empty()),
            runs: Runs::decode(take)?,
            reasons: take.list(|take| Ok((take.number()?, Reason::decode(take.byte()?)?)))?,
            sealed_ms: take.number()?,
            totals: Sums::decode(take)?,
        })
    }
}

impl Sums {
    /// All of them together.
    pub(crate) fn all(&self) -> u64 {
        self.events + self.dead_lettered + self.damaged
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_numbers(out, [self.events, self.dead_lettered, self.damaged]);
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self { events: take.number()?, dead_lettered: take.number()?, damaged: take.number()? })
    }
}

impl Reason {
    /// Its name in objects of dead letters.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::KeyTooLong => "key_too_long",
            Self::Unresolved => "unresolved",
        }
    }

    fn decode(byte: u8) -> Result<Self, Malformed> {
        let known = [Self::TooLarge, Self::KeyTooLong, Self::Unresolved];
        known.into_iter().find(|&reason| reason as u8 == byte).ok_or(Malformed("a reason"))
    }
}

impl Attempt {
    /// About how many bytes of memory its extents take.
    pub(super) fn heap_bytes(&self) -> u64 {
        match &self.bytes {
            BytesAt::Staged(extents) => 24 * extents.len() as u64,
            BytesAt::Channel | BytesAt::Kept => 0,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.length);
        put_crc(out, self.crc32c);
        self.lost.encode(out);
        let (tag, extents) = match &self.bytes {
            BytesAt::Channel => (0, &[][..]),
            BytesAt::Staged(extents) => (1, &extents[..]),
            BytesAt::Kept => (2, &[][..]),
        };
        out.push(tag);
        put_number(out, extents.len() as u64);
        for extent in extents {
            put_numbers(out, [extent.file, extent.offset, extent.length]);
        }
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let (length, crc32c) = (take.number()?, take.crc()?);
        let (lost, tag) = (Runs::decode(take)?, take.byte()?);
        let extents = take.list(|take| {
            Ok(Extent { file: take.number()?, offset: take.number()?, length: take.number()? })
        })?;
        let bytes = match tag {
            0 => BytesAt::Channel,
            1 => BytesAt::Staged(extents),
            2 => BytesAt::Kept,
            _ => return Err(Malformed("a place of bytes")),
        };
        Ok(Self { length, crc32c, lost, bytes })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::form::tests::{any_codec, any_form};
    use super::super::state::VERSION;
    use super::*;

    pub(in super::super) fn any_runs() -> impl Strategy<Value = Runs> {
        prop::collection::vec((1u64..2000, 1u64..50), 1..20).prop_map(|pairs| {
            let mut at = 0;
            let run = |(gap, length)| {
                let start = at + gap;
                at = start + length;
                start..at
            };
            pairs.into_iter().map(run).collect()
        })
    }

    pub(in super::super) fn any_attempt() -> impl Strategy<Value = Attempt> {
        let extent = (any::<u64>(), any::<u64>(), any::<u64>());
        let extent = extent.prop_map(|(file, offset, length)| Extent { file, offset, length });
        let bytes = prop_oneof![
            Just(BytesAt::Channel),
            Just(BytesAt::Kept),
            prop::collection::vec(extent, 0..5).prop_map(BytesAt::Staged),
        ];
        (any::<u64>(), any::<u32>(), bytes).prop_map(|(length, crc32c, bytes)| Attempt {
            length,
            crc32c,
            lost: Runs::default(),
            bytes,
        })
    }

    pub(in super::super) fn any_cut() -> impl Strategy<Value = Cut> {
        let texts = prop::array::uniform4(".{0,30}");
        let form = (any_form(), any_codec());
        (any::<u64>(), any::<[u8; 16]>(), form, texts, any_runs(), any::<[u32; 3]>()).prop_map(
            |(number, channel, (form, codec), [bucket, key, content_type, encoding], runs, totals)| Cut {
                number,
                channel: ChannelId(channel),
                bucket,
                key,
                codec,
                content_type,
                content_encoding: (!encoding.is_empty()).then_some(encoding),
                reasons: if form == Form::Dead { vec![(runs.last(), Reason::KeyTooLong)] } else { vec![] },
                form,
                runs,
                sealed_ms: number,
                totals: Sums {
                    events: totals[0].into(),
                    dead_lettered: totals[1].into(),
                    damaged: totals[2].into(),
                },
            },
        )
    }

    proptest! {
        #[test]
        fn every_cut_and_attempt_read_back_from_their_bytes(cut in any_cut(), attempt in any_attempt()) {
            let mut bytes = Vec::new();
            cut.encode(&mut bytes);
            attempt.encode(&mut bytes);
            let mut take = Take::new(&bytes);
            prop_assert_eq!(Cut::decode(&mut take, VERSION), Ok(cut));
            prop_assert_eq!(Attempt::decode(&mut take), Ok(attempt));
            prop_assert_eq!(take.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            for version in 1..=VERSION {
                let _ = Cut::decode(&mut Take::new(&bytes), version);
            }
            let _ = Attempt::decode(&mut Take::new(&bytes));
        }
    }
}
