//! The `http` handler: an object's events forwarded to a URL, batch by batch, each batch signed.
//!
//! Batches go out one after the other, in the order of the object. Where they begin and end
//! follows from the object and the limits alone, and no batch waits to become fuller: so every
//! attempt sends the same batches under the same ids, and a receiver that has seen an id before
//! has seen that batch. What was taken is remembered while the server runs, so that an object
//! goes on where it failed.

mod request;

use std::time::Duration;

use async_trait::async_trait;
use contract::signature::Signer;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, redirect};

use super::batches::{Batch, Batches};
use super::progress::Progress;
use super::{Delivery, Effect, Handler, HandlerError, NoEffect, skip_set_aside};
use crate::config::HttpConfig;
use crate::fetch::Content;

/// Bytes of an answer that are read: enough for its reason.
const ANSWER: usize = 1024;

/// Forwards events.
#[derive(Debug)]
pub struct Http {
    config: HttpConfig,
    client: Client,
    signers: Vec<Signer>,
    progress: Progress,
}

/// Why no request could be made at all.
#[derive(Debug, thiserror::Error)]
#[error("making the client for {url} (handler.url): {source}")]
pub struct ClientError {
    /// Where events were to go.
    url: String,
    /// What is wrong.
    source: reqwest::Error,
}

impl Http {
    /// A client for the receiver; it connects with the first batch.
    pub fn new(config: HttpConfig) -> Result<Self, ClientError> {
        // It fails only when a provider is installed already, and then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |source| ClientError { url: contract::without_userinfo(&config.url), source };
        let mut client = Client::builder()
            .user_agent(concat!("sluicegate-server/", env!("CARGO_PKG_VERSION")))
            .timeout(config.timeout)
            // A redirected POST may arrive as a GET, at somebody else.
            .redirect(redirect::Policy::none());
        if let Some(pem) = &config.ca_pem {
            let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(failed)?;
            client = client.tls_certs_only(authorities);
        }
        let client = client.build().map_err(failed)?;
        let signers = config.secrets.iter().map(Signer::new).collect();
        Ok(Self { config, client, signers, progress: Progress::default() })
    }

    async fn send(&self, delivery: &Delivery, batch: &Batch) -> Result<(), HandlerError> {
        let request = request::build(&self.config, &self.signers, delivery, batch);
        let answer = self
            .client
            .post(&self.config.url)
            .headers(request.headers)
            .body(request.body)
            .send()
            .await
            .map_err(|error| not_sent(error.without_url()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = retry_after(&answer);
        let error = Refused { status, reason: beginning(answer).await };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                HandlerError::Later { source: error.into(), after }
            }
            status if !status.is_client_error() => HandlerError::retry(error),
            status if self.config.retry_statuses.contains(&status.as_u16()) => HandlerError::retry(error),
            _ => HandlerError::Never(error.into()),
        })
    }
}

/// A receiver that cannot be reached says nothing about the object; one that was reached and did
/// not answer might have failed because of it.
fn not_sent(error: reqwest::Error) -> HandlerError {
    if error.is_connect() { HandlerError::later(error) } else { HandlerError::retry(error) }
}

#[derive(Debug, thiserror::Error)]
#[error("the receiver answered {status}: {reason:?}")]
struct Refused {
    status: StatusCode,
    reason: String,
}

/// Seconds, or a date.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
    })
}

/// What could be read of the answer: its status counts, its text only explains.
async fn beginning(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(ANSWER);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[async_trait]
impl Handler for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        if skip_set_aside(delivery, self.config.set_aside) {
            return Ok(Box::new(NoEffect));
        }
        let mut batches = Batches::new(content, self.config.batches)?;
        while let Some(batch) = batches.next().await? {
            if !self.progress.has(&delivery.id, &batch) {
                self.send(delivery, &batch).await?;
                self.progress.passed(&delivery.id, &batch);
            }
        }
        self.progress.forget(&delivery.id);
        Ok(Box::new(NoEffect))
    }
}

#[cfg(test)]
mod tests;
