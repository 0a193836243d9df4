//! The delivery oracle: every program as a process, producers that record every send, faults by a
//! seed, and at the end a look at everything that was stored and handed on.
//!
//! ```text
//! producers -> agent -> [front] -> local cloud -> notifier -> [fan-out] -> server (ndjson)
//!                       faults                                faults   \-> server (command)
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contract::exit;

use crate::faults::{self, Storm};
use crate::front::Front;
use crate::load::{Load, Manner};
use crate::machine::{Machine, Trouble};
use crate::parts::{Agent, Cloud, Server, Tuning, notifier};
use crate::process::{Kept, Program};
use crate::random::Random;
use crate::tally::Tally;
use crate::verdict::{self, Verdict};
use crate::{door, producer, until};

/// What one run is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chooses everything that is chosen.
    pub seed: u64,
    /// How long producers send and things go wrong.
    pub time: Duration,
    /// Events in all, evenly over the time.
    pub events: u64,
    /// How long on average from one kill to the next; without it, nothing is killed.
    pub kill_every: Option<Duration>,
    /// What goes wrong with the machine now and then.
    pub troubles: Vec<Trouble>,
}

/// What one run has shown.
#[derive(Debug)]
pub struct Report {
    options: Options,
    took: Duration,
    kills: Tally,
    s3: Tally,
    notices: Tally,
    machine: Tally,
    /// What was asked for and cannot be had here.
    pub not_run: Vec<String>,
    sent: u64,
    redriven: u64,
    /// What each part held, about once a second.
    pub samples: Samples,
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    verdict: Verdict,
}

/// What a process held at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// Open files and connections.
    pub descriptors: u64,
}

/// Each part's samples, in order.
pub type Samples = BTreeMap<&'static str, Vec<Sample>>;

/// How long things may take to settle after the storm.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// What the `command` handler runs: a line with the delivery's id and how many lines it was given.
const COMMAND: &str = r#"lines=$(wc -l) && echo "$SLUICEGATE_DELIVERY_ID $lines" >> "$0""#;

/// Everything that runs.
struct World {
    agent: Agent,
    cloud: Cloud,
    servers: Vec<Server>,
    kept: Vec<(&'static str, Kept)>,
    _fronts: [Front; 2],
}

/// The settings of this run's agent, which differ from seed to seed.
fn tuning(random: &mut Random) -> Tuning {
    let codec = ["none", "zstd", "gzip"][random.below(3) as usize];
    let partition = ["", "type=%{json:type}"][random.below(3).min(1) as usize];
    let age = [300, 1000, 5000][random.below(3) as usize];
    let floor = ["0B", "4MiB"][random.below(2) as usize];
    println!("codec {codec}, partition {partition:?}, age {age} ms, floor {floor}");
    Tuning {
        channel: format!(
            "capacity = \"64MiB\"\nsegment = \"16MiB\"\nmax_batch = \"6MiB\"\nfree_disk_floor = \"{floor}\"\n\
             # A clock that jumps by days is not to make keys old.\n\
             [channels.main.idempotency]\nage = \"8760h\""
        ),
        sink: format!(
            "codec = \"{codec}\"\npartition = \"{partition}\"\nstaging = \"32MiB\"\nstaging_memory = \"1MiB\"\n\
             put_limit = \"5MiB\"\npart = \"5MiB\"\nretry_base = \"20ms\"\nretry_max = \"1s\"\n\
             read_timeout = \"2s\"\noperation_timeout = \"3s\"\ncomplete_timeout = \"3s\""
        ),
        roll: format!("size = \"12MiB\"\nage = \"{age}ms\""),
        ..Tuning::default()
    }
}

impl World {
    async fn start(home: &Path, machine: &Machine, options: &Options, faults: &Faults) -> Self {
        let random = |stream| Random::new(options.seed, stream);
        let cloud = Cloud::new(&home.join("cloud"));
        let front =
            Front::start(cloud.s3, faults::of_s3(faults.storm.clone(), random(1), faults.s3.clone())).await;
        let mut agent = Agent::new(&home.join("agent"), &front.url(), tuning(&mut random(2)));
        agent.data = machine.data(home);
        let patience = [
            ("retry-base", "50ms"),
            ("retry-max", "1s"),
            ("retry-attempts", "1000"),
            ("fetch-read-timeout", "2s"),
        ];
        let folder = home.join("server");
        let output = folder.join("events.ndjson").display().to_string();
        let flags = [&patience[..], &[("handler-kind", "ndjson"), ("handler-path", &output)]].concat();
        let server = Server::new(&folder, &front.url(), &flags);
        let folder = home.join("commands");
        let command = serde_json::json!(["sh", "-c", COMMAND, folder.join("commands.log")]).to_string();
        let flags = [&patience[..], &[("handler-kind", "command"), ("handler-command", &command)]].concat();
        let servers = vec![server, Server::new(&folder, &front.url(), &flags)];
        let notices = Front::fan_out(
            servers.iter().map(|server| server.addr).collect(),
            faults::of_notices(faults.storm.clone(), random(3), faults.notices.clone()),
        )
        .await;
        let mut kept = vec![("agent", machine.agent(agent.program()).keep())];
        let mut keep = |name, program: Program| kept.push((name, machine.part(&program).keep()));
        keep("cloud", cloud.program());
        for (name, server) in ["server", "command server"].into_iter().zip(&servers) {
            keep(name, server.program());
        }
        keep("notifier", notifier(home, cloud.lambda, notices.addr));
        let world = Self { agent, cloud, servers, kept, _fronts: [front, notices] };
        world.ready().await;
        world
    }

