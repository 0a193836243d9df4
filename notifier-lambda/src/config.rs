//! The settings, all from the environment, as Lambda gives them.
//!
//! | variable | default | what it is |
//! |---|---|---|
//! | `SLUICEGATE_NOTIFY_URL` | required | where notices are posted: `https://server/v1/notices` |
//! | `SLUICEGATE_NOTIFY_SECRET` | one of these two | the secret shared with the server: `whsec_` and base64, or text of at least 16 bytes |
//! | `SLUICEGATE_NOTIFY_SECRET_FILE` | is required | a file with the secret, read at the start |
//! | `SLUICEGATE_NOTIFY_CONNECT_TIMEOUT` | `2s` | longest wait for a connection |
//! | `SLUICEGATE_NOTIFY_TIMEOUT` | `10s` | longest wait for one answer, connecting included; never beyond the invocation's deadline |
//! | `SLUICEGATE_NOTIFY_DEADLINE_MARGIN` | `500ms` | how long before the invocation's deadline the function gives up and says why |
//! | `SLUICEGATE_NOTIFY_RETRY_BASE` | `100ms` | wait before the second try; doubles with each try, less up to half of it at random |
//! | `SLUICEGATE_NOTIFY_RETRY_MAX` | `5s` | longest wait between two tries, unless the server asks for more by `Retry-After` |
//! | `SLUICEGATE_NOTIFY_CONCURRENCY` | `8` | notices of one event that are sent at once, 1 to 64 |
//! | `SLUICEGATE_LOG_LEVEL` | `info` | `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,notifier_lambda=debug` |
//! | `SLUICEGATE_LOG_FORMAT` | `text` | `text` or `json` |
//!
//! Durations are `250ms`, `10s` or `2m`. A variable that is set to nothing counts as not set. The
//! standard `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are followed.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use contract::signature::Secret;
use reqwest::Url;
use tracing_subscriber::EnvFilter;

use crate::logging::{LogConfig, LogFormat};

/// Everything the notifier needs to know, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where notices are posted.
    pub url: Url,
    /// Signs them.
    pub secret: Secret,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long before the invocation's deadline it gives up.
    pub deadline_margin: Duration,
    /// Wait before the second try.
    pub retry_base: Duration,
    /// Longest wait between two tries.
    pub retry_max: Duration,
    /// Notices of one event that are sent at once.
    pub concurrency: usize,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// Every mistake in the settings, one a line; no line shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Mistakes> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads the variables through `lookup`.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut variables = Variables { lookup, mistakes: Vec::new() };
        let url = variables.required("SLUICEGATE_NOTIFY_URL", "set it to the server's address", url);
        let secret = variables.secret();
        let connect_timeout =
            variables.or("SLUICEGATE_NOTIFY_CONNECT_TIMEOUT", Duration::from_secs(2), positive_duration);
        let timeout = variables.or("SLUICEGATE_NOTIFY_TIMEOUT", Duration::from_secs(10), positive_duration);
        let deadline_margin =
            variables.or("SLUICEGATE_NOTIFY_DEADLINE_MARGIN", Duration::from_millis(500), duration);
        let retry_base =
            variables.or("SLUICEGATE_NOTIFY_RETRY_BASE", Duration::from_millis(100), positive_duration);
        let retry_max =
            variables.or("SLUICEGATE_NOTIFY_RETRY_MAX", Duration::from_secs(5), positive_duration);
        let concurrency = variables.or("SLUICEGATE_NOTIFY_CONCURRENCY", 8, concurrency);
        let level = variables.or("SLUICEGATE_LOG_LEVEL", "info".to_owned(), level);
        let format = variables.or("SLUICEGATE_LOG_FORMAT", LogFormat::Text, format);

        match (url, secret) {
            (Some(url), Some(secret)) if variables.mistakes.is_empty() => Ok(Self {
                url,
                secret,
                connect_timeout,
                timeout,
                deadline_margin,
                retry_base,
                retry_max,
                concurrency,
                log: LogConfig { level, format },
            }),
            _ => Err(Mistakes(variables.mistakes)),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Reads variables and gathers what is wrong with them.
struct Variables<L> {
    lookup: L,
    mistakes: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Variables<L> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// The value, if it is there and right.
    fn read<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.get(name)?;
        parse(&value).map_err(|mistake| self.mistakes.push(format!("{name}: {mistake}"))).ok()
    }

    fn or<T>(&mut self, name: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.read(name, parse).unwrap_or(default)
    }

    fn required<T>(
        &mut self,
        name: &str,
        hint: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.get(name).is_none() {
            self.mistakes.push(format!("{name}: is not set; {hint}"));
        }
        self.read(name, parse)
    }

    fn secret(&mut self) -> Option<Secret> {
        const HERE: &str = "SLUICEGATE_NOTIFY_SECRET";
        const IN_FILE: &str = "SLUICEGATE_NOTIFY_SECRET_FILE";
        match (self.get(HERE), self.get(IN_FILE)) {
            (Some(_), Some(_)) => {
                self.mistakes.push(format!("{HERE}: is set, and so is {IN_FILE}; set one of them"));
                None
            }
            (None, None) => {
                self.mistakes.push(format!("{HERE}: is not set, and neither is {IN_FILE}; set one of them"));
                None
            }
            (Some(_), None) => self.read(HERE, secret),
            (None, Some(_)) => self.read(IN_FILE, |path| {
                let text = std::fs::read_to_string(Path::new(path))
                    .map_err(|error| format!("reading \"{path}\": {error}"))?;
                secret(&text)
            }),
        }
    }
}

