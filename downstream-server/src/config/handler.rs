//! The `[handler]` part: who gets the objects, and how.

use std::path::PathBuf;
use std::time::Duration;

use command_line::values::path;
use contract::signature::Secret;

use super::settings::Settings;
use super::validate::{between, secrets};
use super::values;
use crate::handler::{BatchLimits, Form, OutputConfig, Rotation};

/// Who gets the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerConfig {
    /// A line in the log for each object.
    Log,
    /// Every event appended to a file, with exactly-once effect.
    File(OutputConfig),
    /// A program, run for each object, batch or event.
    Command(CommandConfig),
    /// A URL to which events are forwarded.
    Http(HttpConfig),
}

/// How events are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where they go: http or https.
    pub url: String,
    /// Each of them signs; none means unsigned.
    pub secrets: Vec<Secret>,
    /// Certificate authorities to trust instead of the built-in ones, in PEM.
    pub ca_pem: Option<String>,
    /// How a batch is written.
    pub format: Format,
    /// How large a batch is.
    pub batches: BatchLimits,
    /// Longest wait for an answer, connecting and sending included.
    pub timeout: Duration,
    /// Statuses from 400 to 499 that are tried again, besides 429.
    pub retry_statuses: Vec<u16>,
    /// What becomes of objects of set-aside events.
    pub set_aside: SetAside,
}

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The lines as they are.
    Ndjson,
    /// A JSON array of them.
    Json,
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
    ("handler.path", &["ndjson", "lines"]),
    ("handler.rotate_bytes", &["ndjson", "lines"]),
    ("handler.rotate_age", &["ndjson", "lines"]),
    ("handler.command", &["command"]),
    ("handler.later_codes", &["command"]),
    ("handler.dead_codes", &["command"]),
    ("handler.log_bytes", &["command"]),
    ("handler.spool_dir", &["command"]),
    ("handler.url", &["http"]),
    ("handler.secrets", &["http"]),
    ("handler.secret_file", &["http"]),
    ("handler.ca_file", &["http"]),
    ("handler.format", &["http"]),
    ("handler.retry_statuses", &["http"]),
    ("handler.feed", &["command", "http"]),
    ("handler.timeout", &["command", "http"]),
    ("handler.batch_events", &["command", "http"]),
    ("handler.batch_bytes", &["command", "http"]),
    ("handler.max_event_bytes", &["ndjson", "command", "http"]),
    ("handler.set_aside", &["command", "http"]),
];

