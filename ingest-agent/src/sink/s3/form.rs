//! The form of a cut's object: what its bytes follow from beside the events (I4).
//!
//! Records of version 1 have the names of format and codec alone. From version 2 on there follows:
//!
//! ```text
//! form     number      version of the format
//!          u8          what its rows are: 0 nobody said, 1 events, 2 lines
//!          text        ndjson: the member for headers and time, empty if they are not written; else empty
//!          number      level of the codec: 0 if nobody said or it has none, else 1 and its zigzag form (0, -1, 1, -2, ..)
//! ```
//!
//! A cut of version 1 keeps what it did not say unsaid, in later snapshots too: it is made again as the program that
//! sealed it would make it.

use contract::CutKind;
use object_format::{Codec, Coding, Format, Layout, MetaName, Rows};

use super::wire::{Malformed, Take, put_bytes, put_number};
use crate::event::{self, Events};

/// What a cut holds, and how that is laid into its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Events.
    Events {
        /// How they are laid into the object.
        layout: Layout,
        /// What the object's rows are; `None` in cuts of version 1, which did not say.
        rows: Option<Rows>,
    },
    /// Dead letters.
    Dead,
}

/// How a cut's object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutCodec {
    /// So.
    At(Codec),
    /// At a level that was not said: a cut of version 1.
    Unsaid(Coding),
}

/// The first version of records that has forms.
const FIRST_VERSION: u8 = 2;

impl Form {
    /// Whether it holds events or dead letters.
    pub(crate) fn kind(&self) -> CutKind {
        match self {
            Self::Events { .. } => CutKind::Events,
            Self::Dead => CutKind::Dead,
        }
    }

    /// The format of its object.
    pub(crate) fn format(&self) -> Format {
        match self {
            Self::Events { layout, .. } => layout.format(),
            Self::Dead => Format::DeadLetters,
        }
    }

    /// The events of a payload, with what is known of their bodies if that saves work.
    pub(crate) fn events<'a>(&self, payload: &'a [u8], count: u32) -> Events<'a> {
        match self {
            Self::Events { layout, .. } if layout.asks_again() => event::decode_known(payload, count),
            Self::Events { .. } | Self::Dead => event::decode_all(payload, count),
        }
    }

    /// What the object's metadata say of its rows.
    pub(crate) fn rows(&self) -> Option<Rows> {
        match self {
            Self::Events { rows, .. } => *rows,
            Self::Dead => Some(Rows::Events),
        }
    }
}

/// The events of a payload, with what is known of their bodies if `layout` asks for it.
pub(crate) fn events<'a>(layout: &Layout, payload: &'a [u8], count: u32) -> Events<'a> {
    if layout.asks() { event::decode_known(payload, count) } else { event::decode_all(payload, count) }
}

impl CutCodec {
    /// The codec without its level.
    pub(crate) fn coding(self) -> Coding {
        match self {
            Self::At(codec) => codec.coding(),
            Self::Unsaid(coding) => coding,
        }
    }

    /// The codec that the cut is made with again. Where its level was not said it is that of `configured`, as it was
    /// then, else the default.
    pub(crate) fn codec(self, configured: Codec) -> Codec {
        match self {
            Self::At(codec) => codec,
            Self::Unsaid(coding) if coding == configured.coding() => configured,
            Self::Unsaid(coding) => coding.codec(),
        }
    }
}

/// Appends what stands behind the names.
pub(super) fn put(form: &Form, codec: CutCodec, out: &mut Vec<u8>) {
    put_number(out, form.format().version().into());
    let (rows, meta) = match form {
        Form::Events { layout: Layout::Ndjson { meta }, rows } => (*rows, meta.as_ref()),
        Form::Events { rows, .. } => (*rows, None),
        Form::Dead => (None, None),
    };
    out.push(match rows {
        None => 0,
        Some(Rows::Events) => 1,
        Some(Rows::Lines) => 2,
    });
    put_bytes(out, meta.map_or("", MetaName::as_str).as_bytes());
    let level = match codec {
        CutCodec::At(codec) => codec.level(),
        CutCodec::Unsaid(_) => None,
    };
    put_number(out, level.map_or(0, |level| 1 + zigzag(level)));
}

/// Reads what stands behind the names of a record of `version`.
pub(super) fn take(
    take: &mut Take<'_>,
    version: u8,
    kind: CutKind,
    format: &str,
    codec: &str,
) -> Result<(Form, CutCodec), Malformed> {
    let format: Format =
        format.parse().map_err(|_| Malformed("a cut in a format that this program does not know"))?;
    let coding: Coding =
        codec.parse().map_err(|_| Malformed("a cut with a codec that this program does not know"))?;
    let mut said = Said::default();
    if version >= FIRST_VERSION {
        said = Said::take(take, format, coding)?;
    }
    let Said { rows, meta, level } = said;
    let layout = match (kind, format) {
        (CutKind::Dead, Format::DeadLetters) => None,
        (CutKind::Events, Format::Ndjson) if version >= FIRST_VERSION => Some(Layout::Ndjson { meta }),
        (CutKind::Events, Format::Text) => Some(Layout::Text),
        (CutKind::Events, Format::Raw) => Some(Layout::Raw),
        (CutKind::Events, Format::JsonLines) => Some(Layout::JsonLines),
        _ => return Err(Malformed("a kind of cut that does not have its format")),
    };
    let form = layout.map_or(Form::Dead, |layout| Form::Events { layout, rows });
    let codec = match level {
        None if coding != Coding::None => CutCodec::Unsaid(coding),
        level => CutCodec::At(Codec::new(coding, level).map_err(|_| Malformed("a codec's level"))?),
    };
    Ok((form, codec))
}

