//! The notifier against real servers: the relay alone, and the whole program under the local cloud's Runtime API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod batch;
mod lambda;
mod program;
mod relay;
mod secrecy;
mod secret;
mod server;
mod tls;
mod versions;

use std::time::Duration;

use notifier_lambda::{Config, Notifier};
use serde_json::Value;
use tokio::time::Instant;

/// An event of the crate that reads them.
macro_rules! fixture {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            "../../../crates/s3-event/tests/fixtures/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}
use fixture;

/// A secret that nobody uses.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Settings with short waits, and these besides.
fn config(url: &str, changes: &[(&str, &str)]) -> Config {
    let variables = [
        ("SLUICEGATE_NOTIFY_URL", url),
        ("SLUICEGATE_NOTIFY_SECRET", SECRET),
        ("SLUICEGATE_NOTIFY_TIMEOUT", "300ms"),
        ("SLUICEGATE_NOTIFY_RETRY_BASE", "1ms"),
        ("SLUICEGATE_NOTIFY_RETRY_MAX", "5ms"),
    ];
    let all = || changes.iter().chain(&variables);
    Config::from_lookup(|name| Some(all().find(|(known, _)| *known == name)?.1.to_owned())).unwrap()
}

/// A notifier with those settings.
async fn notifier(url: &str, changes: &[(&str, &str)]) -> Notifier {
    Notifier::open(&config(url, changes)).await.unwrap()
}

/// The function's answer to an event, as Lambda is given it.
async fn answer(notifier: &Notifier, event: Value) -> Value {
    serde_json::to_value(notifier.handle(event, plenty()).await.unwrap()).unwrap()
}

/// More time than any test needs.
fn plenty() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
