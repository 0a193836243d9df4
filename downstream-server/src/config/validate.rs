//! From texts to a [`Config`]: each value's own limits, and what values ask of each other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use command_line::values::{listen_address, path};
use contract::signature::Secret;
use contract::{BucketNameError, check_bucket_name, without_mark};

use super::access;
use super::handler::{handler, size};
use super::settings::Settings;
use super::values;
use super::{
    CodecBy, Config, ConfigError, DeleteWhen, FetchConfig, LogConfig, NoticeConfig, PullConfig, ReadFrom,
    ReconcileConfig, RetentionConfig, RetryConfig, S3Config, S3Credentials,
};
use crate::handler::BatchLimits;
use crate::inbox::Location;

pub(super) fn validate(mut settings: Settings, ready_file: Option<PathBuf>) -> Result<Config, ConfigError> {
    let s = &mut settings;
    let listen = s.value("listen", SocketAddr::from(([127, 0, 0, 1], 0)), listen_address);
    let read_from = s.value("read_from", ReadFrom::Loopback, |text| match text {
        "loopback" => Ok(ReadFrom::Loopback),
        "nobody" => Ok(ReadFrom::Nobody),
        "anyone" => {
            Err("reading from elsewhere needs a token now; set tokens or token_file, and leave this"
                .to_owned())
        }
        _ => Err(format!("`{text}` is neither loopback nor nobody")),
    });
    let config = Config {
        listen,
        dir: s.value("dir", PathBuf::new(), path),
        inbox: inbox(s),
        lease: s.value("lease", Duration::from_secs(1), |text| match values::duration(text) {
            Ok(lease) if lease < Duration::from_secs(1) => Err(format!("`{text}` is shorter than 1s")),
            other => other,
        }),
        ready_file,
        read_from,
        tokens: access::tokens(s),
        serve: access::serve(s),
        shutdown_timeout: s.value("shutdown_timeout", Duration::ZERO, values::duration),
        max_streams: s.value("max_streams", 1, |text| between(text, 1, 10_000)),
        max_event_bytes: size(s, "events.max_event_bytes", BatchLimits::SOME.event_bytes),
        notices: notices(s, listen),
        store_events: access::store_events(s),
        s3: s3(s),
        fetch: FetchConfig {
            concurrency: s.value("fetch.concurrency", 1, |text| between(text, 1, 256)),
            read_timeout: s.value("fetch.read_timeout", Duration::ZERO, values::duration),
            timeout: s.value("fetch.timeout", Duration::ZERO, values::duration),
            max_object_bytes: s.value("fetch.max_object_bytes", 0, values::bytes),
            max_decoded_bytes: s.value("fetch.max_decoded_bytes", 0, values::bytes),
            max_expansion: s.value("fetch.max_expansion", 1, |text| between(text, 1, 1_000_000)),
            expansion_floor_bytes: s.value("fetch.expansion_floor_bytes", 0, values::bytes),
            max_zstd_window: s.value("fetch.max_zstd_window", 1 << 10, |text| match values::bytes(text) {
                Ok(bytes) if !(1 << 10..=1 << 31).contains(&bytes) => {
                    Err(format!("`{text}` is not between 1KiB and 2GiB"))
                }
                other => other,
            }),
            codec: s.value("fetch.codec", CodecBy::Header, |text| match text {
                "by_header" => Ok(CodecBy::Header),
                "by_name" => Ok(CodecBy::Name),
                _ => Err(format!("`{text}` is neither by_header nor by_name")),
            }),
            verify_foreign: s.value("fetch.verify_foreign", false, values::switch),
            read_ahead_bytes: s
                .value("fetch.read_ahead_bytes", 0, |text| values::bytes(text).map(|bytes| bytes as usize)),
        },
        retry: RetryConfig {
            base: s.value("retry.base", Duration::ZERO, values::duration),
            max: s.value("retry.max", Duration::ZERO, values::duration),
            attempts: s.value("retry.attempts", 1, |text| between(text, 1, 1_000_000)),
            missing_attempts: s.value("retry.missing_attempts", 1, |text| between(text, 1, 1_000_000)),
            max_retry_after: s.value("retry.max_retry_after", Duration::ZERO, values::duration),
        },
        handler: handler(s),
        pull: pull(s),
        reconcile: reconcile(s),
        missing_alarm: s.value("continuity.missing_alarm", Duration::ZERO, values::duration),
        retention: RetentionConfig {
            age: s.value("retention.done_age", Duration::ZERO, values::duration),
            rows: s.value("retention.done_rows", 1, |text| between(text, 1, 1_000_000_000)),
        },
        log: LogConfig {
            level: s.value("log.level", String::new(), |text| {
                tracing_subscriber::EnvFilter::try_new(text)
                    .map(|_| text.to_owned())
                    .map_err(|error| format!("`{text}` is not a log filter: {error}"))
            }),
            json: s.value("log.format", false, |text| match text {
                "text" => Ok(false),
                "json" => Ok(true),
                _ => Err(format!("`{text}` is neither text nor json")),
            }),
        },
    };
    let mistakes = settings.into_mistakes();
    if mistakes.is_empty() { Ok(config) } else { Err(ConfigError(mistakes)) }
}

