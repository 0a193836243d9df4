//! Which partition an event belongs to: its key template, evaluated.
//!
//! The text of a partition is the part of its objects' keys between the configured prefix and the name of the
//! object. The template's own text stands as it is; every *value* (a header, a field of the body, a part of the
//! time) is escaped: all but ASCII letters, digits and `-_.~` becomes `%XX` of its UTF-8 bytes, dots too where a value is
//! nothing else. So no producer can leave the prefix, climb with `..`, open another level with `/`, or break a
//! Hive-style `name=value`. (Of the time only `%D` writes slashes; they are its meaning.)
//!
//! A value that is missing or empty leaves the template *unresolved*; the event then belongs to the fallback
//! partition, which has a name of its own.

mod fields;

use std::fmt::Write;
use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::fields::Fields;
use super::template::{self, Piece, TemplateError};
use crate::event::EventRef;

/// A template, ready to say which partition an event belongs to.
#[derive(Debug, Clone)]
pub struct PartitionTemplate {
    pieces: Vec<Compiled>,
    fallback: String,
    fields: Fields,
    clock: Clock,
}

/// What a template needs besides its text.
#[derive(Debug, Clone)]
pub struct PartitionOptions {
    /// The zone in which parts of the time are written.
    pub time_zone: TimeZone,
    /// To what the time is rounded down before it is written.
    pub round: Option<Round>,
    /// The partition of events that lack a value.
    pub fallback: String,
}

/// A step to which an event's time is rounded down, on the wall clock of the template's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    unit: RoundUnit,
    value: i8,
}

/// What a [`Round`] counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundUnit {
    /// Seconds of a minute.
    Second,
    /// Minutes of an hour.
    Minute,
    /// Hours of a day.
    Hour,
}

/// The event has no value for a part of the template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event has no {0}")]
pub struct Unresolved(Arc<str>);

/// The fallback partition's name unless configured otherwise.
pub const DEFAULT_FALLBACK: &str = "_unresolved";

/// What a value may not show of itself in a key.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Debug, Clone)]
enum Compiled {
    Literal(String),
    Header {
        name: String,
        missing: Unresolved,
    },
    Field {
        slot: usize,
        missing: Unresolved,
    },
    /// An index into the clock's texts.
    Time(usize),
    Millis,
}

/// A part of a text that changes with the seconds alone.
#[derive(Debug, Clone)]
enum Timely {
    Literal(String),
    Format(&'static str),
}

/// The bytes that a value shows as they are: all but [`ESCAPED`].
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        plain[byte] =
            matches!(byte as u8, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~');
        byte += 1;
    }
    plain
};

/// The zone `name` ("UTC", "Europe/Zurich") from the data compiled into this program, or `None`.
///
/// The host's own data is not asked: the same template gives the same key everywhere.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

// === impl PartitionTemplate ===

impl PartitionTemplate {
    /// Compiles `template`; its grammar is that of [`template`].
    pub fn parse(template: &str, options: PartitionOptions) -> Result<Self, TemplateError> {
        let mut fields = Fields::default();
        let mut clock = Clock::new(options.time_zone, options.round);
        let mut pieces = Vec::new();
        for piece in template::parse(template)? {
            // What stands between two parts of the time is written with them, once a second.
            let timely = matches!(pieces.last(), Some(Compiled::Time(_)));
            pieces.push(match piece {
                Piece::Literal(text) if timely => {
                    clock.extend(Timely::Literal(text));
                    continue;
                }
                Piece::Time(format) if timely => {
                    clock.extend(Timely::Format(format));
                    continue;
                }
                Piece::Literal(text) => Compiled::Literal(text),
                Piece::Header(name) => {
                    let missing = Unresolved(format!("header {name:?}").into());
                    Compiled::Header { name, missing }
                }
                Piece::Field(path) => {
                    let missing = Unresolved(format!("JSON field {:?}", path.join(".")).into());
                    Compiled::Field { slot: fields.want(&path), missing }
                }
                Piece::Time(format) => Compiled::Time(clock.begin(format)),
                Piece::Millis => Compiled::Millis,
            });
        }
        Ok(Self { pieces, fallback: options.fallback, fields, clock })
    }

