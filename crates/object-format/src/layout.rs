//! How events are laid into an object: a format and its settings.

use memchr::memchr;

use crate::event::Headers;
use crate::{Event, Format, Known, MetaName, json_lines, ndjson};

/// A format of events with all that its bytes follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One valid JSON object a line.
    Ndjson {
        /// The member for headers and time; `None`: they are not written.
        meta: Option<MetaName>,
    },
    /// The body and a newline.
    Text,
    /// The body alone.
    Raw,
    /// An envelope a line.
    JsonLines,
}

impl Layout {
    /// Its format.
    pub fn format(&self) -> Format {
        match self {
            Self::Ndjson { .. } => Format::Ndjson,
            Self::Text => Format::Text,
            Self::Raw => Format::Raw,
            Self::JsonLines => Format::JsonLines,
        }
    }

    /// Whether it saves work to know something of a body before its border is looked at.
    pub fn asks(&self) -> bool {
        matches!(self, Self::Ndjson { .. } | Self::Text)
    }

    /// Whether it saves work to know something of a body before its bytes are made once more.
    pub fn asks_again(&self) -> bool {
        matches!(self, Self::Ndjson { .. })
    }

    /// Appends an event.
    #[inline]
    pub fn write<'a>(&self, event: &Event<'a, impl Headers<'a>>, out: &mut Vec<u8>) {
        match self {
            Self::Text => {
                out.extend_from_slice(event.body);
                out.push(b'\n');
            }
            Self::Raw => out.extend_from_slice(event.body),
            Self::Ndjson { meta } => ndjson::write(event, meta.as_ref(), out),
            Self::JsonLines => json_lines::write(event, out),
        }
    }

    /// An event in two pieces, one after the other: what is nothing but the body is not copied. Anything else is made in
    /// `made`.
    #[inline]
    pub fn pieces<'a>(&self, event: &Event<'a, impl Headers<'a>>, made: &'a mut Vec<u8>) -> [&'a [u8]; 2] {
        let body = match self {
            Self::Text => Some(event.body),
            Self::Raw => return [event.body, b""],
            Self::Ndjson { meta } => ndjson::as_it_is(event, meta.as_ref()),
            Self::JsonLines => None,
        };
        if let Some(body) = body {
            return [body, b"\n"];
        }
        made.clear();
        self.write(event, made);
        [made, b""]
    }

    /// Whether an event with this body is one row of its object, neither more nor less (I10).
    #[inline]
    pub fn keeps_border(&self, body: &[u8], known: Known) -> bool {
        match self {
            Self::Ndjson { .. } | Self::JsonLines => true,
            Self::Text => known.has(Known::ONE_LINE) || memchr(b'\n', body).is_none(),
            Self::Raw => false,
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::Ndjson { meta: Some(MetaName::default()) }
    }
}
