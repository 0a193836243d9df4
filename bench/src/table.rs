//! One round as a row; the medians of all rounds as Markdown tables and a plot.

use std::fmt::Write;
use std::time::Duration;

use crate::latency::Latency;
use crate::plot;

/// One round of one case.
pub(crate) struct Row {
    pub(crate) case: &'static str,
    /// Who ran: `baseline`, `sluicegate` or a peer.
    pub(crate) contestant: &'static str,
    pub(crate) events: u32,
    pub(crate) event_bytes: usize,
    /// From the first byte sent to the last answer.
    pub(crate) accepted: Duration,
    /// From the first byte sent until every byte is in the endpoint.
    pub(crate) stored: Duration,
    /// Of the process.
    pub(crate) cpu: Duration,
    /// Of the whole machine: load and endpoint too.
    pub(crate) machine_cpu: Duration,
    pub(crate) peak_bytes: u64,
    pub(crate) anonymous_bytes: u64,
    pub(crate) objects: u64,
    /// Unknown where another endpoint took them.
    pub(crate) puts: Option<u64>,
    pub(crate) missing: u64,
    pub(crate) doubled: u64,
    pub(crate) unknown: u64,
}

const HEAD: &str = "\
| case | program | events | bytes | accepted a second | in S3 after | CPU-s per million | times the baseline | machine's CPU-s \
per million | peak anonymous | peak resident | objects | PUTs | missing | doubled |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

impl Row {
    pub(crate) fn cpu_seconds_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / f64::from(self.events)
    }

    pub(crate) fn accepted_per_second(&self) -> f64 {
        f64::from(self.events) / self.accepted.as_secs_f64()
    }

    /// Until they were in S3.
    pub(crate) fn stored_per_second(&self) -> f64 {
        f64::from(self.events) / self.stored.as_secs_f64()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "case": self.case,
            "program": self.contestant,
            "events": self.events,
            "event_bytes": self.event_bytes,
            "accepted_per_second": self.accepted_per_second().round(),
            "stored_seconds": self.stored.as_secs_f64(),
            "cpu_seconds_per_million": self.cpu_seconds_per_million(),
            "accepted_seconds": self.accepted.as_secs_f64(),
            "machine_cpu_seconds": self.machine_cpu.as_secs_f64(),
            "peak_mib": self.peak_bytes >> 20,
            "peak_anonymous_mib": self.anonymous_bytes >> 20,
            "objects": self.objects,
            "puts": self.puts,
            "missing": self.missing,
            "doubled": self.doubled,
            "unknown": self.unknown,
        })
    }
}

/// The median of a figure over the rounds of `contestant` in `case`.
pub(crate) fn median(rows: &[Row], case: &str, contestant: &str, figure: fn(&Row) -> f64) -> f64 {
    middle(rows.iter().filter(|row| (row.case, row.contestant) == (case, contestant)).map(figure).collect())
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Medians per case and program, in the order in which they ran. A multiple is that of the baseline of events of the same
/// size in the same round.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = HEAD.to_owned();
    for of in lines(rows) {
        let Row { case, contestant, events, event_bytes, .. } = of[0];
        let median = |figure: fn(&Row) -> f64| middle(of.iter().map(|row| figure(row)).collect());
        let _ = writeln!(
            out,
            "| {case} | {contestant} | {events} | {event_bytes} | {:.0} | {:.2} s | {:.2} | {:.2} | {:.2} | {:.0} MiB | {:.0} MiB | {} | {} | {} | {} |",
            median(Row::accepted_per_second),
            median(|row| row.stored.as_secs_f64()),
            median(Row::cpu_seconds_per_million),
            middle(multiples(rows, &of)),
            median(|row| row.machine_cpu.as_secs_f64() * 1e6 / f64::from(row.events)),
            median(|row| (row.anonymous_bytes >> 20) as f64),
            median(|row| (row.peak_bytes >> 20) as f64),
            median(|row| row.objects as f64),
            if of.iter().all(|row| row.puts.is_some()) {
                format!("{:.0}", median(|row| row.puts.unwrap_or(0) as f64))
            } else {
                "not known".to_owned()
            },
            median(|row| row.missing as f64),
            median(|row| row.doubled as f64),
        );
    }
    out
}

/// Each round's CPU time over that of the same round's baseline.
fn multiples(rows: &[Row], of: &[&Row]) -> Vec<f64> {
    let baselines =
        rows.iter().filter(|row| (row.contestant, row.event_bytes) == ("baseline", of[0].event_bytes));
    let cpu = Row::cpu_seconds_per_million;
    of.iter().zip(baselines).map(|(row, baseline)| cpu(row) / cpu(baseline)).collect()
}

/// The rounds of each line of a table.
fn lines(rows: &[Row]) -> Vec<Vec<&Row>> {
    let mut lines: Vec<Vec<&Row>> = Vec::new();
    let key = |row: &Row| (row.case, row.contestant, row.event_bytes);
    for row in rows {
        match lines.iter_mut().find(|line| key(line[0]) == key(row)) {
            Some(line) => line.push(row),
            None => lines.push(vec![row]),
        }
    }
    lines
}

/// What acknowledgements took at an offered rate.
pub(crate) fn latencies(measured: &[(String, f64, Latency)]) -> String {
    let mut out = "| open loop | offered a second | accepted a second | refused | p50 | p99 | p99.9 |\n\
                   |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (case, rate, latency) in measured {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let _ = writeln!(
            out,
            "| {case} | {rate:.0} | {:.0} | {} | {:.1} ms | {:.1} ms | {:.1} ms |",
            latency.accepted_per_second,
            latency.refused,
            millis(latency.p50),
            millis(latency.p99),
            millis(latency.p999),
        );
    }
    out
}

/// The multiples of the baseline as bars.
pub(crate) fn svg(rows: &[Row]) -> String {
    // Pixels: where bars begin, a row, and the longest bar.
    const LABEL: u32 = 300;
    const BAR: u32 = 24;
    const LONGEST: f64 = 390.0;
    let lines = lines(rows);
    let longest = lines.iter().map(|of| middle(multiples(rows, of))).fold(1.0, f64::max);
    let height = BAR * (lines.len() as u32 + 1);
    let mut out = plot::head(760.0, height.into());
    let _ = writeln!(
        out,
        "<text x=\"8\" y=\"16\" font-weight=\"bold\">CPU time over the baseline of the same bytes and round</text>"
    );
    for (index, of) in lines.into_iter().enumerate() {
        let Row { case, contestant, event_bytes, .. } = of[0];
        let y = BAR * (index as u32 + 1);
        let multiple = middle(multiples(rows, &of));
        let fill = match *contestant {
            "baseline" => "#999",
            "sluicegate" => "#2b6cb0",
            _ => "#b7791f",
        };
        let _ = writeln!(
            out,
            "<text x=\"8\" y=\"{}\">{case}, {contestant}, {event_bytes} B</text><rect x=\"{LABEL}\" y=\"{}\" width=\"{:.0}\" \
             height=\"16\" fill=\"{fill}\"/><text x=\"{:.0}\" y=\"{}\">{multiple:.2}</text>",
            y + 16,
            y + 3,
            multiple / longest * LONGEST,
            f64::from(LABEL) + multiple / longest * LONGEST + 6.0,
            y + 16,
        );
    }
    out + "</svg>\n"
}