/// What version 1 did not say.
#[derive(Default)]
struct Said {
    rows: Option<Rows>,
    meta: Option<MetaName>,
    level: Option<i32>,
}

impl Said {
    fn take(take: &mut Take<'_>, format: Format, coding: Coding) -> Result<Self, Malformed> {
        if take.number()? != u64::from(format.version()) {
            return Err(Malformed("a cut in a version of its format that this program does not know"));
        }
        let rows = match take.byte()? {
            0 => None,
            1 => Some(Rows::Events),
            2 => Some(Rows::Lines),
            _ => return Err(Malformed("what the rows of a cut are")),
        };
        let meta = match &*take.text()? {
            "" => None,
            _ if format != Format::Ndjson => return Err(Malformed("a member for headers and time")),
            name => Some(MetaName::new(name).map_err(|_| Malformed("a member for headers and time"))?),
        };
        let level = match take.number()? {
            0 => None,
            _ if coding == Coding::None => return Err(Malformed("a codec's level")),
            level => Some(unzigzag(level - 1)?),
        };
        Ok(Self { rows, meta, level })
    }
}

fn zigzag(number: i32) -> u64 {
    let number = i64::from(number);
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> Result<i32, Malformed> {
    let signed = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
    signed.try_into().map_err(|_| Malformed("a codec's level"))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn any_form() -> impl Strategy<Value = Form> {
        let rows = prop::sample::select(vec![None, Some(Rows::Events), Some(Rows::Lines)]);
        let meta = prop::option::of("[a-z_]{1,12}");
        let meta = meta.prop_filter_map("a name", |name| name.map(|name| MetaName::new(&name).ok()));
        let layout = prop_oneof![
            meta.prop_map(|meta| Layout::Ndjson { meta }),
            prop::sample::select(vec![Layout::Text, Layout::Raw, Layout::JsonLines]),
        ];
        prop_oneof![Just(Form::Dead), (layout, rows).prop_map(|(layout, rows)| Form::Events { layout, rows })]
    }

    pub(in super::super) fn any_codec() -> impl Strategy<Value = CutCodec> {
        prop_oneof![
            Just(CutCodec::At(Codec::None)),
            (1_u32..=9).prop_map(|level| CutCodec::At(Codec::Gzip(level))),
            (-7..=19).prop_map(|level| CutCodec::At(Codec::Zstd(level))),
            prop::sample::select(vec![Coding::Gzip, Coding::Zstd]).prop_map(CutCodec::Unsaid),
        ]
    }

    #[test]
    fn a_level_that_was_not_said_is_the_configured_one_or_the_default() {
        let unsaid = CutCodec::Unsaid(Coding::Gzip);
        assert_eq!(unsaid.codec(Codec::Gzip(9)), Codec::Gzip(9));
        assert_eq!(unsaid.codec(Codec::Zstd(9)), Codec::Gzip(6));
        assert_eq!(CutCodec::At(Codec::Gzip(2)).codec(Codec::Gzip(9)), Codec::Gzip(2));
    }

    #[test]
    fn what_a_later_program_would_seal_is_refused() {
        let refused = |kind, format: &str, codec: &str, behind: &[u8]| {
            take(&mut Take::new(behind), 2, kind, format, codec).unwrap_err().to_string()
        };
        let events = CutKind::Events;
        assert!(
            refused(events, "avro", "none", &[1, 1, 0, 0])
                .contains("a format that this program does not know")
        );
        assert!(
            refused(events, "text", "lz4", &[1, 1, 0, 0]).contains("a codec that this program does not know")
        );
        assert!(refused(events, "text", "none", &[2, 1, 0, 0]).contains("a version of its format"));
        assert!(refused(events, "text", "none", &[1, 3, 0, 0]).contains("rows"));
        assert!(refused(events, "text", "gzip", &[1, 1, 0, 99]).contains("level"));
        assert!(refused(events, "text", "none", &[1, 1, 1, b'x', 0]).contains("member"));
        assert!(refused(events, "dead_letters", "none", &[1, 1, 0, 0]).contains("kind"));
        assert!(refused(CutKind::Dead, "text", "none", &[1, 1, 0, 0]).contains("kind"));
        assert!(take(&mut Take::new(&[]), 1, events, "ndjson", "none").is_err(), "unknown to version 1");
    }
}
