//! One scrape: a snapshot of everything, written in the table's order.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Telemetry;
use super::table::{CHANNELS, KEYS, READERS, Row, SINKS, SOURCES};

type Labels = Vec<(&'static str, String)>;

// === impl Telemetry ===

impl Telemetry {
    /// All metrics, as OpenMetrics.
    pub fn scrape(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("writing to a string cannot fail");
        out
    }
}

impl Collector for Telemetry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sinks = self.sinks();
        let readers: Vec<_> = sinks.iter().map(|sink| (sink.labels(), sink.snapshot())).collect();
        let channels = self.channels();
        let stats: Vec<_> = channels
            .iter()
            .map(|channel| (vec![("channel", channel.name().to_owned())], channel.channel().stats()))
            .collect();
        let keys: Vec<_> = channels
            .iter()
            .map(|channel| (vec![("channel", channel.name().to_owned())], channel.keys().stats()))
            .collect();
        let sources = self.sources();

        write_rows(&mut encoder, READERS, readers.iter().map(|(labels, reader)| (labels.clone(), reader)))?;
        write_rows(&mut encoder, CHANNELS, stats.iter().map(|(labels, stats)| (labels.clone(), stats)))?;
        write_rows(&mut encoder, KEYS, keys.iter().map(|(labels, keys)| (labels.clone(), keys)))?;
        let sources = sources.iter().map(|(name, metrics)| (vec![("source", name.clone())], &**metrics));
        write_rows(&mut encoder, SOURCES, sources)?;
        write_rows(&mut encoder, SINKS, sinks.iter().map(|sink| (sink.labels(), &*sink.metrics)))
    }
}

fn write_rows<'m, T: 'm>(
    encoder: &mut DescriptorEncoder<'_>,
    rows: &[Row<T>],
    things: impl IntoIterator<Item = (Labels, &'m T), IntoIter: Clone>,
) -> fmt::Result {
    let things = things.into_iter();
    for Row { name, help, kind, read } in rows {
        let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
        for (labels, thing) in things.clone() {
            let metric = metric.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(read(thing)).encode(metric)?,
                _ => ConstGauge::new(i64::try_from(read(thing)).unwrap_or(i64::MAX)).encode(metric)?,
            }
        }
    }
    Ok(())
}
