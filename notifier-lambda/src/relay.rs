//! One notice to the server: signed, tried again while that can help and time is left.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use contract::Notice;
use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signer};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{Config, millis};

/// How much of an answer is read: enough for its reason, and for the connection to be used again.
const ANSWER_BYTES: usize = 2048;
/// A try with less time than this is not begun.
const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// The server, its secret, and the connections to it. Made once, at the cold start.
#[derive(Debug)]
pub struct Relay {
    client: Client,
    url: Url,
    signer: Signer,
    timeout: Duration,
    retry_base: Duration,
    retry_max: Duration,
    concurrency: usize,
    jitter: RandomState,
}

/// Why the server does not have a notice.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The same request can never succeed: a person has to change something.
    #[error("the server refused it, and would again")]
    Refused(#[source] TryError),
    /// A later request may succeed; in this invocation there is no time for one.
    #[error("the time ran out after {tries} tries")]
    OutOfTime {
        /// Requests that were sent.
        tries: u32,
        /// What the last one failed with.
        #[source]
        last: Option<TryError>,
    },
}

/// Why one request failed.
#[derive(Debug, thiserror::Error)]
pub enum TryError {
    /// The server answered, but not with a 2xx.
    #[error("it answered {status}: {reason:?}")]
    Answer {
        /// Its status.
        status: StatusCode,
        /// The beginning of its answer.
        reason: String,
        /// When it asks for the next request.
        retry_after: Option<Duration>,
    },
    /// No answer: it cannot be reached, or took too long.
    #[error("sending the notice")]
    Transport(#[source] reqwest::Error),
}

impl Relay {
    /// Makes the client; no request is sent.
    pub fn new(config: &Config) -> Result<Self, reqwest::Error> {
        // It fails only when a provider is installed already, and then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("sluicegate-notifier/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            // A redirected POST may arrive as a GET, at somebody else.
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            url: config.url.clone(),
            signer: Signer::new(&config.secret),
            timeout: config.timeout,
            retry_base: config.retry_base,
            retry_max: config.retry_max,
            concurrency: config.concurrency,
            jitter: RandomState::new(),
        })
    }

    /// Where notices go, without what may be secret in a URL.
    pub fn server(&self) -> &str {
        self.url.as_str().split(['?', '#']).next().unwrap_or_default()
    }

    /// How many notices of one event are sent at once.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Returns when the server has the notice, when it never will, or when `deadline` leaves no time for another try.
    pub async fn send(&self, notice: &Notice, deadline: Instant) -> Result<(), RelayError> {
        let started = Instant::now();
        let body = notice.to_json();
        let mut last = None;
        for tries in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SHORTEST_TRY {
                return Err(RelayError::OutOfTime { tries: tries - 1, last });
            }
            let error = match self.request(&notice.id, body.clone(), left.min(self.timeout)).await {
                Ok(status) => {
                    info!(
                        notice = notice.id,
                        bucket = notice.bucket,
                        key = notice.key,
                        status = status.as_u16(),
                        tries,
                        ms = millis(started.elapsed()),
                        "relayed"
                    );
                    return Ok(());
                }
                Err(error) if error.may_succeed() => error,
                Err(error) => return Err(RelayError::Refused(error)),
            };
            let wait = self.backoff(tries).max(error.retry_after().unwrap_or_default());
            if Instant::now() + wait + SHORTEST_TRY > deadline {
                return Err(RelayError::OutOfTime { tries, last: Some(error) });
            }
            warn!(notice = notice.id, tries, wait_ms = millis(wait), reason = chain(&error), "trying again");
            sleep(wait).await;
            last = Some(error);
        }
        unreachable!("the loop ends by returning")
    }

    async fn request(&self, id: &str, body: Vec<u8>, timeout: Duration) -> Result<StatusCode, TryError> {
        // Each try carries its own time, so that the server may be strict about it.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let answer = self
            .client
            .post(self.url.clone())
            .timeout(timeout)
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, now)
            .header(HEADER_SIGNATURE, self.signer.sign(id, now, &body))
            .body(body)
            .send()
            .await
            .map_err(|error| TryError::Transport(error.without_url()))?;
        let status = answer.status();
        let retry_after = retry_after(&answer);
        let reason = beginning(answer).await;
        if status.is_success() { Ok(status) } else { Err(TryError::Answer { status, reason, retry_after }) }
    }

    /// Doubles with each try, and is drawn from its upper half so that many notices do not come back at once.
    fn backoff(&self, tries: u32) -> Duration {
        let full = self.retry_base.saturating_mul(1 << (tries - 1).min(16)).min(self.retry_max);
        let drawn = self.jitter.hash_one((Instant::now(), tries)) % 1024;
        full / 2 + (full / 2) * drawn as u32 / 1024
    }
}

impl TryError {
    /// Whether the same request may succeed later, with nothing changed by a person.
    pub fn may_succeed(&self) -> bool {
        match self {
            Self::Answer { status, .. } => {
                let passing =
                    [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
                status.is_server_error() || passing.contains(status)
            }
            Self::Transport(error) => !error.is_builder(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answer { retry_after, .. } => *retry_after,
            Self::Transport(_) => None,
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Seconds; the form with a date is not worth a calendar here.
fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// What could be read of the answer: its status counts, its text only explains.
async fn beginning(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(ANSWER_BYTES);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}
