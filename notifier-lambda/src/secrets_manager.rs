//! One request to AWS Secrets Manager: `GetSecretValue`.
//!
//! Signed with the library that AWS's SDK signs with, and sent with the client that the notices go
//! through. The SDK itself would double the package, and a function's start with it, for this one request.

use std::env;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::{Client, StatusCode, redirect};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where a region's Secrets Manager is. Credentials are read from the environment at each request, as
/// Lambda sets them.
#[derive(Debug)]
pub struct SecretsManager {
    client: Client,
    url: String,
    region: String,
}

/// Why a secret is not given. No text shows one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsManagerError {
    /// Lambda sets it; whoever starts the program elsewhere has to.
    #[error("{0} is not set")]
    NotSet(&'static str),
    /// The request cannot be made or signed.
    #[error("signing the request")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer.
    #[error("sending the request")]
    Transport(#[from] reqwest::Error),
    /// An answer that is not the secret.
    #[error("it answered {status}: {kind}: {message}")]
    Answer {
        /// Its status.
        status: StatusCode,
        /// The error's name, such as `ResourceNotFoundException`.
        kind: String,
        /// The error's text.
        message: String,
    },
    /// The secret is binary, or has no value yet.
    #[error("it has no text")]
    NoText,
}

#[derive(Deserialize)]
struct SecretValue {
    #[serde(rename = "SecretString")]
    text: Option<String>,
}

impl SecretsManager {
    /// The one of the region that the ARN `id` names, or else of `AWS_REGION`. `AWS_ENDPOINT_URL_SECRETS_MANAGER`
    /// and `AWS_ENDPOINT_URL` name another endpoint than AWS's.
    pub fn from_env(id: &str) -> Result<Self, SecretsManagerError> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let in_arn = id.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2)).map(str::to_owned);
        let region = in_arn.or_else(|| set("AWS_REGION")).ok_or(SecretsManagerError::NotSet("AWS_REGION"))?;
        let url = set("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| set("AWS_ENDPOINT_URL"));
        let url = url.unwrap_or_else(|| {
            let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("https://secretsmanager.{region}.{domain}")
        });
        Ok(Self {
            client: Client::builder().redirect(redirect::Policy::none()).build()?,
            url: format!("{}/", url.trim_end_matches('/')),
            region,
        })
    }

    /// The text of the secret's current version.
    pub async fn get(&self, id: &str) -> Result<String, SecretsManagerError> {
        let request = self.signed(json!({ "SecretId": id }).to_string())?;
        let answer = self.client.execute(request).await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            let message = [text("message"), text("Message")].concat();
            return Err(SecretsManagerError::Answer { status, kind: text("__type"), message });
        }
        let value = serde_json::from_slice(&body).unwrap_or(SecretValue { text: None });
        value.text.ok_or(SecretsManagerError::NoText)
    }

    fn signed(&self, body: String) -> Result<reqwest::Request, SecretsManagerError> {
        let variable = |name| env::var(name).map_err(|_| SecretsManagerError::NotSet(name));
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
            env::var("AWS_SESSION_TOKEN").ok(),
            None,
            "environment",
        );
        self.sign(body, credentials).map_err(SecretsManagerError::Sign)
    }

    fn sign(
        &self,
        body: String,
        credentials: Credentials,
    ) -> Result<reqwest::Request, Box<dyn std::error::Error + Send + Sync>> {
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        let mut request = http::Request::post(&self.url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(body)?;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("secretsmanager")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let signable = SignableRequest::new(
            "POST",
            &self.url,
            headers.into_iter(),
            SignableBody::Bytes(request.body().as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.try_into()?)
    }
}