    /// Whether every event belongs to the same partition.
    pub fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Compiled::Literal(_)))
    }

    /// Whether rendering reads the bodies as JSON.
    pub fn needs_json(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The partition of the events for which [`render`](Self::render) fails.
    pub fn fallback(&self) -> &str {
        &self.fallback
    }

    /// Appends the event's partition to `out`, which stays as it was if a value is missing.
    ///
    /// Takes `&mut self` for its memory of the last second's texts and its buffers; the outcome depends on the
    /// arguments alone.
    pub fn render(
        &mut self,
        event: &EventRef<'_>,
        arrival_ms: i64,
        out: &mut String,
    ) -> Result<(), Unresolved> {
        let start = out.len();
        let rendered = self.try_render(event, event.time_ms(arrival_ms), out);
        if rendered.is_err() {
            out.truncate(start);
        }
        rendered
    }

    fn try_render(&mut self, event: &EventRef<'_>, time_ms: i64, out: &mut String) -> Result<(), Unresolved> {
        if self.needs_json() {
            self.fields.read(event.body);
        }
        self.clock.turn_to(time_ms)?;
        for piece in &self.pieces {
            match piece {
                Compiled::Literal(text) => out.push_str(text),
                Compiled::Header { name, missing } => {
                    let value = event.headers.get(name).filter(|value| !value.is_empty());
                    push_value(out, value.ok_or_else(|| missing.clone())?);
                }
                Compiled::Field { slot, missing } => {
                    push_value(out, self.fields.get(*slot).ok_or_else(|| missing.clone())?);
                }
                Compiled::Time(index) => out.push_str(&self.clock.texts[*index]),
                Compiled::Millis => write!(out, "{time_ms}").expect("writing to a String does not fail"),
            }
        }
        Ok(())
    }
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self { time_zone: TimeZone::UTC, round: None, fallback: DEFAULT_FALLBACK.to_owned() }
    }
}

impl Round {
    /// Rounding to `value` units, as far as that divides nothing larger: up to 60 seconds or minutes, 24 hours.
    pub fn new(value: u32, unit: RoundUnit) -> Option<Self> {
        let most = if unit == RoundUnit::Hour { 24 } else { 60 };
        let value = i8::try_from(value).ok().filter(|value| (1..=most).contains(value))?;
        Some(Self { unit, value })
    }

    fn down(self, time: &Zoned) -> Result<Zoned, jiff::Error> {
        let floor = |part: i8| part - part % self.value;
        let with = time.with().subsec_nanosecond(0);
        match self.unit {
            RoundUnit::Second => with.second(floor(time.second())),
            RoundUnit::Minute => with.second(0).minute(floor(time.minute())),
            RoundUnit::Hour => with.second(0).minute(0).hour(floor(time.hour())),
        }
        .build()
    }
}

fn push_value(out: &mut String, value: &str) {
    if value.starts_with('.') && value.bytes().all(|byte| byte == b'.') {
        out.extend(value.bytes().map(|_| "%2E"));
    } else if value.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        out.push_str(value);
    } else {
        out.extend(utf8_percent_encode(value, ESCAPED));
    }
}

/// A part of the time is a value, but for its slashes.
fn push_time(out: &mut String, written: &str) {
    for (index, part) in written.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        push_value(out, part);
    }
}

// === Clock ===

/// The template's parts of the time and what stands between them, written once for each second that events fall into.
#[derive(Debug, Clone)]
struct Clock {
    zone: TimeZone,
    round: Option<Round>,
    stretches: Vec<Vec<Timely>>,
    second: Option<i64>,
    texts: Vec<String>,
}

impl Clock {
    fn new(zone: TimeZone, round: Option<Round>) -> Self {
        Self { zone, round, stretches: Vec::new(), second: None, texts: Vec::new() }
    }

    /// Begins a text with a part of the time, and says its index.
    fn begin(&mut self, format: &'static str) -> usize {
        self.stretches.push(vec![Timely::Format(format)]);
        self.texts.push(String::new());
        self.texts.len() - 1
    }

    /// Adds to the text that was begun last.
    fn extend(&mut self, part: Timely) {
        self.stretches.last_mut().expect("one was begun").push(part);
    }

    fn turn_to(&mut self, time_ms: i64) -> Result<(), Unresolved> {
        let second = time_ms.div_euclid(1000);
        if self.stretches.is_empty() || self.second == Some(second) {
            return Ok(());
        }
        self.second = None;
        self.write(second)
            .map_err(|_| Unresolved("time within the calendar (years -9999 to 9999)".into()))?;
        self.second = Some(second);
        Ok(())
    }

    fn write(&mut self, second: i64) -> Result<(), jiff::Error> {
        let mut time = Timestamp::from_second(second)?.to_zoned(self.zone.clone());
        if let Some(round) = self.round {
            time = round.down(&time)?;
        }
        for (stretch, text) in self.stretches.iter().zip(&mut self.texts) {
            text.clear();
            for part in stretch {
                match part {
                    Timely::Literal(literal) => text.push_str(literal),
                    Timely::Format(format) => push_time(text, &jiff::fmt::strtime::format(format, &time)?),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
