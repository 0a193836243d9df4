//! The client: one pool of connections, and credentials that are loaded anew when refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::genuine::Genuine;
use super::headers::TextHeaders;
use super::{Credentials, S3Options};
use crate::{ConnectError, ErrorKind};

/// Credentials are loaded anew at most this often, however many calls are refused meanwhile.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// An idle connection is closed by us before S3 closes it under a request of ours.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// What all buckets of one endpoint share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) options: S3Options,
    http: SharedHttpClient,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    client: Client,
    since: Instant,
    refused: bool,
}

impl Connection {
    pub(super) async fn open(options: S3Options) -> Result<Self, ConnectError> {
        if let Some(url) = &options.endpoint
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            return Err(ConnectError::Endpoint(url.clone()));
        }
        let http = http_client(&options)?;
        let config = shared_config(&options, &http).await;
        if config.region().is_none() {
            return Err(ConnectError::NoRegion);
        }
        let client = client(&options, &config);
        let current = Mutex::new(Current { client, since: Instant::now(), refused: false });
        Ok(Self { options, http, current })
    }

    /// The client to use now. The SDK renews what says when it expires; what was changed under
    /// us (a rotated key in a file, a revoked session) shows as a refusal, and is read again here.
    pub(super) async fn client(&self) -> Client {
        if !self.reload_is_due() {
            return self.current().client.clone();
        }
        let fresh = client(&self.options, &shared_config(&self.options, &self.http).await);
        self.current().client = fresh.clone();
        fresh
    }

    /// Notes a refusal, so that a later call loads the credentials anew.
    pub(super) fn failed_with(&self, kind: ErrorKind) {
        let refused = matches!(kind, ErrorKind::AccessDenied | ErrorKind::Credentials | ErrorKind::CredentialsExpired)
            // A head's refusal does not say whether it was for that.
            || kind == ErrorKind::Rejected;
        if refused && !matches!(self.options.credentials, Credentials::Static { .. }) {
            self.current().refused = true;
        }
    }

    /// True for one caller per refusal, at most every [`RELOAD_EVERY`].
    fn reload_is_due(&self) -> bool {
        let mut current = self.current();
        let due = current.refused && current.since.elapsed() >= RELOAD_EVERY;
        if due {
            current.since = Instant::now();
            current.refused = false;
        }
        due
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn http_client(options: &S3Options) -> Result<SharedHttpClient, ConnectError> {
    let trust = match &options.ca_file {
        None => TrustStore::default(),
        Some(path) => {
            let fail = |source: Box<dyn std::error::Error + Send + Sync>| ConnectError::CaFile {
                path: path.display().to_string(),
                source,
            };
            let pem = std::fs::read(path).map_err(|error| fail(error.into()))?;
            // The TLS library panics on a file without certificates, so look before.
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                return Err(fail("no PEM certificate in it".into()));
            }
            TrustStore::empty().with_pem_certificate(pem)
        }
    };
    let tls = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| ConnectError::Tls(error.into()))?;
    Ok(aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(POOL_IDLE)
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https())
}

/// Region and credentials. Requests to credential services keep the SDK's retries.
async fn shared_config(options: &S3Options, http: &SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .app_name(AppName::new("sluicegate").expect("letters are a valid name"))
        .timeout_config(TimeoutConfig::builder().connect_timeout(options.connect_timeout).build());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    } else if options.endpoint.is_some() {
        // Servers other than AWS take any region; asking the metadata service for one would only wait.
        let named = EnvironmentVariableRegionProvider::new();
        loader =
            loader.region(RegionProviderChain::first_try(named).or_else(Region::from_static("us-east-1")));
    }
    match &options.credentials {
        Credentials::Default => loader.load().await,
        Credentials::Profile(name) => {
            let config = loader.profile_name(name).load().await;
            let provider_config = ProviderConfig::without_region()
                .with_http_client(http.clone())
                .with_region(config.region().cloned());
            let provider = ProfileFileCredentialsProvider::builder()
                .configure(&provider_config)
                .profile_name(name)
                .build();
            with_credentials(&config, SharedCredentialsProvider::new(provider))
        }
        Credentials::Static { access_key_id, secret_access_key, session_token } => {
            let fixed = aws_credential_types::Credentials::new(
                access_key_id,
                secret_access_key,
                session_token.clone(),
                None,
                "configuration",
            );
            loader.credentials_provider(fixed).load().await
        }
        Credentials::AssumeRole { role_arn, external_id, session_name } => {
            let config = loader.load().await;
            let mut role =
                AssumeRoleProvider::builder(role_arn).session_name(session_name).configure(&config);
            if let Some(id) = external_id {
                role = role.external_id(id);
            }
            with_credentials(&config, SharedCredentialsProvider::new(role.build().await))
        }
    }
}

fn with_credentials(config: &SdkConfig, provider: SharedCredentialsProvider) -> SdkConfig {
    config.to_builder().credentials_provider(provider).build()
}

fn client(options: &S3Options, config: &SdkConfig) -> Client {
    let mut s3 = aws_sdk_s3::config::Builder::from(config)
        // A retry below us would turn our own success into a 412.
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // `call` watches progress itself, by limits the user sets.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .interceptor(Genuine)
        .interceptor(TextHeaders)
        .force_path_style(options.path_style);
    if let Some(endpoint) = &options.endpoint {
        s3 = s3.endpoint_url(endpoint);
    }
    Client::from_conf(s3.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(credentials: Credentials) -> Connection {
        let endpoint = Some("http://127.0.0.1:9".into());
        Connection::open(S3Options { endpoint, credentials, ..S3Options::new("b") }).await.unwrap()
    }

    fn as_if_opened_long_ago(connection: &Connection) {
        connection.current().since = Instant::now().checked_sub(RELOAD_EVERY).unwrap();
    }

    #[tokio::test]
    async fn refused_credentials_are_loaded_anew_once_and_not_too_often() {
        let connection = open(Credentials::Profile("some".into())).await;
        as_if_opened_long_ago(&connection);
        assert!(!connection.reload_is_due(), "nothing was refused");
        connection.failed_with(ErrorKind::Timeout);
        assert!(!connection.reload_is_due(), "a time-out refuses nothing");
        connection.failed_with(ErrorKind::CredentialsExpired);
        assert!(connection.reload_is_due());
        connection.failed_with(ErrorKind::AccessDenied);
        assert!(!connection.reload_is_due(), "just loaded");
        as_if_opened_long_ago(&connection);
        assert!(connection.reload_is_due());
        assert!(!connection.reload_is_due(), "one refusal, one reload");
    }

    #[tokio::test]
    async fn fixed_credentials_have_nothing_to_load() {
        let connection = open(Credentials::Static {
            access_key_id: "a".into(),
            secret_access_key: "b".into(),
            session_token: None,
        })
        .await;
        as_if_opened_long_ago(&connection);
        connection.failed_with(ErrorKind::AccessDenied);
        assert!(!connection.reload_is_due());
    }
}
