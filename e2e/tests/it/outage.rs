//! The server is away until Lambda has given up: what brings its notices back, and what does without.

use std::time::Duration;

use e2e::parts::{Agent, Cloud, PREFIX, Server, Tuning, keys, notifier};
use e2e::producer::{self, Record};
use e2e::{oracle, until};
use serde_json::Value;

/// Objects that come while the server is away.
const OBJECTS: usize = 4;
/// Lines in each.
const LINES: usize = 25;
/// How long the slowest step may take: three tries of each invocation, one after the other.
const SOON: Duration = Duration::from_secs(60);

/// Everything beside the server, as somebody sees it who has its addresses.
struct World {
    client: reqwest::Client,
    agent: Agent,
    cloud: Cloud,
    server: Server,
    sent: Record,
}

impl World {
    /// Sends lines in requests that each become an object, whether or not anybody wants them.
    async fn send(&mut self, name: &str) {
        for object in 0..OBJECTS {
            let line = |line| format!(r#"{{"sent":"{name}","object":{object},"line":{line}}}"#);
            let lines: Vec<String> = (0..LINES).map(line).collect();
            self.post(&self.agent.events_url(), lines.join("\n")).await;
            self.post(&self.agent.admin_url("/v1/flush"), String::new()).await;
            self.sent.answered.extend(lines);
        }
    }

    async fn post(&self, url: &str, body: String) -> String {
        let request = self.client.post(url).header("content-type", "application/x-ndjson").body(body);
        let answer = request.send().await.expect("it answers");
        let answer = answer.error_for_status().expect("it takes what it is sent");
        answer.text().await.expect("an answer is text")
    }

    /// The failure queue, once it holds this many: all their tries are spent.
    async fn given_up(&self, count: usize) {
        let url = format!("http://{}/failed-invocations", self.cloud.lambda);
        until("that Lambda gives up", SOON, async || {
            let failed = self.client.get(&url).send().await.ok()?.text().await.ok()?;
            let failed: Vec<Value> =
                failed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            assert!(failed.iter().all(|one| one["tries"] == 3), "{failed:?}");
            (failed.len() == count).then_some(())
        })
        .await;
    }

    /// Gives all of the failure queue its tries again: how many those are.
    async fn redrive(&self) -> u64 {
        let url = format!("http://{}/failed-invocations/redrive", self.cloud.lambda);
        let said: Value = serde_json::from_str(&self.post(&url, String::new()).await).expect("it is JSON");
        said["redriven"].as_u64().expect("it is a number")
    }

    /// Asks the server to list the bucket.
    async fn reconcile(&self) {
        let request = self.client.post(self.server.url("/v1/reconcile")).bearer_auth(self.server.token());
        let answer = request.header("content-type", "application/json").send().await;
        assert_eq!(answer.expect("the server answers").status(), 202);
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.client.get(self.server.url("/metrics")).send().await.expect("the server answers");
        let text = answer.text().await.expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("it is a number"))
    }

    fn output(&self) -> Vec<u8> {
        std::fs::read(self.server.folder.join("out.ndjson")).unwrap_or_default()
    }

    /// How the file differs from what was answered.
    fn verdict(&self) -> String {
        oracle::verdict(&self.sent, &self.output())
    }

    /// Waits until nothing is missing; nothing may be double either.
    async fn delivered(&self) {
        until("the arrival of every line", SOON, async || {
            (!self.verdict().contains("missing")).then_some(())
        })
        .await;
        assert_eq!(self.verdict(), "");
    }
}

#[tokio::test]
async fn after_an_outage_beyond_lambdas_tries_redrive_and_reconciliation_deliver_each_line_once_i7_i8() {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let mut cloud = Cloud::new(&home.path().join("cloud"));
    (cloud.timeout, cloud.retry_delay) = (Duration::from_millis(500), Duration::from_millis(50));
    let _cloud = cloud.program().start().await;
    // An object is what a flush makes of a request, and nothing else.
    let tuning = Tuning { roll: "age = \"1h\"".to_owned(), ..Tuning::default() };
    let agent = Agent::new(&home.path().join("agent"), &cloud.url(), tuning);
    let _agent = agent.program().start().await;
    let output = home.path().join("server/out.ndjson").display().to_string();
    let flags = [
        ("handler-kind", "ndjson"),
        ("handler-path", &output),
        // Nothing is listed unless somebody asks, and then at once.
        ("reconcile-interval", "off"),
        ("reconcile-grace", "0s"),
    ];
    let server = Server::new(&home.path().join("server"), &cloud.url(), &flags);
    let mut notifier = notifier(home.path(), cloud.lambda, server.addr);
    notifier.env.push(("SLUICEGATE_NOTIFY_DEADLINE_MARGIN", "100ms".to_owned()));
    let _notifier = notifier.start().await;
    let program = server.program();
    let mut world = World { client: producer::client(), agent, cloud, server, sent: Record::default() };

    let running = program.start().await;
    world.send("before the outages").await;
    world.delivered().await;
    running.kill().await;

    world.send("in the first outage").await;
    world.given_up(OBJECTS).await;
    let running = program.start().await;
    assert_eq!(world.redrive().await, OBJECTS as u64);
    world.delivered().await;
    world.given_up(0).await;
    running.kill().await;

    world.send("in the second outage").await;
    world.given_up(OBJECTS).await;
    let running = program.start().await;
    world.reconcile().await;
    world.delivered().await;
    assert_eq!(world.metric("sluicegate_server_reconcile_taken_total").await, OBJECTS as u64);
    // What the reconciliation brought is redriven as well: a repeat.
    assert_eq!(world.redrive().await, OBJECTS as u64);
    until("the notices of what is done", SOON, async || {
        let repeated = world.metric("sluicegate_server_notices_total{answer=\"repeated\"}").await;
        (repeated == OBJECTS as u64).then_some(())
    })
    .await;

    let objects = keys(&world.cloud.bucket().await, PREFIX).await.len() as u64;
    assert_eq!(objects, 3 * OBJECTS as u64);
    assert_eq!(world.metric("sluicegate_server_objects{state=\"done\"}").await, objects);
    running.kill().await;
    // What a restart cuts off was never committed.
    let _running = program.start().await;
    assert_eq!(world.verdict(), "");
}
