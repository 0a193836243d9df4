//! The settings, all from the environment, as Lambda gives them.
//!
#![doc = include_str!("settings.md")]
//!
//! Durations are `250ms`, `10s` or `2m`, sizes `1B`, `64KiB`, `5MiB` or `2GiB`. A variable that is set to nothing counts as not set. The
//! standard `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are followed.

mod values;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Url};

use crate::filter::Filter;
use crate::keyring::SecretSource;
use crate::logging::{LogConfig, LogFormat};

/// Everything the notifier needs to know, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where notices are posted.
    pub url: Url,
    /// Where the secret lies that signs them.
    pub secret: SecretSource,
    /// After this time the secret is read again.
    pub secret_ttl: Duration,
    /// Who alone is trusted to vouch for the server; the system's authorities if absent.
    pub ca: Option<Vec<Certificate>>,
    /// What is told about an object.
    pub body: NoticeBody,
    /// Which objects are told about.
    pub filter: Filter,
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
    /// Objects whose notices are sent at once.
    pub concurrency: usize,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// What is told about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeBody {
    /// All that its event says.
    Full,
    /// Bucket and key.
    Minimal,
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
        let url = variables.required("SLUICEGATE_NOTIFY_URL", "set it to the server's address", values::url);
        let secret = variables.secret();
        let secret_ttl =
            variables.or("SLUICEGATE_NOTIFY_SECRET_TTL", Duration::from_mins(5), values::positive_duration);
        let ca = variables.authorities();
        let body = variables.or("SLUICEGATE_NOTICE_BODY", NoticeBody::Full, values::body);
        let filter = variables.filter();
        let connect_timeout = variables.or(
            "SLUICEGATE_NOTIFY_CONNECT_TIMEOUT",
            Duration::from_secs(2),
            values::positive_duration,
        );
        let timeout =
            variables.or("SLUICEGATE_NOTIFY_TIMEOUT", Duration::from_secs(10), values::positive_duration);
        let deadline_margin =
            variables.or("SLUICEGATE_NOTIFY_DEADLINE_MARGIN", Duration::from_millis(500), values::duration);
        let retry_base = variables.or(
            "SLUICEGATE_NOTIFY_RETRY_BASE",
            Duration::from_millis(100),
            values::positive_duration,
        );
        let retry_max =
            variables.or("SLUICEGATE_NOTIFY_RETRY_MAX", Duration::from_secs(5), values::positive_duration);
        let concurrency = variables.or("SLUICEGATE_NOTIFY_CONCURRENCY", 8, values::concurrency);
        let level = variables.or("SLUICEGATE_LOG_LEVEL", "info".to_owned(), values::level);
        let format = variables.or("SLUICEGATE_LOG_FORMAT", LogFormat::Text, values::format);

        match (url, secret) {
            (Some(url), Some(secret)) if variables.mistakes.is_empty() => Ok(Self {
                url,
                secret,
                secret_ttl,
                ca,
                body,
                filter,
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

    /// The one of `names` that is set; two are a mistake.
    fn one_of<'n>(&mut self, names: &[&'n str]) -> Option<&'n str> {
        let set: Vec<_> = names.iter().copied().filter(|name| self.get(name).is_some()).collect();
        if let [first, second, ..] = *set {
            self.mistakes.push(format!("{first}: is set, and so is {second}; set one of them"));
            return None;
        }
        set.first().copied()
    }

    fn secret(&mut self) -> Option<SecretSource> {
        const PLACES: [&str; 3] =
            ["SLUICEGATE_NOTIFY_SECRET", "SLUICEGATE_NOTIFY_SECRET_FILE", "SLUICEGATE_NOTIFY_SECRET_ID"];
        let [here, in_file, in_manager] = PLACES;
        if PLACES.iter().all(|name| self.get(name).is_none()) {
            self.mistakes.push(format!(
                "{here}: is not set, and neither is {in_file} or {in_manager}; set one of them"
            ));
        }
        let place = self.one_of(&PLACES)?;
        self.read(place, |value| match place {
            _ if place == here => values::secret(value).map(SecretSource::Value),
            _ if place == in_file => {
                values::secret(&contents(value)?).map(|_| SecretSource::File(PathBuf::from(value)))
            }
            _ => Ok(SecretSource::SecretsManager(value.to_owned())),
        })
    }

    fn authorities(&mut self) -> Option<Vec<Certificate>> {
        let (here, in_file) = ("SLUICEGATE_NOTIFY_CA", "SLUICEGATE_NOTIFY_CA_FILE");
        let place = self.one_of(&[here, in_file])?;
        self.read(place, |value| {
            if place == here { values::authorities(value) } else { values::authorities(&contents(value)?) }
        })
    }

    fn filter(&mut self) -> Filter {
        let (min_name, max_name) = ("SLUICEGATE_NOTIFY_MIN_SIZE", "SLUICEGATE_NOTIFY_MAX_SIZE");
        let min = self.or(min_name, 0, values::size);
        let max = self.or(max_name, u64::MAX, values::size);
        if min > max {
            self.mistakes.push(format!("{min_name}: is more than {max_name}, so that nothing passes"));
        }
        Filter {
            prefix: self.get("SLUICEGATE_NOTIFY_PREFIX").unwrap_or_default(),
            suffix: self.get("SLUICEGATE_NOTIFY_SUFFIX").unwrap_or_default(),
            size: min..=max,
        }
    }
}

fn contents(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("reading \"{path}\": {error}"))
}

#[cfg(test)]
mod tests;
