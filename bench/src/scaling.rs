//! What an event costs as the load grows: over the offered rate, over connections, over open partitions, over a
//! backlog; what a group costs over the log's length; and what is accepted when more is offered than can be taken.
//!
//! One run for each point, on fresh processes: a line that is not flat is worth a look, a single point is not.

mod backlog;
mod groups;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::case::{self, Case, DEFAULTS, Setup};
use crate::contestant;
use crate::cores::Cores;
use crate::event::Kinds;
use crate::latency::{self, Latency};
use crate::load::{self, Load};
use crate::plot::{self, Series};
use crate::round::{endpoint, flush};

#[derive(Args)]
pub(crate) struct ScalingArgs {
    /// The `ingest-agent` program to measure
    #[arg(long)]
    agent: PathBuf,
    /// Events of one point
    #[arg(long, default_value_t = 1_000_000)]
    events: u32,
    /// What to vary, with commas between (default: everything)
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Axis>,
    /// The longest backlog and log
    #[arg(long, value_name = "GIB", default_value_t = 10)]
    gib: u64,
    /// Where backlogs are made; removed afterwards
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Also write every point as JSON lines
    #[arg(long)]
    json: Option<PathBuf>,
    /// Also draw each axis into this folder
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
}

/// What is varied.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Axis {
    Rate,
    Connections,
    Partitions,
    Groups,
    Backlog,
    Overload,
}

/// One run.
struct Point {
    axis: Axis,
    series: &'static str,
    x: f64,
    /// What `axis` shows, see [`Axis::texts`].
    y: f64,
    accepted_per_second: f64,
    latency: Option<Latency>,
}

/// What a run of the agent gave.
struct Measured {
    cpu_per_million: f64,
    accepted_per_second: f64,
    latency: Option<Latency>,
}

/// Measures the chosen axes; prints each point as it is there, then a table.
pub(crate) fn run(args: &ScalingArgs) -> anyhow::Result<()> {
    let chosen = if args.only.is_empty() { Axis::value_variants() } else { args.only.as_slice() };
    let mut json = args.json.as_ref().map(std::fs::File::create).transpose()?;
    println!("| over | of | at | | accepted a second | refused | p99 |\n|---|---|---|---|---|---|---|");
    for axis in chosen {
        let points = match axis {
            Axis::Rate => rate(args)?,
            Axis::Connections => connections(args)?,
            Axis::Partitions => partitions(args)?,
            Axis::Groups => groups::measure(args)?,
            Axis::Backlog => backlog::measure(args)?,
            Axis::Overload => overload(args)?,
        };
        for point in &points {
            println!("{}", point.row());
            if let Some(json) = &mut json {
                writeln!(json, "{}", point.json())?;
            }
        }
        if let Some(folder) = &args.svg {
            std::fs::create_dir_all(folder)?;
            let picture = folder.join(format!("scaling-{}.svg", axis.name()));
            std::fs::write(&picture, axis.picture(&points))
                .with_context(|| format!("writing {}", picture.display()))?;
        }
    }
    Ok(())
}

/// From 50 thousand a second to as much as is taken.
fn rate(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    for case in [case::NETCAT, case::HTTP] {
        let load = load_of(&case, args);
        let most = measure(args, DEFAULTS, load, None)?;
        for offered in [50e3, 100e3, 200e3, 400e3] {
            if offered < 0.9 * most.accepted_per_second {
                // Five seconds of it.
                let load = Load { events: load.events.min((offered * 5.0) as u32), ..load };
                let measured = measure(args, DEFAULTS, load, Some(offered))?;
                points.push(measured.cost(Axis::Rate, case.name, offered));
            }
        }
        let x = most.accepted_per_second;
        points.push(most.cost(Axis::Rate, case.name, x));
    }
    Ok(points)
}

fn connections(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    for case in [case::NETCAT, case::HTTP] {
        for connections in [1, 10, 100, 1000] {
            let measured = measure(args, DEFAULTS, Load { connections, ..load_of(&case, args) }, None)?;
            points.push(measured.cost(Axis::Connections, case.name, connections.into()));
        }
    }
    Ok(points)
}

fn partitions(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    // Positions of many open cuts take more than the default, which would seal them after a hundred events each.
    let sink = "journal = \"256MiB\"\npartition = \"t=%{json:t}/s=%{json:s}\"";
    let setup = Setup { sink, ..DEFAULTS };
    let mut points = Vec::new();
    for (types, sub_types) in [(1, 1), (10, 10), (100, 10), (100, 100)] {
        // Enough of them that an object holds some hundred events: what a put costs is not what is varied.
        let events = args.events.saturating_mul(4);
        let load =
            Load { events, kinds: Kinds { types, sub_types, varied: false }, ..load_of(&case::HTTP, args) };
        let measured = measure(args, setup, load, None)?;
        points.push(measured.cost(Axis::Partitions, case::HTTP.name, (types * sub_types).into()));
    }
    Ok(points)
}

