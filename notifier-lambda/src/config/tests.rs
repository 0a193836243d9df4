use std::collections::HashMap;
use std::io::Write as _;

use contract::signature::Secret;

use super::*;

const GOOD: [(&str, &str); 2] = [
    ("SLUICEGATE_NOTIFY_URL", "https://server.example/v1/notices"),
    ("SLUICEGATE_NOTIFY_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
];

fn read(changes: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let all: HashMap<_, _> = GOOD.iter().chain(changes).copied().collect();
    Config::from_lookup(|name| all.get(name).map(|&value| value.to_owned()))
}

/// The secret that lies in the environment.
fn value(config: &Config) -> &Secret {
    let SecretSource::Value(secret) = &config.secret else { panic!("it lies elsewhere") };
    secret
}

fn mistakes(changes: &[(&str, &str)]) -> Vec<String> {
    read(changes).unwrap_err().0
}

#[test]
fn a_url_and_a_secret_are_enough() {
    let config = read(&[]).unwrap();
    assert_eq!(config.url.as_str(), "https://server.example/v1/notices");
    assert_eq!(value(&config).reveal(), GOOD[1].1);
    assert_eq!(config.filter, Filter::default());
    assert_eq!(config.body, NoticeBody::Full);
    assert!(config.ca.is_none());
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
        ("SLUICEGATE_NOTIFY_SECRET_TTL", "1m"),
        ("SLUICEGATE_NOTICE_BODY", "minimal"),
        ("SLUICEGATE_NOTIFY_PREFIX", "logs/"),
        ("SLUICEGATE_NOTIFY_SUFFIX", ".gz"),
        ("SLUICEGATE_NOTIFY_MIN_SIZE", "1KiB"),
        ("SLUICEGATE_NOTIFY_MAX_SIZE", "5GiB"),
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
    assert_eq!(config.secret_ttl, Duration::from_mins(1));
    assert_eq!(config.body, NoticeBody::Minimal);
    let expected = Filter { prefix: "logs/".to_owned(), suffix: ".gz".to_owned(), size: 1024..=5 << 30 };
    assert_eq!(config.filter, expected);
    assert_eq!(config.log.level, "warn,notifier_lambda=debug");
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn every_mistake_is_told_at_once() {
    assert_eq!(
        mistakes(&[
            ("SLUICEGATE_NOTIFY_URL", "ftp://server"),
            ("SLUICEGATE_NOTIFY_SECRET", ""),
            ("SLUICEGATE_NOTICE_BODY", "none"),
            ("SLUICEGATE_NOTIFY_CA", "nobody"),
            ("SLUICEGATE_NOTIFY_MIN_SIZE", "2MB"),
            ("SLUICEGATE_NOTIFY_TIMEOUT", "soon"),
            ("SLUICEGATE_NOTIFY_RETRY_BASE", "0s"),
            ("SLUICEGATE_NOTIFY_CONCURRENCY", "0"),
            ("SLUICEGATE_LOG_LEVEL", "verbose"),
            ("SLUICEGATE_LOG_FORMAT", "xml"),
        ]),
        [
            "SLUICEGATE_NOTIFY_URL: begins with \"ftp:\", which is neither http: nor https:",
            "SLUICEGATE_NOTIFY_SECRET: is not set, and neither is SLUICEGATE_NOTIFY_SECRET_FILE or SLUICEGATE_NOTIFY_SECRET_ID; set one of them",
            "SLUICEGATE_NOTIFY_CA: holds no certificate in PEM",
            "SLUICEGATE_NOTICE_BODY: \"none\" is neither full nor minimal",
            "SLUICEGATE_NOTIFY_MIN_SIZE: \"2MB\" is not a size such as 1B, 64KiB, 5MiB or 2GiB",
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
fn the_secret_may_lie_in_a_file_or_in_secrets_manager_but_not_in_two_places() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{}", GOOD[1].1).unwrap();
    let path = file.path().to_str().unwrap();
    let config = read(&[("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", path)]).unwrap();
    assert!(matches!(config.secret, SecretSource::File(secret) if secret == file.path()));
    assert_eq!(
        mistakes(&[("SLUICEGATE_NOTIFY_SECRET_FILE", path)]),
        ["SLUICEGATE_NOTIFY_SECRET: is set, and so is SLUICEGATE_NOTIFY_SECRET_FILE; set one of them"]
    );
    let managed = [("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_ID", "prod/notices")];
    let config = read(&managed).unwrap();
    assert!(matches!(config.secret, SecretSource::SecretsManager(id) if id == "prod/notices"));
    assert_eq!(mistakes(&[("SLUICEGATE_NOTIFY_SECRET_ID", "prod/notices")]).len(), 1);
    let absent = [("SLUICEGATE_NOTIFY_SECRET", ""), ("SLUICEGATE_NOTIFY_SECRET_FILE", "/does/not/exist")];
    assert!(mistakes(&absent)[0].starts_with("SLUICEGATE_NOTIFY_SECRET_FILE: reading \"/does/not/exist\":"));
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

#[test]
fn a_filter_that_lets_nothing_pass_is_a_mistake() {
    assert_eq!(
        mistakes(&[("SLUICEGATE_NOTIFY_MIN_SIZE", "2KiB"), ("SLUICEGATE_NOTIFY_MAX_SIZE", "1KiB")]),
        ["SLUICEGATE_NOTIFY_MIN_SIZE: is more than SLUICEGATE_NOTIFY_MAX_SIZE, so that nothing passes"]
    );
}
