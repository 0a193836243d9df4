//! Metrics in the format that a scraper asks for: Prometheus' text, or OpenMetrics where it asks for that.
//!
//! The library that counts writes OpenMetrics alone. The two differ little: Prometheus' text names a counter
//! with its `_total` wherever it names it, knows fewer types, and has no mark at its end. What reads it is
//! every scraper, and every person with `curl`.

use std::fmt::Write as _;

/// One scrape, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The metrics.
    pub text: String,
}

const OPEN_METRICS: &str = "application/openmetrics-text";

impl Scrape {
    /// Metrics that were written as OpenMetrics, for whoever sends this `Accept`.
    pub fn new(open_metrics: String, accept: Option<&str>) -> Self {
        if wants_open_metrics(accept.unwrap_or_default()) {
            return Self {
                content_type: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text: open_metrics,
            };
        }
        Self { content_type: "text/plain; version=0.0.4; charset=utf-8", text: prometheus(&open_metrics) }
    }
}

/// Whether `Accept` names OpenMetrics, and does not like Prometheus' text better.
fn wants_open_metrics(accept: &str) -> bool {
    let liking = |name: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(name));
            let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            named.then(|| weight.and_then(|weight| weight.parse::<f32>().ok()).unwrap_or(1.0))
        });
        ranges.fold(0.0, f32::max)
    };
    let open_metrics = liking(OPEN_METRICS);
    open_metrics > 0.0 && open_metrics >= liking("text/plain")
}

/// OpenMetrics as Prometheus' text.
fn prometheus(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    // The help of a metric comes before its type, which decides how the help names it.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = told.split_once(' ').map(|(_, text)| text);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|told| told.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "gauge" | "histogram" | "summary" => ("", kind),
                _ => ("", "untyped"),
            };
            if let Some(text) = help.take() {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "# HELP {name}{suffix} {text}");
            }
            let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::registry::Registry;

    use super::*;

    fn open_metrics() -> String {
        let mut registry = Registry::default();
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        family.get_or_create(&[("answer", "a\"b\\")]).inc();
        registry.register("notices", "Notices by answer", family);
        registry.register("streams", "Open streams", Gauge::<i64>::default());
        let seconds = Histogram::new([0.5]);
        seconds.observe(0.25);
        registry.register("attempt_seconds", "Time", seconds);
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string cannot fail");
        text
    }

    #[test]
    fn without_a_wish_for_open_metrics_the_answer_is_the_text_that_every_scraper_reads() {
        let expected = "\
# HELP notices_total Notices by answer.
# TYPE notices_total counter
notices_total{answer=\"a\\\"b\\\\\"} 1
# HELP streams Open streams.
# TYPE streams gauge
streams 0
# HELP attempt_seconds Time.
# TYPE attempt_seconds histogram
attempt_seconds_sum 0.25
attempt_seconds_count 1
attempt_seconds_bucket{le=\"0.5\"} 1
attempt_seconds_bucket{le=\"+Inf\"} 1
";
        for accept in [None, Some("*/*"), Some("text/plain"), Some("text/html, text/plain;q=0.5")] {
            let scrape = Scrape::new(open_metrics(), accept);
            assert_eq!(scrape.content_type, "text/plain; version=0.0.4; charset=utf-8");
            assert_eq!(scrape.text, expected, "{accept:?}");
        }
    }

    #[test]
    fn open_metrics_comes_where_it_is_asked_for_as_prometheus_itself_asks() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in
            ["application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0", prometheus]
        {
            let scrape = Scrape::new(open_metrics(), Some(accept));
            assert!(scrape.content_type.starts_with(OPEN_METRICS), "{accept}");
            assert_eq!(scrape.text, open_metrics());
            assert!(scrape.text.ends_with("# EOF\n"));
        }
        for accept in ["application/openmetrics-text;q=0.1, text/plain", "application/openmetrics-text;q=0"] {
            assert!(
                !Scrape::new(open_metrics(), Some(accept)).content_type.starts_with(OPEN_METRICS),
                "{accept}"
            );
        }
    }

    #[test]
    fn units_and_types_that_prometheus_does_not_know_are_told_in_its_own_words() {
        let text = "# HELP build What was built.\n# TYPE build info\nbuild_info{v=\"1\"} 1\n\
            # HELP odd Odd.\n# TYPE odd unknown\n# UNIT odd bytes\nodd 1\n# EOF\n";
        let expected = "# HELP build_info What was built.\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n\
            # HELP odd Odd.\n# TYPE odd untyped\nodd 1\n";
        assert_eq!(prometheus(text), expected);
    }
}