fn secret(text: &str) -> Result<Secret, String> {
    Secret::from_str(text).map_err(|error| error.to_string())
}

fn url(text: &str) -> Result<Url, String> {
    // The text is not repeated in the message: somebody may have put a password in it.
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("begins with \"{}:\", which is neither http: nor https:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name; the server knows us by the signature alone".to_owned());
    }
    Ok(url)
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(ms));
    total
        .filter(|_| ms > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("\"{text}\" is not a duration such as 250ms, 10s or 2m"))
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
    })
}

fn concurrency(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| format!("\"{text}\" is not a number from 1 to 64"))
}

fn level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // EnvFilter takes a lone word that is no level for the name of a module; here that is a misspelling.
    let known = |part: &str| part.contains('=') || LEVELS.contains(&part.trim());
    if text.split(',').all(known) && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no log level, such as \"info\" or \"info,notifier_lambda=debug\""))
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("\"{text}\" is neither text nor json")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write as _;

    use super::*;

    const GOOD: [(&str, &str); 2] = [
        ("SLUICEGATE_NOTIFY_URL", "https://server.example/v1/notices"),
        ("SLUICEGATE_NOTIFY_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let all: HashMap<_, _> = GOOD.iter().chain(changes).copied().collect();
        Config::from_lookup(|name| all.get(name).map(|&value| value.to_owned()))
    }

    fn mistakes(changes: &[(&str, &str)]) -> Vec<String> {
        read(changes).unwrap_err().0
    }

    #[test]
    fn a_url_and_a_secret_are_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.url.as_str(), "https://server.example/v1/notices");
        assert_eq!(config.secret.reveal(), GOOD[1].1);
        assert_eq!(config.timeout, Duration::from_secs(10));
        assert_eq!(config.log, LogConfig { level: "info".to_owned(), format: LogFormat::Text });
    }

    #[test]
    fn every_setting_can_be_set() {
        let config = read(&[
            ("SLUICEGATE_NOTIFY_CONNECT_TIMEOUT", "1s"),
            ("SLUICEGATE_NOTIFY_TIMEOUT", "3s"),
            ("SLUICEGATE_NOTIFY_DEADLINE_MARGIN", "0ms"),
            ("SLUICEGATE_NOTIFY_RETRY_BASE", "20ms"),
            ("SLUICEGATE_NOTIFY_RETRY_MAX", "1m"),
            ("SLUICEGATE_NOTIFY_CONCURRENCY", "2"),
            ("SLUICEGATE_LOG_LEVEL", "warn,notifier_lambda=debug"),
            ("SLUICEGATE_LOG_FORMAT", "json"),
        ])
        .unwrap();
        assert_eq!(config.connect_timeout, Duration::from_secs(1));
        assert_eq!(config.timeout, Duration::from_secs(3));
        assert_eq!(config.deadline_margin, Duration::ZERO);
        assert_eq!(config.retry_base, Duration::from_millis(20));
        assert_eq!(config.retry_max, Duration::from_mins(1));
        assert_eq!(config.concurrency, 2);
        assert_eq!(config.log.level, "warn,notifier_lambda=debug");
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        assert_eq!(
            mistakes(&[
                ("SLUICEGATE_NOTIFY_URL", "ftp://server"),
                ("SLUICEGATE_NOTIFY_SECRET", ""),
                ("SLUICEGATE_NOTIFY_TIMEOUT", "soon"),
                ("SLUICEGATE_NOTIFY_RETRY_BASE", "0s"),
                ("SLUICEGATE_NOTIFY_CONCURRENCY", "0"),
                ("SLUICEGATE_LOG_LEVEL", "verbose"),
                ("SLUICEGATE_LOG_FORMAT", "xml"),
            ]),
            [
                "SLUICEGATE_NOTIFY_URL: begins with \"ftp:\", which is neither http: nor https:",
                "SLUICEGATE_NOTIFY_SECRET: is not set, and neither is SLUICEGATE_NOTIFY_SECRET_FILE; set one of them",
                "SLUICEGATE_NOTIFY_TIMEOUT: \"soon\" is not a duration such as 250ms, 10s or 2m",
                "SLUICEGATE_NOTIFY_RETRY_BASE: must be longer than nothing",
                "SLUICEGATE_NOTIFY_CONCURRENCY: \"0\" is not a number from 1 to 64",
                "SLUICEGATE_LOG_LEVEL: \"verbose\" is no log level, such as \"info\" or \"info,notifier_lambda=debug\"",
                "SLUICEGATE_LOG_FORMAT: \"xml\" is neither text nor json",
            ]
        );
        assert_eq!(
            mistakes(&[("SLUICEGATE_NOTIFY_URL", "")]),
            ["SLUICEGATE_NOTIFY_URL: is not set; set it to the server's address"]
        );
    }

    #[test]
    fn the_secret_may_lie_in_a_file_but_not_in_both_places() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", GOOD[1].1).unwrap();
        let path = file.path().to_str().unwrap();
        let config =
            read(&[("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", path)]).unwrap();
        assert_eq!(config.secret.reveal(), GOOD[1].1);
        assert_eq!(
            mistakes(&[("SLUICEGATE_NOTIFY_SECRET_FILE", path)]),
            ["SLUICEGATE_NOTIFY_SECRET: is set, and so is SLUICEGATE_NOTIFY_SECRET_FILE; set one of them"]
        );
        let absent = [("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", "/does/not/exist")];
        assert!(
            mistakes(&absent)[0].starts_with("SLUICEGATE_NOTIFY_SECRET_FILE: reading \"/does/not/exist\":")
        );
    }

    #[test]
    fn no_message_and_no_debug_output_shows_a_secret() {
        assert!(!format!("{:?}", read(&[]).unwrap()).contains("MfKQ9r8G"));
        for (name, value) in [
            ("SLUICEGATE_NOTIFY_SECRET", "whsec_hidden!"),
            ("SLUICEGATE_NOTIFY_SECRET", "hidden"),
            ("SLUICEGATE_NOTIFY_URL", "https://me:hidden@server/"),
            ("SLUICEGATE_NOTIFY_URL", "https://me:hidden@server:port/"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
        }
    }
}