fn notices(s: &mut Settings, listen: SocketAddr) -> NoticeConfig {
    let buckets = s.list("notices.buckets");
    if buckets.is_empty() {
        s.mistake(
            "notices.buckets: name the buckets whose notices are taken: `buckets = [\"my-events\"]` below \
             [notices] in the file, or --notices-buckets my-events",
        );
    }
    let elsewhere = s.get("s3.endpoint").is_some();
    for bucket in &buckets {
        match check_bucket_name(bucket) {
            // Another store than AWS may call its buckets as it likes.
            Err(BucketNameError::Aws { .. }) if elsewhere => {}
            Err(error) => s.mistake(format!("notices.buckets: {error}")),
            Ok(()) => {}
        }
    }
    let secrets = secrets(s, "notices.secrets", "notices.secret_file");
    if secrets.is_empty() && !listen.ip().is_loopback() {
        s.mistake(format!(
            "notices.secrets: unsigned notices are taken on loopback only, and listen is {listen}; \
             set a secret (SLUICEGATE_SERVER_NOTICES_SECRETS or --notices-secret-file)"
        ));
    }
    NoticeConfig {
        buckets,
        regions: s.list("notices.regions"),
        secrets,
        clock_tolerance: s.value("notices.clock_tolerance", Duration::ZERO, values::duration),
        max_bytes: s.value("notices.max_bytes", 0, |text| values::bytes(text).map(|bytes| bytes as usize)),
        read_timeout: s.value("notices.read_timeout", Duration::ZERO, values::duration),
    }
}

/// The secrets of a setting and of the file that another one names.
pub(super) fn secrets(s: &mut Settings, name: &'static str, file: &'static str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for text in with_file(s, name, file) {
        match text.parse::<Secret>() {
            Ok(secret) => secrets.push(secret),
            Err(error) => s.mistake(format!("{name}: {error}")),
        }
    }
    secrets
}

/// The texts of a setting, and the lines of the file that another one names.
pub(super) fn with_file(s: &mut Settings, name: &'static str, file: &'static str) -> Vec<String> {
    let mut texts = s.list(name);
    if let Some(file_path) = s.optional(file, path) {
        match read_lines(&file_path) {
            Ok(lines) => texts.extend(lines),
            Err(mistake) => s.mistake(format!("{file}: {mistake}")),
        }
    }
    texts
}

/// The lines that are not blank; at least one.
fn read_lines(path: &Path) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    let lines: Vec<_> = without_mark(&text)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if lines.is_empty() { Err(format!("{} is empty", path.display())) } else { Ok(lines) }
}

