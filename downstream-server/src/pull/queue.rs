//! The only place that names the SQS SDK: receive, prolong, delete.

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Builder;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

use crate::config::{PullConfig, S3Config, S3Credentials};

/// Longest wait for a message; SQS allows no longer.
const WAIT: Duration = Duration::from_secs(20);

/// A queue. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    client: Client,
    url: String,
}

/// A message that is ours until its visibility ends.
#[derive(Debug)]
pub(crate) struct Message {
    /// As in the queue's own logs.
    pub(crate) id: String,
    /// By which it is prolonged and deleted.
    pub(crate) receipt: String,
    pub(crate) body: String,
    /// How often it was received, this time included.
    pub(crate) received: u32,
}

/// Why the queue did not do what was asked. A later try may succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    /// The request failed.
    #[error("{operation} failed")]
    Request { operation: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// Some messages of a request were refused.
    #[error("{operation} was refused for {count} messages: {reason}")]
    Some { operation: &'static str, count: usize, reason: String },
}

impl Queue {
    /// Sets up client and credentials; sends nothing to the queue.
    pub(crate) async fn connect(config: &PullConfig, s3: &S3Config) -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let region = region_of(&config.queue_url).unwrap_or(&s3.region).to_owned();
        let loader = || {
            aws_config::defaults(BehaviorVersion::latest())
                .region(Region::new(region.clone()))
                .http_client(http.clone())
        };
        let shared = match &s3.credentials {
            S3Credentials::Default => loader(),
            S3Credentials::Profile(name) => {
                let provider = ProviderConfig::without_region().with_http_client(http.clone());
                let profile =
                    ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(name);
                loader().credentials_provider(profile.build())
            }
            S3Credentials::Static { access_key_id, secret_access_key } => loader().credentials_provider(
                Credentials::new(access_key_id, secret_access_key, None, None, "configuration"),
            ),
            S3Credentials::AssumeRole { arn, external_id } => {
                let mut role = AssumeRoleProvider::builder(arn).session_name("sluicegate-server");
                if let Some(id) = external_id {
                    role = role.external_id(id);
                }
                loader().credentials_provider(role.configure(&loader().load().await).build().await)
            }
        };
        let mut settings = Builder::from(&shared.load().await);
        if let Some(endpoint) = &config.endpoint {
            settings = settings.endpoint_url(endpoint);
        }
        Self { client: Client::from_conf(settings.build()), url: config.queue_url.clone() }
    }

    /// The client itself, for what only tests ask of a queue.
    #[cfg(all(test, feature = "foreign-sqs"))]
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for messages, at most 20 s; none is no error.
    pub(crate) async fn receive(
        &self,
        most: usize,
        visibility: Duration,
    ) -> Result<Vec<Message>, QueueError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(i32::try_from(most).unwrap_or(1))
            .wait_time_seconds(seconds(WAIT))
            .visibility_timeout(seconds(visibility))
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|error| failed("ReceiveMessage", error))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        Ok(messages
            .map(|message| Message {
                received: message
                    .attributes
                    .as_ref()
                    .and_then(|of| of.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok())
                    .unwrap_or(1),
                id: message.message_id.unwrap_or_default(),
                receipt: message.receipt_handle.unwrap_or_default(),
                body: message.body.unwrap_or_default(),
            })
            .collect())
    }

    /// Keeps messages ours for so long from now; at most 10.
    pub(crate) async fn prolong(&self, receipts: &[String], visibility: Duration) -> Result<(), QueueError> {
        let entry = |(number, receipt): (usize, &String)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds(visibility))
                .build()
                .expect("id and receipt are set")
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        let request = self.client.change_message_visibility_batch().queue_url(&self.url);
        let operation = "ChangeMessageVisibilityBatch";
        let answer =
            request.set_entries(Some(entries)).send().await.map_err(|error| failed(operation, error))?;
        refused(operation, answer.failed.iter().map(|failed| failed.message().unwrap_or(failed.code())))
    }

    /// Deletes messages; at most 10.
    pub(crate) async fn delete(&self, receipts: &[String]) -> Result<(), QueueError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let entry = |(number, receipt): (usize, &String)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(number.to_string())
                .receipt_handle(receipt)
                .build()
                .expect("id and receipt are set")
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        let request = self.client.delete_message_batch().queue_url(&self.url);
        let operation = "DeleteMessageBatch";
        let answer =
            request.set_entries(Some(entries)).send().await.map_err(|error| failed(operation, error))?;
        refused(operation, answer.failed.iter().map(|failed| failed.message().unwrap_or(failed.code())))
    }
}

fn refused<'a>(
    operation: &'static str,
    mut reasons: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), QueueError> {
    let count = reasons.len();
    let Some(reason) = reasons.next() else { return Ok(()) };
    Err(QueueError::Some { operation, count, reason: reason.to_owned() })
}

fn failed<E: std::error::Error + Send + Sync + 'static>(
    operation: &'static str,
    error: SdkError<E>,
) -> QueueError {
    QueueError::Request {
        operation,
        source: error.into_source().unwrap_or_else(|error| error.to_string().into()),
    }
}

fn seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// The region in a queue's URL: `https://sqs.eu-west-1.amazonaws.com/...`
fn region_of(url: &str) -> Option<&str> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let (region, domain) = host.strip_prefix("sqs.")?.split_once('.')?;
    domain.starts_with("amazonaws.com").then_some(region)
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn the_queues_own_url_tells_its_region() {
        for (url, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/123456789012/events", Some("eu-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events", Some("cn-north-1")),
            ("http://127.0.0.1:4566/000000000000/events", None),
        ] {
            assert_eq!(region_of(url), region, "{url}");
        }
    }
}
