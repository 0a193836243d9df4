//! The agent in this process: wiring, start, flush, numbers, shutdown.

use std::future::pending;

use ingest_agent::error::StartError;
use ingest_agent::{Agent, AgentError};
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::{LONG, config, metric, request, send_lines};

const TWO_SINKS: &str = "[sinks.one]\nkind = \"null\"\n[sinks.two]\nkind = \"null\"\n";

#[tokio::test]
async fn every_sink_of_a_channel_gets_every_event() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), TWO_SINKS), None).await.unwrap();
    send_lines(agent.addresses().sources["lines"], "line", 1000).await;
    let flushed = agent.flusher().flush(LONG).await;
    assert!(flushed.complete, "{flushed:?}");
    for sink in agent.telemetry().sinks() {
        let snapshot = sink.snapshot();
        assert_eq!(
            (snapshot.accepted, snapshot.shipped, snapshot.in_channel),
            (1000, 1000, 0),
            "{}",
            sink.name()
        );
    }
    agent.run(async {}).await.unwrap();
}

#[tokio::test]
async fn a_source_feeds_each_of_its_channels() {
    let dir = tempdir().unwrap();
    let text = "channels = [\"a\", \"b\"]\n[channels.a]\n[channels.b]\nkind = \"memory\"\n\
        [sinks.one]\nkind = \"null\"\nchannel = \"a\"\n[sinks.two]\nkind = \"null\"\nchannel = \"b\"\n";
    let agent = Agent::start(config(dir.path(), text), None).await.unwrap();
    send_lines(agent.addresses().sources["lines"], "line", 100).await;
    assert!(agent.flusher().flush(LONG).await.complete);
    let shipped: Vec<_> = agent.telemetry().sinks().iter().map(|sink| sink.snapshot().shipped).collect();
    assert_eq!(shipped, [100, 100]);
    agent.run(async {}).await.unwrap();
}

#[tokio::test]
async fn i9_adds_up_in_every_scrape_while_events_flow() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), TWO_SINKS), None).await.unwrap();
    let (lines, admin) = (agent.addresses().sources["lines"], agent.addresses().admin.unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(agent.run(async { drop(stopped.await) }));
    let senders: Vec<_> = (0..4)
        .map(|index| tokio::spawn(async move { send_lines(lines, &format!("sender {index}"), 5000).await }))
        .collect();
    let mut scrapes = 0;
    while !senders.iter().all(tokio::task::JoinHandle::is_finished) || scrapes < 10 {
        let (status, scrape) = request(admin, "GET", "/metrics", "").await;
        assert_eq!(status, 200);
        for labels in ["channel=\"main\",sink=\"one\"", "channel=\"main\",sink=\"two\""] {
            let value = |name| metric(&scrape, name, labels);
            let parts = value("sluicegate_channel_events")
                + value("sluicegate_events_shipped_total")
                + value("sluicegate_events_dead_lettered_total")
                + value("sluicegate_events_damaged_total");
            assert_eq!(value("sluicegate_events_accepted_total"), parts, "{scrape}");
        }
        scrapes += 1;
    }
    let (status, flushed) = request(admin, "POST", "/v1/flush", "").await;
    assert_eq!((status, flushed.as_str()), (200, "{\"complete\":true,\"keys\":[]}"));
    let (_, scrape) = request(admin, "GET", "/metrics", "").await;
    assert_eq!(metric(&scrape, "sluicegate_events_accepted_total", "channel=\"main\",sink=\"one\""), 20_000);
    assert_eq!(metric(&scrape, "sluicegate_channel_events", "channel=\"main\",sink=\"one\""), 0);
    assert_eq!(metric(&scrape, "sluicegate_source_events_total", "source=\"lines\""), 20_000);
    drop(stop);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_answered_before_a_stop_is_there_after_it() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.unwrap();
    let lines = agent.addresses().sources["lines"];
    send_lines(lines, "line", 500).await;
    // The sink is given what is in the channel before the channel closes.
    let outcome = agent.run(async {}).await.unwrap();
    assert_eq!(outcome.left["one"], 0);
    tokio::net::TcpStream::connect(lines).await.expect_err("nothing listens any more");

    let again = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.unwrap();
    assert_eq!(again.telemetry().channels()[0].synced_end(), 500, "positions go on where they stopped (I2)");
    send_lines(again.addresses().sources["lines"], "line", 1).await;
    assert!(again.flusher().flush(LONG).await.complete);
    assert_eq!(again.telemetry().sinks()[0].snapshot().shipped, 1, "what was released is not read again");
    again.run(async {}).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_the_configuration_has_no_more_stops_the_start() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), TWO_SINKS), None).await.unwrap();
    agent.run(async {}).await.unwrap();
    let error = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.err().unwrap();
    let folder = dir.path().join("channels/main");
    let expected = format!(
        "the channel main keeps events for the reader two, but no sink is called so any more; name it again, \
         or give its events up with: sluicegate-agent channel retire {} two",
        folder.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.exit_code(), contract::exit::DATA);
}

