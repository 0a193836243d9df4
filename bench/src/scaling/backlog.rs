//! What an event costs on a backlog: to accept it while nothing can be shipped, and to ship it once that can be done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Axis, Measured, Point, ScalingArgs, channel_dir, load_of};
use crate::backlog::{fill, forget};
use crate::case::{self, DEFAULTS, Setup};
use crate::contestant::{self, Contestant};
use crate::load;
use crate::round::{endpoint, flush};

/// No claim to wait for, and room for any backlog.
const SETUP: Setup = Setup { channel: "capacity = \"1024GiB\"", sink: "control_prefix = \"\"", ..DEFAULTS };

pub(super) fn measure(args: &ScalingArgs) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    let mut lengths = vec![0, args.gib.div_ceil(10), args.gib];
    lengths.dedup();
    for gib in lengths {
        points.extend(one(args, gib)?);
    }
    Ok(points)
}

fn one(args: &ScalingArgs, gib: u64) -> anyhow::Result<[Point; 2]> {
    let dir = tempfile::tempdir_in(&args.dir)?;
    let channel = channel_dir(dir.path());
    std::fs::create_dir_all(&channel)?;
    let waiting = fill(&channel, gib << 30)?;
    forget(&channel.join("segments"))?;
    let load = load_of(&case::HTTP, args);

    // Nobody listens there.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let agent = contestant::agent(&args.agent, SETUP, load.shape, dir.path(), &format!("http://{nobody}"))?;
    at_rest(&agent)?;
    let (before, started) = (agent.process.usage()?.cpu, Instant::now());
    load::send(load, &agent.source)?;
    let elapsed = started.elapsed();
    let accepting = measured(agent.process.usage()?.cpu.saturating_sub(before), load.events.into(), elapsed);
    drop(agent);

    let (_endpoint, s3) = endpoint(dir.path(), true)?;
    let started = Instant::now();
    let agent = contestant::agent(&args.agent, SETUP, load.shape, dir.path(), &format!("http://{s3}"))?;
    if let Some(admin) = agent.admin {
        flush(admin, load)?;
    }
    let all = waiting + u64::from(load.events);
    let shipping = measured(agent.process.usage()?.cpu, all, started.elapsed());
    Ok([
        accepting.cost(Axis::Backlog, "accepting", gib as f64),
        shipping.cost(Axis::Backlog, "shipping", gib as f64),
    ])
}

fn measured(cpu: Duration, events: u64, elapsed: Duration) -> Measured {
    Measured {
        cpu_per_million: cpu.as_secs_f64() * 1e6 / events as f64,
        accepted_per_second: events as f64 / elapsed.as_secs_f64(),
        latency: None,
    }
}

/// Waits until the agent has read what it may of its backlog.
fn at_rest(agent: &Contestant) -> anyhow::Result<()> {
    let mut before = agent.process.usage()?.cpu;
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(500));
        let now = agent.process.usage()?.cpu;
        if now.saturating_sub(before) < Duration::from_millis(20) {
            break;
        }
        before = now;
    }
    Ok(())
}
