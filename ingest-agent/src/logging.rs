//! Logs: to stderr, as text or JSON, at a level that can be changed while the agent runs.
//!
//! Levels say what an operator has to do. `error`: something stopped, act now. `warn`: it goes on, but look at it.
//! `info`: what happens a few times in the life of a process. `debug`: once a batch, object or
//! connection. `trace`: once an event. No level ever shows the body of an event or a secret.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Registry, fmt, reload};

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured when stderr is a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A level, or directives such as `info,ingest_agent::sink=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevel(String);

/// Reads and changes the level of a running program.
#[derive(Clone)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Why a level cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is no log level, such as \"info\" or \"info,ingest_agent::sink=debug\"")]
pub struct LevelError {
    text: String,
}

/// Starts logging for the whole process; once.
pub fn init(level: &LogLevel, format: LogFormat) -> Result<LogControl, TryInitError> {
    let (filter, handle) = reload::Layer::new(level.filter());
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).try_init()?;
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()?;
        }
    }
    Ok(LogControl { filter: handle })
}

// === impl LogLevel ===

impl LogLevel {
    /// Checks `text`, and that every word that is to be a level is one.
    pub fn parse(text: &str) -> Result<Self, LevelError> {
        let wrong = || LevelError { text: text.to_owned() };
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        // EnvFilter takes a lone word that is no level for the name of a module; here that is a misspelling.
        let plain = |part: &str| part.contains('=') || levels.contains(&part.to_ascii_lowercase().as_str());
        if !text.split(',').map(str::trim).all(plain) {
            return Err(wrong());
        }
        EnvFilter::try_new(text).map_err(|_| wrong())?;
        Ok(Self(text.to_owned()))
    }

    fn filter(&self) -> EnvFilter {
        EnvFilter::try_new(&self.0).expect("it was parsed when it was made")
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

// === impl LogControl ===

impl LogControl {
    /// The level in force.
    pub fn level(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Changes the level from now on.
    pub fn set(&self, level: &LogLevel) {
        // The only error is that the subscriber is gone, and with it all logs.
        let _ = self.filter.reload(level.filter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_refused_and_not_taken_for_a_module() {
        for right in ["info", "WARN", "off", "info,ingest_agent::sink=debug", "warn,hyper=error"] {
            assert!(LogLevel::parse(right).is_ok(), "{right}");
        }
        for wrong in ["inf", "", "info,", "ingest_agent", "info,x=loud"] {
            assert!(LogLevel::parse(wrong).is_err(), "{wrong}");
        }
    }
}