#[tokio::test]
async fn a_taken_port_is_told_before_anything_is_made() {
    let dir = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let text =
        format!("[sources.web]\nkind = \"http\"\nlisten = \"{address}\"\n[sinks.one]\nkind = \"null\"\n");
    let error = Agent::start(config(dir.path(), &text), None).await.err().unwrap();
    assert!(matches!(&error, StartError::Bind { name, .. } if name == "web"), "{error:?}");
    assert_eq!(error.exit_code(), contract::exit::UNAVAILABLE);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no channel was made");
}

#[tokio::test]
async fn two_agents_cannot_have_one_channel() {
    let dir = tempdir().unwrap();
    let first = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.unwrap();
    let error = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.err().unwrap();
    assert!(matches!(error, StartError::Channel { .. }), "{error:?}");
    first.run(async {}).await.unwrap();
}

#[tokio::test]
async fn a_sink_that_starts_newest_is_not_given_what_was_there_before() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.unwrap();
    send_lines(agent.addresses().sources["lines"], "before", 10).await;
    agent.run(async {}).await.unwrap();
    let text = "[sinks.one]\nkind = \"null\"\n[sinks.late]\nkind = \"null\"\nstart = \"newest\"\n";
    let agent = Agent::start(config(dir.path(), text), None).await.unwrap();
    send_lines(agent.addresses().sources["lines"], "after", 5).await;
    assert!(agent.flusher().flush(LONG).await.complete);
    let late = agent.telemetry().sinks().into_iter().find(|sink| sink.name() == "late").unwrap();
    assert_eq!((late.snapshot().accepted, late.snapshot().shipped), (5, 5));
    agent.run(async {}).await.unwrap();
}

#[tokio::test]
async fn the_admin_address_tells_health_and_refuses_what_it_does_not_know() {
    let dir = tempdir().unwrap();
    let agent = Agent::start(config(dir.path(), "[sinks.one]\nkind = \"null\"\n"), None).await.unwrap();
    let admin = agent.addresses().admin.unwrap();
    let running = tokio::spawn(agent.run(pending()));
    assert_eq!(request(admin, "GET", "/health/live", "").await, (200, "live\n".to_owned()));
    assert_eq!(request(admin, "GET", "/health/ready", "").await, (200, "ready\n".to_owned()));
    let (status, text) = request(admin, "POST", "/v1/flush?timeout=soon", "").await;
    assert_eq!((status, text.as_str()), (400, "timeout is not a duration, such as 30s\n"));
    assert_eq!(request(admin, "GET", "/v1/flush", "").await.0, 405);
    assert_eq!(request(admin, "GET", "/v1/log-level", "").await.0, 404, "this process has no log of its own");
    running.abort();
}

#[tokio::test]
async fn a_sink_that_ends_stops_the_agent() {
    let dir = tempdir().unwrap();
    // Port 1 is nobody's: a start without a store is no error, so this asks for a certificate file that is not there.
    let text =
        "[sinks.s3]\nkind = \"s3\"\nbucket = \"bucket\"\nregion = \"r\"\nca_file = \"/nowhere/ca.pem\"\n";
    let agent = Agent::start(config(dir.path(), text), None).await.unwrap();
    let error = tokio::time::timeout(LONG, agent.run(pending())).await.unwrap().unwrap_err();
    assert!(matches!(&error, AgentError::Sink { name, .. } if name == "s3"), "{error:?}");
}
