//! One notice to the server: signed, tried again while that can help and time is left.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signer};
use contract::{Notice, ObjectKey};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use crate::config::{Config, NoticeBody};
use crate::keyring::{Keyring, KeyringError};
use crate::millis;

/// How much of an answer is read: enough for its reason, and for the connection to be used again.
const ANSWER_BYTES: usize = 2048;
/// A try with less time than this is not begun.
const SHORTEST_TRY: Duration = Duration::from_millis(10);

/// The server, its secret, and the connections to it. Made once, at the cold start; the connections
/// are kept from one invocation to the next.
#[derive(Debug)]
pub struct Relay {
    client: Client,
    url: Url,
    keyring: Keyring,
    body: NoticeBody,
    timeout: Duration,
    retry_base: Duration,
    retry_max: Duration,
    jitter: RandomState,
}

/// Why no relay can be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The HTTP client cannot be made.
    #[error("making the HTTP client")]
    Client(#[from] reqwest::Error),
    /// Nothing can be signed.
    #[error("reading the secret that signs notices")]
    Secret(#[from] KeyringError),
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
    /// Makes the client and reads the secret; no request is sent to the server.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        // It fails only when a provider is installed already, and then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("sluicegate-notifier/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(config.concurrency)
            // A redirected POST may arrive as a GET, at somebody else.
            .redirect(redirect::Policy::none());
        if let Some(authorities) = &config.ca {
            client = client.tls_certs_only(authorities.iter().cloned());
        }
        Ok(Self {
            client: client.build()?,
            url: config.url.clone(),
            keyring: Keyring::open(config.secret.clone(), config.secret_ttl, config.timeout).await?,
            body: config.body,
            timeout: config.timeout,
            retry_base: config.retry_base,
            retry_max: config.retry_max,
            jitter: RandomState::new(),
        })
    }

    /// Where notices go, without what may be secret in a URL.
    pub fn server(&self) -> &str {
        self.url.as_str().split(['?', '#']).next().unwrap_or_default()
    }

    /// Returns when the server has the notice, when it never will, or when `deadline` leaves no time
    /// for another try. Every outcome is logged, with the id that the server's log has too.
    pub async fn send(&self, notice: &Notice, deadline: Instant) -> Result<(), RelayError> {
        let started = Instant::now();
        let result = self.try_until(notice, deadline).await;
        let cut = ObjectKey::cut_of(&notice.key).map(tracing::field::display);
        let Notice { id, bucket, key, .. } = notice;
        let ms = millis(started.elapsed());
        match result {
            Ok((status, tries)) => {
                let status = status.as_u16();
                info!(notice_id = id, cut, bucket, key, status, tries, ms, "relayed");
                Ok(())
            }
            Err(error) => {
                error!(notice_id = id, cut, bucket, key, ms, reason = chain(&error), "not relayed");
                Err(error)
            }
        }
    }

    async fn try_until(&self, notice: &Notice, deadline: Instant) -> Result<(StatusCode, u32), RelayError> {
        let body = match self.body {
            NoticeBody::Full => notice.to_json(),
            NoticeBody::Minimal => notice.to_minimal_json(),
        };
        let mut key = self.keyring.current().await;
        let mut last = None;
        for tries in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < SHORTEST_TRY {
                return Err(RelayError::OutOfTime { tries: tries - 1, last });
            }
            let answer = self.request(&key.signer, &notice.id, body.clone(), left.min(self.timeout)).await;
            let error = match answer {
                Ok(status) => return Ok((status, tries)),
                Err(error) => error,
            };
            if error.is_unauthorized()
                && let Some(newer) = self.keyring.instead_of(&key).await
            {
                key = newer;
                last = Some(error);
                continue;
            }
            if !error.may_succeed() {
                return Err(RelayError::Refused(error));
            }
            let wait = self.backoff(tries).max(error.retry_after().unwrap_or_default());
            if Instant::now() + wait + SHORTEST_TRY > deadline {
                return Err(RelayError::OutOfTime { tries, last: Some(error) });
            }
            let (wait_ms, reason) = (millis(wait), chain(&error));
            warn!(notice_id = notice.id, tries, wait_ms, reason, "trying again");
            sleep(wait).await;
            last = Some(error);
        }
        unreachable!("the loop ends by returning")
    }

    async fn request(
        &self,
        signer: &Signer,
        id: &str,
        body: Vec<u8>,
        timeout: Duration,
    ) -> Result<StatusCode, TryError> {
        // Each try carries its own time, so that the server may be strict about it.
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let answer = self
            .client
            .post(self.url.clone())
            .timeout(timeout)
            .header(CONTENT_TYPE, "application/json")
            .header(HEADER_ID, id)
            .header(HEADER_TIMESTAMP, now)
            .header(HEADER_SIGNATURE, signer.sign(id, now, &body))
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
                let never = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED];
                passing.contains(status) || (status.is_server_error() && !never.contains(status))
            }
            Self::Transport(error) => !error.is_builder(),
        }
    }

    fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Answer { status: StatusCode::UNAUTHORIZED, .. })
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

/// Seconds, or a date.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    })
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
