//! The `[handler]` part: who gets the objects, and how.

use std::path::PathBuf;
use std::time::Duration;

use super::settings::Settings;
use super::validate::between;
use super::values;
use crate::handler::BatchLimits;

/// Who gets the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerConfig {
    /// A line in the log for each object.
    Log,
    /// Every line appended to one file, with exactly-once effect.
    Ndjson {
        /// The file.
        path: PathBuf,
    },
    /// A program, run for each object, batch or event.
    Command(CommandConfig),
}

/// How a program is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandConfig {
    /// The program and its arguments, as it gets them; never empty.
    pub argv: Vec<String>,
    /// What a run is given.
    pub feed: Feed,
    /// Longest run.
    pub timeout: Duration,
    /// Exit codes that mean "not now".
    pub later_codes: Vec<i32>,
    /// Exit codes that mean "never this one".
    pub dead_codes: Vec<i32>,
    /// Bytes of each output that go to the log.
    pub log_bytes: usize,
    /// Where a run's input waits; `None` is the inbox's folder.
    pub spool_dir: Option<PathBuf>,
    /// What becomes of objects of set-aside events.
    pub set_aside: SetAside,
}

/// What a handler is given at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// An object's decoded bytes.
    Object,
    /// Some of its lines.
    Batches(BatchLimits),
}

/// What becomes of objects of events that the agent set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAside {
    /// They are done without being handed over.
    Skip,
    /// They are handed over as all others.
    Deliver,
}

/// The settings that only one kind of handler, or some, have.
const OF_KINDS: &[(&str, &[&str])] = &[
    ("handler.path", &["ndjson"]),
    ("handler.command", &["command"]),
    ("handler.feed", &["command"]),
    ("handler.timeout", &["command"]),
    ("handler.later_codes", &["command"]),
    ("handler.dead_codes", &["command"]),
    ("handler.log_bytes", &["command"]),
    ("handler.spool_dir", &["command"]),
    ("handler.batch_events", &["command"]),
    ("handler.batch_bytes", &["command"]),
    ("handler.max_event_bytes", &["command"]),
    ("handler.set_aside", &["command"]),
];

pub(super) fn handler(s: &mut Settings) -> HandlerConfig {
    let kind = s.value("handler.kind", "log", |text| {
        ["log", "ndjson", "command"]
            .into_iter()
            .find(|kind| *kind == text)
            .ok_or_else(|| format!("`{text}` is none of log, ndjson and command"))
    });
    for (name, kinds) in OF_KINDS {
        if s.get(name).is_some() && !kinds.contains(&kind) {
            s.mistake(format!(
                "{name}: only handlers of kind {} have it; set handler.kind, which is {kind}",
                kinds.join(" and ")
            ));
        }
    }
    match kind {
        "ndjson" => {
            if let Some(path) = s.optional("handler.path", |text| Ok(PathBuf::from(text))) {
                HandlerConfig::Ndjson { path }
            } else {
                s.mistake("handler.path: the ndjson handler needs the file it appends to");
                HandlerConfig::Log
            }
        }
        "command" => HandlerConfig::Command(command(s)),
        _ => HandlerConfig::Log,
    }
}

fn command(s: &mut Settings) -> CommandConfig {
    let argv = match s.get("handler.command").map(|setting| setting.values.clone()) {
        None => {
            s.mistake("handler.command: the command handler needs the program that it runs");
            Vec::new()
        }
        Some(values) => argv(values).unwrap_or_else(|mistake| {
            s.mistake(format!("handler.command: {mistake}"));
            Vec::new()
        }),
    };
    CommandConfig {
        argv,
        feed: feed(s),
        timeout: s.value("handler.timeout", Duration::from_mins(5), values::duration),
        later_codes: codes(s, "handler.later_codes", 75),
        dead_codes: codes(s, "handler.dead_codes", 65),
        log_bytes: size(s, "handler.log_bytes", 64 << 10),
        spool_dir: s.optional("handler.spool_dir", |text| Ok(PathBuf::from(text))),
        set_aside: s.value("handler.set_aside", SetAside::Skip, |text| match text {
            "skip" => Ok(SetAside::Skip),
            "deliver" => Ok(SetAside::Deliver),
            _ => Err(format!("`{text}` is neither skip nor deliver")),
        }),
    }
}

/// A list is taken as it is. A single text is a program, or a JSON list, for a command line has
/// no lists.
fn argv(values: Vec<String>) -> Result<Vec<String>, String> {
    let argv = match values.as_slice() {
        [text] if text.trim_start().starts_with('[') => serde_json::from_str(text)
            .map_err(|error| format!("`{text}` is no JSON list of texts: {error}"))?,
        _ => values,
    };
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err("the program has no name".to_owned()),
    }
}

fn feed(s: &mut Settings) -> Feed {
    let limits = BatchLimits {
        events: s.value("handler.batch_events", 1000, |text| between(text, 1, 1_000_000)),
        bytes: size(s, "handler.batch_bytes", 1 << 20),
        event_bytes: size(s, "handler.max_event_bytes", 16 << 20),
    };
    s.value("handler.feed", Feed::Object, |text| match text {
        "object" => Ok(Feed::Object),
        "batch" => Ok(Feed::Batches(limits)),
        "event" => Ok(Feed::Batches(BatchLimits { events: 1, ..limits })),
        _ => Err(format!("`{text}` is none of object, batch and event")),
    })
}

fn codes(s: &mut Settings, name: &'static str, default: i32) -> Vec<i32> {
    if s.get(name).is_none() {
        return vec![default];
    }
    let mut codes = Vec::new();
    for text in s.list(name) {
        match between(&text, 1, 255) {
            Ok(code) => codes.push(code),
            Err(mistake) => s.mistake(format!("{name}: {mistake}")),
        }
    }
    codes
}

fn size(s: &mut Settings, name: &'static str, default: usize) -> usize {
    s.value(name, default, |text| {
        values::bytes(text).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    })
}