    async fn ready(&self) {
        for (_, part) in &self.kept {
            part.ready().await;
        }
    }

    fn output(&self) -> PathBuf {
        self.servers[0].folder.join("events.ndjson")
    }

    fn commands(&self) -> PathBuf {
        self.servers[1].folder.join("commands.log")
    }
}

#[derive(Default)]
struct Faults {
    storm: Storm,
    kills: Tally,
    s3: Tally,
    notices: Tally,
    machine: Tally,
}

/// One run in a folder of its own.
pub async fn run(options: Options) -> Report {
    let started = Instant::now();
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let machine = Machine::make(home.path(), &options.troubles);
    let faults = Faults::default();
    let world = World::start(home.path(), &machine, &options, &faults).await;
    let load = Load::new(world.agent.events_url(), world.agent.netcat, options.events, options.time);
    let ((), samples) =
        tokio::join!(storm(&world, &load, &options, &faults, &machine), sampled(&world, &load.stop));
    world.ready().await;

    // A fresh event passes; and when it has passed, so has everything before it.
    let redriven = settle(&world).await;
    let fresh = load.one_more().await;
    let redriven = redriven + settle(&world).await;

    let ledger = std::mem::take(&mut *load.ledger());
    let verdict = verdict::of(&ledger, &world.cloud, &world.output(), &world.commands(), &world.agent).await;
    let mut wrong = verdict.wrong();
    if !fresh {
        wrong.push("a fresh event was not taken".to_owned());
    }
    for (name, part) in &world.kept {
        // Without the Runtime API a function ends, and Lambda starts it again.
        let known = (*name == "notifier").then_some(i32::from(exit::UNAVAILABLE));
        let ended: Vec<_> =
            part.ended().into_iter().filter(|status| known.is_none() || status.code() != known).collect();
        if !ended.is_empty() {
            wrong.push(format!("{name} ended by itself: {ended:?}"));
        }
    }
    let sent = ledger.sends();
    if !wrong.is_empty() {
        // What happened is to be looked at: the folder stays.
        wrong.push(format!("everything is in {}", home.keep().display()));
    }
    let Faults { kills, s3, notices, machine: troubles, .. } = faults;
    let (took, not_run) = (started.elapsed(), machine.not_run.clone());
    Report {
        options,
        took,
        kills,
        s3,
        notices,
        machine: troubles,
        not_run,
        sent,
        redriven,
        samples,
        wrong,
        verdict,
    }
}

/// Producers send and things go wrong until the time is over and every event was sent.
async fn storm(world: &World, load: &Load, options: &Options, faults: &Faults, machine: &Machine) {
    let random = |stream: u64| Random::new(options.seed, 100 + stream);
    let Faults { storm, kills, machine: troubles, .. } = faults;
    storm.set(true);
    let parts: Vec<_> = world.kept.iter().map(|(name, part)| (*name, part)).collect();
    let end = async {
        let deadline = Instant::now() + options.time;
        while Instant::now() < deadline
            || load.ledger().len() < load.events && Instant::now() < deadline + options.time
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        storm.set(false);
        load.stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        end,
        faults::kills(storm.clone(), random(0), kills.clone(), &parts, options.kill_every),
        machine.trouble(storm, random(1), troubles, &parts),
        load.by_http(Manner::Once, random(10)),
        load.by_http(Manner::Again, random(11)),
        load.by_http(Manner::Keyed, random(12)),
        load.by_http(Manner::Keyed, random(16)),
        load.by_netcat(Manner::Once, 200, random(13)),
        load.by_netcat(Manner::Again, 50, random(14)),
        load.by_netcat(Manner::Once, 1, random(15)),
    );
}

/// Looks at each part once a second until the producers stop.
async fn sampled(world: &World, stop: &AtomicBool) -> Samples {
    let mut samples = Samples::new();
    while !stop.load(Ordering::Relaxed) {
        for (name, part) in &world.kept {
            let sample = part.pid().and_then(|pid| {
                let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
                Some(Sample { memory_kib: door::memory_kib(pid)?, descriptors })
            });
            samples.entry(*name).or_default().extend(sample);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    samples
}

/// Waits until everything that was taken is in S3, and everything in S3 has been handed on; how many
/// invocations were taken from the failure queue.
async fn settle(world: &World) -> u64 {
    let client = producer::client();
    until("the flush", SETTLE_WITHIN, async || {
        let flush = client.post(world.agent.admin_url("/v1/flush?timeout=30s")).send().await.ok()?;
        (flush.status() == 200).then_some(())
    })
    .await;
    let (objects, stored) = verdict::stored(&world.cloud).await;
    let mut redriven = 0;
    until("everything being handed on", SETTLE_WITHIN, async || {
        // What an operator does with what has failed three times, because it was killed each time.
        let redrive = format!("http://{}/failed-invocations/redrive", world.cloud.lambda);
        let answer = client.post(redrive).send().await.ok()?.text().await.ok()?;
        redriven +=
            answer.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap_or(0);
        let there = std::fs::metadata(world.output()).map_or(0, |output| output.len());
        (there == stored && verdict::commands(&world.commands()).len() as u64 == objects).then_some(())
    })
    .await;
    redriven
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seed, time, events, .. } = &self.options;
        writeln!(
            f,
            "seed {seed}: {events} events in {} s; {:.0} s in all",
            time.as_secs(),
            self.took.as_secs_f64()
        )?;
        let mut row = |name: &str, number: u64, more: &Tally| {
            let more: Vec<_> =
                more.all().into_iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "{name:<28} {number:>10}  {}", more.join(", "))
        };
        let none = Tally::default();
        row("kills", self.kills.sum(), &self.kills)?;
        row("S3 faults", self.s3.sum(), &self.s3)?;
        row("notice faults", self.notices.sum(), &self.notices)?;
        row("troubles of the machine", self.machine.sum(), &self.machine)?;
        for (part, samples) in &self.samples {
            let most = samples.iter().map(|sample| sample.memory_kib).max().unwrap_or_default();
            row(&format!("most KiB of the {part}"), most, &none)?;
        }
        row("invocations redriven", self.redriven, &none)?;
        row("sends of events", self.sent, &none)?;
        self.verdict.rows(&mut |name, number| row(name, number, &none))?;
        for not_run in &self.not_run {
            writeln!(f, "NOT RUN: {not_run}")?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}
