//! The ways into the agent: which events each can carry, how they are written for it, and what the agent
//! has then been given.

use std::io::Write as _;

use serde_json::json;

use super::shapes::Shape;
use crate::random::Random;

/// One way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Door {
    /// `POST /v1/events`, one event of whatever bytes.
    Bytes,
    /// `POST /v1/events`, `text/plain`: an event a line.
    Lines,
    /// `POST /v1/events`, `application/x-ndjson`: a JSON value a line.
    Ndjson,
    /// `POST /v1/events`, `application/json`: an event an element of an array.
    Array,
    /// `POST /v1/events`, `application/cloudevents+json`: one value that is no array.
    Value,
    /// `POST /`, Flume's JSON: text with headers.
    Flume,
    /// A line over TCP.
    Netcat,
}

/// A request's type, its coding and its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// `None` for Flume's interface.
    pub content_type: Option<&'static str>,
    /// The value of `Content-Encoding`.
    pub coding: Option<&'static str>,
    /// As it is sent.
    pub body: Vec<u8>,
}

impl Door {
    /// Every way by HTTP.
    pub const HTTP: [Self; 6] =
        [Self::Bytes, Self::Lines, Self::Ndjson, Self::Array, Self::Value, Self::Flume];

    /// Whether an event of this shape can come in here, as one event.
    pub fn takes(self, shape: &Shape) -> bool {
        let bare = shape.headers.is_empty();
        let on_one_line = !shape.body.contains(&b'\n');
        bare && match self {
            // A request without a body has no event in it.
            Self::Bytes => !shape.body.is_empty(),
            // A carriage return before the newline is part of the line's end for some, of the line for others.
            Self::Lines => {
                on_one_line && shape.body.last() != Some(&b'\r') && str::from_utf8(&shape.body).is_ok()
            }
            Self::Netcat => on_one_line,
            Self::Ndjson => shape.json.is_some() && on_one_line && shape.body.last() != Some(&b'\r'),
            Self::Array => shape.json.is_some(),
            Self::Value => shape.json.is_some() && !shape.body.trim_ascii_start().starts_with(b"["),
            Self::Flume => false,
        } || self == Self::Flume && str::from_utf8(&shape.body).is_ok()
    }

    /// Whether one request carries one event and no more.
    pub fn one_at_a_time(self) -> bool {
        matches!(self, Self::Bytes | Self::Value)
    }

    /// The event as the agent has it then.
    pub fn given(self, mut shape: Shape) -> Shape {
        match self {
            // "Line breaks between tokens are left out, every other byte kept"; what is blank around a
            // value belongs to no event.
            Self::Array | Self::Value => {
                shape.body = shape.one_line().expect("only JSON comes in here");
            }
            _ => {}
        }
        shape
    }

    /// The request that carries these events, some of them compressed.
    pub fn request(self, shapes: &[Shape], random: &mut Random) -> Request {
        let joined = |between: &str| {
            let bodies: Vec<&[u8]> = shapes.iter().map(|shape| &shape.body[..]).collect();
            bodies.join(between.as_bytes())
        };
        let (content_type, body) = match self {
            Self::Bytes => (Some("application/octet-stream"), joined("")),
            Self::Value => (Some("application/cloudevents+json"), joined("")),
            Self::Lines => (Some("text/plain"), [joined("\n"), b"\n".to_vec()].concat()),
            Self::Ndjson => (Some("application/x-ndjson"), joined("\n")),
            Self::Array => {
                (Some("application/json"), [b"[".to_vec(), joined(" ,\n"), b"]".to_vec()].concat())
            }
            Self::Flume => {
                let events = shapes.iter().map(|shape| {
                    let headers: serde_json::Map<_, _> =
                        shape.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
                    json!({ "headers": headers, "body": String::from_utf8_lossy(&shape.body) })
                });
                (None, serde_json::to_vec(&events.collect::<Vec<_>>()).expect("JSON can be written"))
            }
            Self::Netcat => panic!("it takes no requests"),
        };
        let (coding, body) = match random.below(4) {
            0 => (Some("gzip"), gzip(&body)),
            1 => (Some("zstd"), zstd::encode_all(&body[..], 1).expect("memory takes it")),
            _ => (None, body),
        };
        Request { content_type, coding, body }
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes it")
}
