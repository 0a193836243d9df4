use durable_channel::MemoryChannel;

use super::table::{CHANNELS, KEYS, READERS, SINKS, SOURCES};
use super::*;

fn channel() -> ChannelHandle {
    let channel = MemoryChannel::new(1000, 100, 1 << 20).unwrap();
    ChannelHandle::new("c", Arc::new(channel), 1 << 20)
}

#[test]
fn every_metric_of_the_table_is_in_a_scrape_with_its_help() {
    let telemetry = Telemetry::default();
    let channel = channel();
    telemetry.add_channel(&channel);
    telemetry.add_source("in");
    telemetry.add_sink("out", &channel);
    let scrape = telemetry.scrape();
    let rows = READERS.iter().map(|row| (row.name, row.help, "channel=\"c\",sink=\"out\""));
    let rows = rows.chain(CHANNELS.iter().map(|row| (row.name, row.help, "channel=\"c\"")));
    let rows = rows.chain(KEYS.iter().map(|row| (row.name, row.help, "channel=\"c\"")));
    let rows = rows.chain(SOURCES.iter().map(|row| (row.name, row.help, "source=\"in\"")));
    let rows = rows.chain(SINKS.iter().map(|row| (row.name, row.help, "channel=\"c\",sink=\"out\"")));
    for (name, help, labels) in rows {
        assert!(scrape.contains(&format!("# HELP {name} {help}\n")), "{name} in {scrape}");
        let value = |suffix| scrape.contains(&format!("\n{name}{suffix}{{{labels}}} "));
        assert!(value("") || value("_total"), "{name}{{{labels}}} in {scrape}");
    }
    assert!(scrape.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_reader_adds_up_whatever_became_of_its_events() {
    let telemetry = Telemetry::default();
    let channel = channel();
    let metrics = telemetry.add_sink("out", &channel);
    let mut batch = channel.batch();
    for _ in 0..10 {
        batch.push(|buffer| buffer.push(0));
    }
    channel.append(batch).await.unwrap();
    metrics.update_totals(|totals| {
        *totals = Totals { origin: 2, settled: 6, shipped: 3, dead_lettered: 2, damaged: 1 };
    });
    let expected = ReaderSnapshot { accepted: 8, in_channel: 2, shipped: 3, dead_lettered: 2, damaged: 1 };
    assert_eq!(telemetry.sinks()[0].snapshot(), expected);
}
