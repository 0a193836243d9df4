//! Lambda, as the local cloud serves it: events in, and what became of them.

use std::time::Duration;

use local_cloud::{CloudOptions, LocalCloud};
use reqwest::{Client, Response};
use serde_json::Value;
use tempfile::TempDir;

/// What the function made of an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It answered this.
    Response(Value),
    /// It failed with this.
    Error(Value),
}

/// A running local cloud and a client of its invoke API.
pub(crate) struct Lambda {
    pub(crate) cloud: LocalCloud,
    client: Client,
    _dir: TempDir,
}

impl Lambda {
    /// Starts one whose invocations may take as long as `function_timeout`.
    pub(crate) async fn start(function_timeout: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let retry_delays = [Duration::from_millis(1); 2];
        let options =
            CloudOptions { function_timeout, retry_delays, sync: false, ..CloudOptions::new(dir.path()) };
        let cloud = LocalCloud::start(options).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { cloud, client, _dir: dir }
    }

    /// Invokes the function and waits for what becomes of it.
    pub(crate) async fn invoke(&self, event: &Value) -> Outcome {
        let answer = self.post(event, "RequestResponse").await;
        let failed = answer.headers().contains_key("x-amz-function-error");
        let body = answer.json().await.unwrap();
        if failed { Outcome::Error(body) } else { Outcome::Response(body) }
    }

    /// Queues the event, as S3 does.
    pub(crate) async fn queue(&self, event: &Value) {
        self.post(event, "Event").await;
    }

    async fn post(&self, event: &Value, invocation: &str) -> Response {
        let (lambda, function) = (self.cloud.lambda_url(), "sluicegate-notifier");
        let url = format!("http://{lambda}/2015-03-31/functions/{function}/invocations");
        let request = self.client.post(url).header("x-amz-invocation-type", invocation);
        request.body(event.to_string()).send().await.unwrap().error_for_status().unwrap()
    }
}
