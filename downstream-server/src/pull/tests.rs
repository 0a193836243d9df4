//! Against a real SQS API that is not ours: `SLUICEGATE_TEST_SQS_ENDPOINT` names it.

#![cfg(feature = "foreign-sqs")]

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::{S3Config, S3Credentials};
use crate::inbox::{Next, Query, Totals};
use crate::testing::{Site, config, eventually, handled, metadata_of};

/// A queue with a dead-letter queue, and a server that pulls from it.
struct Bench {
    client: aws_sdk_sqs::Client,
    url: String,
    dead_url: String,
    site: Site,
    puller: Arc<Puller>,
    shutdown: CancellationToken,
}

impl Bench {
    async fn new(flags: &[&str]) -> Self {
        let endpoint = std::env::var("SLUICEGATE_TEST_SQS_ENDPOINT")
            .expect("cargo xtask test --only inbox starts a server and sets it");
        let name = TempDir::new().unwrap().path().file_name().unwrap().to_str().unwrap().replace('.', "q");
        let s3 = S3Config {
            region: "us-east-1".to_owned(),
            endpoint: None,
            path_style: true,
            credentials: S3Credentials::Static {
                access_key_id: "test".to_owned(),
                secret_access_key: "test".to_owned(),
            },
        };
        let any = config(&["--pull-queue-url", "http://none", "--pull-endpoint", &endpoint]).pull.unwrap();
        let client = Queue::connect(&any, &s3).await.client();
        let make = async |name: &str, policy: Option<String>| {
            let mut request = client.create_queue().queue_name(name);
            if let Some(policy) = policy {
                request = request.attributes(QueueAttributeName::RedrivePolicy, policy);
            }
            request.send().await.unwrap().queue_url.unwrap()
        };
        let dead_url = make(&format!("{name}-dead"), None).await;
        let arn = client
            .get_queue_attributes()
            .queue_url(&dead_url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .unwrap()
            .attributes
            .unwrap()[&QueueAttributeName::QueueArn]
            .clone();
        let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": 2 }).to_string();
        let url = make(&name, Some(policy)).await;
        let common = ["--pull-queue-url", &url, "--pull-endpoint", &endpoint, "--pull-visibility", "1s"];
        let config = config(&[&common[..], flags].concat());
        let site = Site::new(&config);
        let pull = config.pull.unwrap();
        let puller = Arc::new(Puller {
            queue: Queue::connect(&pull, &s3).await,
            inbox: site.app.inbox.clone(),
            buckets: vec!["logs".to_owned()],
            config: pull,
            metrics: site.app.metrics.clone(),
        });
        Self { client, url, dead_url, site, puller, shutdown: CancellationToken::new() }
    }

    fn run(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(self.puller.clone().run(self.shutdown.clone()))
    }

    async fn send(&self, body: impl ToString) {
        self.client.send_message().queue_url(&self.url).message_body(body.to_string()).send().await.unwrap();
    }

    /// Messages in a queue, seen or not.
    async fn held(&self, url: &str) -> u64 {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
        let attributes = answer.attributes.unwrap_or_default();
        names.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok()).sum()
    }

    async fn until_held(&self, url: &str, count: u64) {
        eventually("the queue holds what it should", async || self.held(url).await == count).await;
    }

    fn pulled(&self, outcome: &'static str) -> u64 {
        self.site.app.metrics.pulled.get_or_create(&[("outcome", outcome)]).get()
    }
}

/// As S3 sends it, with every member that it has.
fn s3_event(bucket: &str, key: &str) -> serde_json::Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": "2026-11-21T08:00:00.000Z", "eventName": "ObjectCreated:Put",
        "userIdentity": { "principalId": "AIDAJDPLRKLG7UEXAMPLE" },
        "requestParameters": { "sourceIPAddress": "192.0.2.1" },
        "responseElements": { "x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8" },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "sluicegate",
            "bucket": {
                "name": bucket,
                "ownerIdentity": { "principalId": "A3NL1KOZZKExample" },
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": { "key": key, "size": 7, "eTag": "e", "sequencer": "0055AED6DCD90281E5" },
        },
    }] })
}