/// Offers up to three times what is taken, from many connections, to an agent that soon says no and has cores of its
/// own: load that nobody waits for would take them.
fn overload(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    let setup = Setup { http: "room_timeout = \"20ms\"", ..DEFAULTS };
    // Some seconds of it.
    let events = args.events.saturating_mul(5);
    let load = Load { connections: 512, events, ..load_of(&case::HTTP, args) };
    let cores = Cores::halved()?;
    let most = measure_on(Some(&cores), args, DEFAULTS, load, None)?.accepted_per_second;
    let mut points = Vec::new();
    for times in [1.0, 1.5, 2.0, 3.0] {
        let measured = measure_on(Some(&cores), args, setup, load, Some(times * most))?;
        let y = measured.accepted_per_second / most;
        // A connection that waits for its answer sends nothing: less is offered than was meant.
        let all = measured.latency.map_or(1.0, |latency| f64::from(load.events) / latency.accepted as f64);
        points.push(Point { y, ..measured.cost(Axis::Overload, case::HTTP.name, y * all) });
    }
    Ok(points)
}

fn load_of(case: &Case, args: &ScalingArgs) -> Load {
    Load {
        shape: case.shape,
        first: 0,
        events: args.events,
        event_bytes: case.event_bytes,
        connections: 4,
        kinds: case.kinds,
    }
}

/// Runs a fresh agent, in a closed loop or at `rate` events a second, until all that was accepted is in S3.
fn measure(args: &ScalingArgs, setup: Setup, load: Load, rate: Option<f64>) -> anyhow::Result<Measured> {
    measure_on(None, args, setup, load, rate)
}

fn measure_on(
    cores: Option<&Cores>,
    args: &ScalingArgs,
    setup: Setup,
    load: Load,
    rate: Option<f64>,
) -> anyhow::Result<Measured> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let (_endpoint, s3) = endpoint(dir.path(), true)?;
    let start = || contestant::agent(&args.agent, setup, load.shape, dir.path(), &format!("http://{s3}"));
    let agent = cores.map_or_else(start, |cores| cores.start(start))?;
    let before = agent.process.usage()?.cpu;
    let started = Instant::now();
    let latency = rate.map(|rate| latency::measure(load, &agent.source, rate)).transpose()?;
    if latency.is_none() {
        load::send(load, &agent.source)?;
    }
    let in_closed_loop = f64::from(load.events) / started.elapsed().as_secs_f64();
    if let Some(admin) = agent.admin {
        flush(admin, load)?;
    }
    let cpu = agent.process.usage()?.cpu.saturating_sub(before).as_secs_f64();
    let accepted = latency.map_or(load.events as usize, |latency| latency.accepted);
    Ok(Measured {
        cpu_per_million: cpu * 1e6 / accepted.max(1) as f64,
        accepted_per_second: latency.map_or(in_closed_loop, |latency| latency.accepted_per_second),
        latency,
    })
}

/// The folder in which the agent keeps its channel, within the folder of a run.
fn channel_dir(dir: &Path) -> PathBuf {
    dir.join("channel/channels/main")
}

// === impl Axis ===

impl Axis {
    fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Connections => "connections",
            Self::Partitions => "partitions",
            Self::Groups => "groups",
            Self::Backlog => "backlog",
            Self::Overload => "overload",
        }
    }

    /// What a picture says of y and of x.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Rate => ("CPU-seconds per million events", "events a second"),
            Self::Connections => ("CPU-seconds per million events", "connections"),
            Self::Partitions => ("CPU-seconds per million events", "open partitions"),
            Self::Groups => ("CPU-milliseconds per group of 100 events", "gibibytes in the log"),
            Self::Backlog => ("CPU-seconds per million events", "gibibytes of backlog"),
            Self::Overload => ("Accepted, as a part of the most", "offered, in times of the most"),
        }
    }

    fn picture(self, points: &[Point]) -> String {
        let mut series: Vec<Series> = Vec::new();
        for point in points {
            let at = (point.x, point.y);
            match series.iter_mut().find(|series| series.name == point.series) {
                Some(series) => series.points.push(at),
                None => series.push(Series { name: point.series.to_owned(), points: vec![at] }),
            }
        }
        let (title, x_label) = self.texts();
        plot::lines(title, x_label, &series)
    }
}

// === impl Point ===

impl Point {
    fn row(&self) -> String {
        let (y, x) = self.axis.texts();
        let p99 = self.latency.map_or_else(String::new, |latency| {
            format!("{:.1} ms", latency.p99_of_sending.as_secs_f64() * 1e3)
        });
        let refused = self.latency.map_or_else(String::new, |latency| latency.refused.to_string());
        format!(
            "| {} | {} | {:.1} {x} | {:.2} {y} | {:.0} | {refused} | {p99} |",
            self.axis.name(),
            self.series,
            self.x,
            self.y,
            self.accepted_per_second,
        )
    }

    fn json(&self) -> serde_json::Value {
        let (y, x) = self.axis.texts();
        serde_json::json!({
            "over": self.axis.name(),
            "of": self.series,
            x: self.x,
            y: self.y,
            "accepted_per_second": self.accepted_per_second.round(),
            "refused": self.latency.map(|latency| latency.refused),
            "p99_seconds": self.latency.map(|latency| latency.p99_of_sending.as_secs_f64()),
        })
    }
}

impl Measured {
    /// A point whose y is the cost of an event.
    fn cost(self, axis: Axis, series: &'static str, x: f64) -> Point {
        let Self { cpu_per_million, accepted_per_second, latency } = self;
        Point { axis, series, x, y: cpu_per_million, accepted_per_second, latency }
    }
}
