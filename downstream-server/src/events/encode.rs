//! Events as NDJSON or as server-sent events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use object_format::Rows;
use serde::Serialize;

use super::position::Position;
use crate::handler::one;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A JSON object a line.
    Ndjson,
    /// The same objects as `data`, each with its `id`.
    Sse,
}

#[derive(Serialize)]
struct Written<'a> {
    id: String,
    object: i64,
    /// What it is, where that is no event.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'static str>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum What<'a> {
    Data(&'a str),
    DataBase64(String),
    Error(&'a str),
}

impl Format {
    /// What the header `Accept` asks for.
    pub(super) fn wanted(accept: &str) -> Self {
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let sse = kinds.into_iter().any(|kind| kind.eq_ignore_ascii_case("text/event-stream"));
        if sse { Self::Sse } else { Self::Ndjson }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Sse => "text/event-stream",
        }
    }

    /// Says nothing, but that the stream lives.
    pub(super) fn beat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Ndjson => b"\n",
            Self::Sse => b":\n\n",
        })
    }

    /// Rows of one object, each with its position.
    pub(super) fn rows<'a>(self, object: i64, rows: impl Iterator<Item = (Position, &'a [u8])>) -> Bytes {
        let mut out = Vec::new();
        for (at, row) in rows {
            let what = match std::str::from_utf8(row) {
                Ok(text) => What::Data(text),
                Err(_) => What::DataBase64(STANDARD.encode(row)),
            };
            self.write(&mut out, at, object, what);
        }
        out.into()
    }

    /// An object whose events cannot be read.
    pub(super) fn error(self, at: Position, object: i64, why: &str) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out, at, object, What::Error(why));
        out.into()
    }

    fn write(self, out: &mut Vec<u8>, at: Position, object: i64, what: What<'_>) {
        let id = at.to_string();
        if self == Self::Sse {
            out.extend_from_slice(format!("id: {id}\ndata: ").as_bytes());
        }
        let is_line = at.row.is_some_and(|row| row.rows == Rows::Lines);
        let written = Written { id, object, row: is_line.then(|| one(Rows::Lines)), what };
        serde_json::to_writer(&mut *out, &written).expect("texts and numbers always serialize");
        out.extend_from_slice(if self == Self::Sse { b"\n\n" } else { b"\n" });
    }
}
