//! One round as a row, and the medians of all rounds as a Markdown table.

use std::fmt::Write;
use std::time::Duration;

pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) events: u32,
    /// From the first byte sent to the last answer.
    pub(crate) accepted: Duration,
    /// From the first byte sent until every byte is in the endpoint.
    pub(crate) stored: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
    pub(crate) objects: u64,
    pub(crate) missing: u64,
    pub(crate) doubled: u64,
    pub(crate) unknown: u64,
}

impl Row {
    fn cpu_seconds_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.events)
    }

    fn accepted_per_second(&self) -> f64 {
        f64::from(self.events) / self.accepted.as_secs_f64()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "case": self.case,
            "events": self.events,
            "accepted_per_second": self.accepted_per_second().round(),
            "stored_seconds": self.stored.as_secs_f64(),
            "cpu_seconds_per_million": self.cpu_seconds_per_million(),
            "peak_mib": self.peak_bytes >> 20,
            "objects": self.objects,
            "missing": self.missing,
            "doubled": self.doubled,
            "unknown": self.unknown,
        })
    }
}

/// Medians per case; the floor's CPU is the unit of the last column.
pub(crate) fn markdown(rows: &[Row], events: u32) -> String {
    let mut out = format!(
        "| case, {events} events | accepted a second | in S3 after | CPU-s per million | times the floor | peak memory | objects | missing | doubled |\n|---|---|---|---|---|---|---|---|---|\n"
    );
    let mut cases: Vec<&str> = rows.iter().map(|row| row.case).collect();
    cases.dedup();
    cases.sort_unstable();
    cases.dedup();
    let of = |case: &str, figure: fn(&Row) -> f64| {
        let mut figures: Vec<f64> = rows.iter().filter(|row| row.case == case).map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    };
    let floor = of("floor", Row::cpu_seconds_per_million);
    for case in cases {
        let median = |figure| of(case, figure).unwrap_or_default();
        let cpu = median(Row::cpu_seconds_per_million);
        let multiple = floor.map_or_else(|| "-".to_owned(), |floor| format!("{:.1}", cpu / floor));
        let _ = writeln!(
            out,
            "| {case} | {:.0} | {:.2} s | {cpu:.2} | {multiple} | {:.0} MiB | {} | {} | {} |",
            median(Row::accepted_per_second),
            median(|row| row.stored.as_secs_f64()),
            median(|row| (row.peak_bytes >> 20) as f64),
            median(|row| row.objects as f64),
            median(|row| row.missing as f64),
            median(|row| row.doubled as f64),
        );
    }
    out
}
