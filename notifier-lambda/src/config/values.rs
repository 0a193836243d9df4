//! What each kind of value looks like, and what is wrong with one that does not.

use std::str::FromStr as _;
use std::time::Duration;

use contract::signature::Secret;
use reqwest::{Certificate, Url};
use tracing_subscriber::EnvFilter;

use super::NoticeBody;
use crate::logging::LogFormat;

pub(super) fn secret(text: &str) -> Result<Secret, String> {
    Secret::from_str(text).map_err(|error| error.to_string())
}

pub(super) fn url(text: &str) -> Result<Url, String> {
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

pub(super) fn duration(text: &str) -> Result<Duration, String> {
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

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| {
        if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
    })
}

pub(super) fn concurrency(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| format!("\"{text}\" is not a number from 1 to 64"))
}

pub(super) fn level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // EnvFilter takes a lone word that is no level for the name of a module; here that is a misspelling.
    let known = |part: &str| part.contains('=') || LEVELS.contains(&part.trim());
    if text.split(',').all(known) && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{text}\" is no log level, such as \"info\" or \"info,notifier_lambda=debug\""))
    }
}

pub(super) fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("\"{text}\" is neither text nor json")),
    }
}

pub(super) fn body(text: &str) -> Result<NoticeBody, String> {
    match text {
        "full" => Ok(NoticeBody::Full),
        "minimal" => Ok(NoticeBody::Minimal),
        _ => Err(format!("\"{text}\" is neither full nor minimal")),
    }
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => 0,
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes));
    total
        .filter(|_| bytes > 0)
        .ok_or_else(|| format!("\"{text}\" is not a size such as 1B, 64KiB, 5MiB or 2GiB"))
}

/// Certificates in PEM. In an environment that takes no line breaks they may be written as `\n`.
pub(super) fn authorities(pem: &str) -> Result<Vec<Certificate>, String> {
    let certificates = Certificate::from_pem_bundle(pem.replace("\\n", "\n").as_bytes())
        .map_err(|error| format!("is not PEM: {error}"))?;
    if certificates.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(certificates) }
}