fn s3(s: &mut Settings) -> S3Config {
    let text = |text: &str| Ok(text.to_owned());
    let profile = s.optional("s3.profile", text);
    let role = s.optional("s3.role_arn", text);
    let external_id = s.optional("s3.external_id", text);
    let key = (s.optional("s3.access_key_id", text), s.optional("s3.secret_access_key", text));
    let named = [profile.is_some(), role.is_some(), key.0.is_some()];
    if named.iter().filter(|named| **named).count() > 1 {
        s.mistake("s3: profile, role_arn and access_key_id exclude each other");
    }
    if external_id.is_some() && role.is_none() {
        s.mistake("s3.external_id: it belongs to a role_arn, and there is none");
    }
    let credentials = match (key, profile, role) {
        ((Some(access_key_id), Some(secret_access_key)), ..) => {
            S3Credentials::Static { access_key_id, secret_access_key }
        }
        ((Some(_), None), ..) => {
            s.mistake(
                "s3.secret_access_key: access_key_id needs it; set SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY",
            );
            S3Credentials::Default
        }
        ((None, Some(_)), ..) => {
            s.mistake("s3.access_key_id: secret_access_key needs it");
            S3Credentials::Default
        }
        (_, Some(profile), _) => S3Credentials::Profile(profile),
        (_, _, Some(arn)) => S3Credentials::AssumeRole { arn, external_id },
        _ => S3Credentials::Default,
    };
    S3Config {
        region: s.value("s3.region", String::new(), text),
        endpoint: s.optional("s3.endpoint", |text| {
            let known = text.starts_with("http://") || text.starts_with("https://");
            known
                .then(|| text.to_owned())
                .ok_or_else(|| format!("`{text}` does not begin with http:// or https://"))
        }),
        path_style: s.value("s3.path_style", false, values::switch),
        credentials,
    }
}

fn inbox(s: &mut Settings) -> Location {
    let ca_file = s.optional("inbox_ca_file", path);
    let place = s.optional("inbox", |text| Ok(text.to_owned()));
    let shared = |place: &String| ["postgres://", "postgresql://"].iter().any(|kind| place.starts_with(kind));
    match (place, ca_file) {
        (Some(url), ca_file) if shared(&url) => Location::Postgres { url, ca_file },
        (path, None) => Location::File(path.map(PathBuf::from)),
        (_, Some(_)) => {
            s.mistake(
                "inbox_ca_file: only an inbox in PostgreSQL (inbox = postgres://...) has a certificate",
            );
            Location::File(None)
        }
    }
}

fn pull(s: &mut Settings) -> Option<PullConfig> {
    let queue_url = s.optional("pull.queue_url", url);
    let endpoint = s.optional("pull.endpoint", url);
    if endpoint.is_some() && queue_url.is_none() {
        s.mistake("pull.endpoint: there is no pull.queue_url to pull from");
    }
    let config = PullConfig {
        queue_url: queue_url.clone().unwrap_or_default(),
        endpoint,
        visibility: s.value("pull.visibility", Duration::from_secs(1), |text| match values::duration(text) {
            Ok(length) if !(1..=43_200).contains(&length.as_secs()) => {
                Err(format!("`{text}` is not between 1s and 12h"))
            }
            other => other,
        }),
        in_flight: s.value("pull.in_flight", 1, |text| between(text, 1, 10_000)),
        delete_when: s.value("pull.delete_when", DeleteWhen::Taken, |text| match text {
            "taken" => Ok(DeleteWhen::Taken),
            "done" => Ok(DeleteWhen::Done),
            _ => Err(format!("`{text}` is neither taken nor done")),
        }),
    };
    queue_url.map(|_| config)
}

fn url(text: &str) -> Result<String, String> {
    let known = text.starts_with("http://") || text.starts_with("https://");
    known.then(|| text.to_owned()).ok_or_else(|| format!("`{text}` does not begin with http:// or https://"))
}

fn reconcile(s: &mut Settings) -> ReconcileConfig {
    let mut prefixes = s.list("reconcile.prefixes");
    if prefixes.is_empty() {
        prefixes.push(String::new());
    }
    ReconcileConfig {
        interval: s.value("reconcile.interval", None, |text| match text {
            "off" => Ok(None),
            _ => values::duration(text).map(Some).map_err(|mistake| format!("{mistake}, or off")),
        }),
        prefixes,
        foreign: s.value("reconcile.foreign", false, values::switch),
        grace: s.value("reconcile.grace", Duration::ZERO, values::duration),
        whole: s.value("reconcile.start", true, |text| match text {
            "oldest" => Ok(true),
            "newest" => Ok(false),
            _ => Err(format!("`{text}` is neither oldest nor newest")),
        }),
        objects_per_second: s.value("reconcile.objects_per_second", 1, |text| between(text, 1, 1_000_000)),
    }
}

pub(super) fn between<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy,
{
    match text.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("`{text}` is not a number between {least} and {most}")),
    }
}