#[tokio::test]
async fn every_shape_is_pulled_and_leaves_the_queue_once_it_is_in_the_inbox_i8() {
    let bench = Bench::new(&[]).await;
    bench.send(s3_event("logs", "direct/a+b%2Fc.txt")).await;
    let wrapped = json!({ "Type": "Notification", "Message": s3_event("logs", "sns").to_string() });
    bench.send(wrapped).await;
    bench
        .send(json!({
            "version": "0", "id": "i", "detail-type": "Object Created", "source": "aws.s3", "account": "1",
            "time": "2026-11-21T08:00:00Z", "region": "us-east-1", "resources": [],
            "detail": { "version": "0", "bucket": { "name": "logs" }, "reason": "PutObject",
                        "object": { "key": "bridge a+b", "size": 7, "etag": "e", "sequencer": "0A" } },
        }))
        .await;
    bench.send(json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs" })).await;
    bench.send(s3_event("logs", "sns")).await;
    let running = bench.run();
    bench.until_held(&bench.url, 0).await;
    let rows = bench.site.app.inbox.list(Query { limit: 9, ..Query::default() }).await.unwrap();
    let mut keys: Vec<_> = rows.iter().map(|row| &*row.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["bridge a+b", "direct/a b/c.txt", "sns"]);
    assert!(rows.iter().all(|row| row.origin == Origin::Queue));
    assert_eq!((bench.pulled("taken"), bench.pulled("repeated"), bench.pulled("ignored")), (3, 1, 1));
    bench.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_stays_for_the_queues_redrive_policy() {
    let bench = Bench::new(&[]).await;
    bench.send("no event at all").await;
    bench.send(s3_event("foreign", "k")).await;
    let running = bench.run();
    bench.until_held(&bench.dead_url, 2).await;
    assert_eq!(bench.held(&bench.url).await, 0);
    assert_eq!(bench.pulled("refused"), 4, "each came twice, as the policy says");
    assert_eq!(bench.site.app.inbox.totals(), Totals::default());
    bench.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_message_is_kept_from_others_for_as_long_as_the_inbox_does_not_take_it() {
    let bench = Bench::new(&[]).await;
    bench
        .site
        .beside("CREATE TRIGGER refuse BEFORE INSERT ON objects BEGIN SELECT RAISE(ABORT, 'refused'); END");
    bench.send(s3_event("logs", "k")).await;
    let running = bench.run();
    // Far longer than its visibility without a sign of life.
    let metrics = &bench.site.app.metrics;
    eventually("it was prolonged six times", async || metrics.pull_prolonged.get() >= 6).await;
    assert_eq!((bench.held(&bench.url).await, bench.held(&bench.dead_url).await), (1, 0));
    bench.site.beside("DROP TRIGGER refuse");
    bench.until_held(&bench.url, 0).await;
    assert_eq!((bench.pulled("taken"), bench.pulled("repeated")), (1, 0), "it came once");
    bench.shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_message_is_deleted_only_when_its_object_is_done_if_so_configured() {
    let bench = Bench::new(&["--pull-delete-when", "done"]).await;
    let inbox = bench.site.app.inbox.clone();
    let mut changes = inbox.changes();
    let key = format!("events/{}.txt", metadata_of(1).cut);
    bench.send(s3_event("logs", &key)).await;
    bench.send(s3_event("logs", "bad")).await;
    let running = bench.run();
    while inbox.totals().owed < 2 {
        changes.recv().await.unwrap();
    }
    assert_eq!(bench.held(&bench.url).await, 2);
    // One is done, the other is given up.
    let claims = inbox.claim(9, now_ms()).await.unwrap().claims;
    for claim in claims {
        if claim.places[0].key == "bad" {
            inbox.fail(&claim, "no".to_owned(), Next::Dead, now_ms()).await.unwrap();
        } else {
            inbox.release(&claim).await.unwrap();
        }
    }
    handled(&inbox, metadata_of(1), now_ms()).await;
    bench.until_held(&bench.dead_url, 1).await;
    bench.until_held(&bench.url, 0).await;
    bench.shutdown.cancel();
    running.await.unwrap();
}
