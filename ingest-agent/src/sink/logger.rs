//! The `logger` sink: writes each event to a stream, by default standard output, for a first look at what arrives.
//!
//! It is the one place that shows bodies, it does so only where a configuration asks for it, and
//! it does not go through the log: the log never holds bodies.

use std::io::{self, Write};

use super::{SinkContext, SinkError, drain};
use crate::event;

/// What is shown of each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggerConfig {
    /// Bytes of the body that are shown; Flume's `maxBytesToLog`.
    pub max_body_bytes: usize,
}

/// Runs until shutdown, writing to standard output.
pub async fn run(config: LoggerConfig, ctx: SinkContext) -> Result<(), SinkError> {
    run_into(config, ctx, io::stdout()).await
}

/// As [`run`], writing to `out`. An error of `out` loses what it would have shown and nothing else.
pub async fn run_into(config: LoggerConfig, ctx: SinkContext, mut out: impl Write) -> Result<(), SinkError> {
    let mut text = Vec::new();
    let shown = drain::drain(ctx, move |first, count, _, payload| {
        text.clear();
        for (position, event) in (first..).zip(event::decode_all(payload, count)) {
            match event {
                Ok(event) => write_event(&mut text, position, &event, config.max_body_bytes),
                Err(error) => drop(writeln!(text, "{position} {error}")),
            }
        }
        let _ = out.write_all(&text).and_then(|()| out.flush());
    });
    shown.await
}

/// One line: position, headers, body; whatever would break the line is escaped.
fn write_event(text: &mut Vec<u8>, position: u64, event: &event::EventRef<'_>, max_body_bytes: usize) {
    let _ = write!(text, "{position} {{");
    for (index, (name, value)) in event.headers.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{}={}", name.escape_debug(), value.escape_debug());
    }
    let shown = &event.body[..event.body.len().min(max_body_bytes)];
    let _ = write!(text, "}} {}", String::from_utf8_lossy(shown).escape_debug());
    let _ = writeln!(text, "{}", if shown.len() < event.body.len() { "..." } else { "" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let mut payload = Vec::new();
        event::encode(&mut payload, None, [("a", "1"), ("b", "x\ny")], b"two\nlines \xff and a tail");
        let event = event::decode_all(&payload, 1).next().unwrap().unwrap();
        let mut text = Vec::new();
        write_event(&mut text, 7, &event, 11);
        assert_eq!(String::from_utf8(text).unwrap(), "7 {a=1, b=x\\ny} two\\nlines \u{fffd}...\n");
    }
}