pub(super) fn handler(s: &mut Settings) -> HandlerConfig {
    let kind = s.value("handler.kind", "log", |text| {
        ["log", "ndjson", "lines", "command", "http"]
            .into_iter()
            .find(|kind| *kind == text)
            .ok_or_else(|| format!("`{text}` is none of log, ndjson, lines, command and http"))
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
        "ndjson" => file(s, Form::Json),
        "lines" => file(s, Form::Lines),
        "command" => HandlerConfig::Command(command(s)),
        "http" => HandlerConfig::Http(http(s)),
        _ => HandlerConfig::Log,
    }
}

fn file(s: &mut Settings, form: Form) -> HandlerConfig {
    let Some(path) = s.optional("handler.path", path) else {
        s.mistake(format!("handler.path: the {} handler needs the file it appends to", form.kind()));
        return HandlerConfig::Log;
    };
    HandlerConfig::File(OutputConfig {
        path,
        rotation: Rotation {
            bytes: s.optional("handler.rotate_bytes", values::bytes),
            age: s.optional("handler.rotate_age", values::duration),
        },
        form,
        max_event_bytes: size(s, "handler.max_event_bytes", BatchLimits::SOME.event_bytes),
    })
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
    let limits = limits(s);
    CommandConfig {
        argv,
        feed: feed(s, limits, Feed::Object),
        timeout: s.value("handler.timeout", Duration::from_mins(5), values::duration),
        later_codes: codes(s, "handler.later_codes", &[75], 1, 255),
        dead_codes: codes(s, "handler.dead_codes", &[65], 1, 255),
        log_bytes: size(s, "handler.log_bytes", 64 << 10),
        spool_dir: s.optional("handler.spool_dir", path),
        set_aside: set_aside(s),
    }
}

fn http(s: &mut Settings) -> HttpConfig {
    let url = s.optional("handler.url", |text| match reqwest::Url::parse(text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(text.to_owned()),
        Ok(_) => Err(format!("`{text}` does not begin with http:// or https://")),
        Err(error) => Err(format!("`{text}` is not a URL: {error}")),
    });
    if url.is_none() && s.get("handler.url").is_none() {
        s.mistake("handler.url: the http handler needs the URL that it forwards to");
    }
    let limits = limits(s);
    let batches = match feed(s, limits, Feed::Batches(limits)) {
        Feed::Batches(limits) => limits,
        Feed::Object => {
            s.mistake("handler.feed: http forwards batches or events, since it signs what it has seen whole");
            limits
        }
    };
    HttpConfig {
        url: url.unwrap_or_default(),
        secrets: secrets(s, "handler.secrets", "handler.secret_file"),
        ca_pem: s.optional("handler.ca_file", |text| {
            let pem = std::fs::read_to_string(text).map_err(|error| format!("reading {text}: {error}"))?;
            match reqwest::Certificate::from_pem_bundle(pem.as_bytes()) {
                Ok(authorities) if !authorities.is_empty() => Ok(pem),
                Ok(_) => Err(format!("{text} holds no certificate")),
                Err(error) => Err(format!("{text} is no PEM: {error}")),
            }
        }),
        format: s.value("handler.format", Format::Ndjson, |text| match text {
            "ndjson" => Ok(Format::Ndjson),
            "json" => Ok(Format::Json),
            _ => Err(format!("`{text}` is neither ndjson nor json")),
        }),
        batches,
        timeout: s.value("handler.timeout", Duration::from_secs(30), values::duration),
        retry_statuses: codes(s, "handler.retry_statuses", &[408, 409, 425], 400, 499),
        set_aside: set_aside(s),
    }
}

fn set_aside(s: &mut Settings) -> SetAside {
    s.value("handler.set_aside", SetAside::Skip, |text| match text {
        "skip" => Ok(SetAside::Skip),
        "deliver" => Ok(SetAside::Deliver),
        _ => Err(format!("`{text}` is neither skip nor deliver")),
    })
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

fn limits(s: &mut Settings) -> BatchLimits {
    BatchLimits {
        events: s.value("handler.batch_events", BatchLimits::SOME.events, |text| between(text, 1, 1_000_000)),
        bytes: size(s, "handler.batch_bytes", BatchLimits::SOME.bytes),
        event_bytes: size(s, "handler.max_event_bytes", BatchLimits::SOME.event_bytes),
    }
}

fn feed(s: &mut Settings, limits: BatchLimits, default: Feed) -> Feed {
    s.value("handler.feed", default, |text| match text {
        "object" => Ok(Feed::Object),
        "batch" => Ok(Feed::Batches(limits)),
        "event" => Ok(Feed::Batches(BatchLimits { events: 1, ..limits })),
        _ => Err(format!("`{text}` is none of object, batch and event")),
    })
}

fn codes<T>(s: &mut Settings, name: &'static str, default: &[T], least: T, most: T) -> Vec<T>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    if s.get(name).is_none() {
        return default.to_vec();
    }
    let mut codes = Vec::new();
    for text in s.list(name) {
        match between(&text, least, most) {
            Ok(code) => codes.push(code),
            Err(mistake) => s.mistake(format!("{name}: {mistake}")),
        }
    }
    codes
}

pub(super) fn size(s: &mut Settings, name: &'static str, default: usize) -> usize {
    s.value(name, default, |text| {
        values::bytes(text).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    })
}
