//! A cloud in a temporary folder, the real S3 client, and a runtime that speaks the Runtime API.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use local_cloud::{CloudOptions, LocalCloud};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "bucket";

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) options: CloudOptions,
    pub(crate) cloud: LocalCloud,
    pub(crate) s3: Client,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut CloudOptions)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut options = CloudOptions::new(dir.path().join("cloud"));
        options.retry_delays = [Duration::from_millis(20), Duration::from_millis(40)];
        options.request_log = Some(dir.path().join("requests.jsonl"));
        options.sync = false;
        change(&mut options);
        let cloud = LocalCloud::start(options.clone()).await.unwrap();
        cloud.create_bucket(BUCKET).await.unwrap();
        let s3 = client(&cloud, &options.secret_key);
        Self { dir, options, cloud, s3 }
    }

    /// Stops the cloud and starts another one on its folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { dir, options, cloud, .. } = self;
        cloud.shutdown().await;
        let cloud = LocalCloud::start(options.clone()).await.unwrap();
        let s3 = client(&cloud, &options.secret_key);
        Self { dir, options, cloud, s3 }
    }

    pub(crate) async fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let body = ByteStream::from(body.into());
        self.s3.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    }

    pub(crate) async fn get(&self, key: &str) -> Vec<u8> {
        let object = self.s3.get_object().bucket(BUCKET).key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    /// Keys of the bucket, by the listing.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut pages = self.s3.list_objects_v2().bucket(BUCKET).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        keys
    }

    /// The names of what lies in staging.
    pub(crate) fn staged(&self) -> usize {
        std::fs::read_dir(self.options.dir.join(".cloud/staging")).unwrap().count()
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::new(&self.cloud.lambda_url())
    }
}

pub(crate) fn client(cloud: &LocalCloud, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(cloud.s3_url())
        .force_path_style(true)
        .credentials_provider(Credentials::new("local", secret, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// Status and code of a refused request.
pub(crate) fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> (u16, String) {
    let error = result.expect_err("the request should have been refused");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

/// The least client of the Runtime API, one keep-alive connection, as a runtime has.
pub(crate) struct Runtime {
    base: String,
    client: reqwest::Client,
}

pub(crate) struct Given {
    pub(crate) id: String,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) event: serde_json::Value,
}

impl Runtime {
    pub(crate) fn new(address: &str) -> Self {
        // The client's TLS is never used, yet it wants to know whose it is.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().pool_max_idle_per_host(1).no_proxy().build().unwrap();
        Self { base: format!("http://{address}"), client }
    }

    pub(crate) async fn next(&self) -> Given {
        let url = format!("{}/2018-06-01/runtime/invocation/next", self.base);
        let response = self.client.get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        let id = headers["lambda-runtime-aws-request-id"].to_str().unwrap().to_owned();
        let event = response.json().await.unwrap();
        Given { id, headers, event }
    }

    pub(crate) async fn succeed(&self, id: &str) -> u16 {
        self.post(&format!("/2018-06-01/runtime/invocation/{id}/response"), "\"done\"").await
    }

    pub(crate) async fn fail(&self, id: &str) -> u16 {
        let error = r#"{"errorType":"Unavailable","errorMessage":"the server is away"}"#;
        self.post(&format!("/2018-06-01/runtime/invocation/{id}/error"), error).await
    }

    pub(crate) async fn post(&self, path: &str, body: &'static str) -> u16 {
        let response = self.client.post(format!("{}{path}", self.base)).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        drop(response.bytes().await.unwrap());
        status
    }

    /// Invokes the function from outside.
    pub(crate) async fn invoke(&self, kind: &str, body: &'static str) -> reqwest::Response {
        let url = format!("{}/2015-03-31/functions/sluicegate-notifier/invocations", self.base);
        self.client.post(url).header("x-amz-invocation-type", kind).body(body).send().await.unwrap()
    }
}

/// The object's part of an event.
pub(crate) fn object_of(event: &serde_json::Value) -> &serde_json::Value {
    &event["Records"][0]["s3"]["object"]
}
