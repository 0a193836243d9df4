//! The delivery oracle: every program as a process, producers that record every send, faults by a
//! seed, and at the end a look at everything that was stored and handed on.
//!
//! ```text
//! producers -> agent -> [front] -> local cloud -> notifier -> [fan-out] -> server (ndjson)
//!                       faults                                faults   \-> server (command)
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contract::exit;

use crate::faults::{self, Storm};
use crate::front::Front;
use crate::host::{Clock, SmallDisk};
use crate::load::{Load, Manner};
use crate::parts::{Agent, Cloud, Server, Tuning, notifier};
use crate::process::Kept;
use crate::random::Random;
use crate::tally::Tally;
use crate::verdict::{self, Verdict};
use crate::{producer, until};

/// What one run is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chooses everything that is chosen.
    pub seed: u64,
    /// How long producers send and things go wrong.
    pub time: Duration,
    /// Events in all, evenly over the time.
    pub events: u64,
    /// How long on average from one kill to the next.
    pub kill_every: Duration,
    /// Whether the agent's disk is a small one that is full now and then.
    pub small_disk: bool,
    /// Whether the agent's clock jumps.
    pub jumping_clock: bool,
}

/// What one run has shown.
#[derive(Debug)]
pub struct Report {
    options: Options,
    took: Duration,
    kills: Tally,
    s3: Tally,
    notices: Tally,
    host: Tally,
    /// What was asked for and cannot be had here.
    pub not_run: Vec<String>,
    sent: u64,
    redriven: u64,
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
    verdict: Verdict,
}

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
    }
}

impl World {
    async fn start(
        home: &Path,
        data: PathBuf,
        clock: Option<&Clock>,
        options: &Options,
        faults: &Faults,
    ) -> Self {
        let random = |stream| Random::new(options.seed, stream);
        let cloud = Cloud::new(&home.join("cloud"));
        let front =
            Front::start(cloud.s3, faults::of_s3(faults.storm.clone(), random(1), faults.s3.clone())).await;
        let mut agent = Agent::new(&home.join("agent"), &front.url(), tuning(&mut random(2)));
        agent.data = data;
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
        let mut program = agent.program();
        if let Some(clock) = clock {
            clock.give(&mut program);
        }
        let mut kept = vec![("agent", program.keep()), ("cloud", cloud.program().keep())];
        for (name, server) in ["server", "command server"].into_iter().zip(&servers) {
            kept.push((name, server.program().keep()));
        }
        kept.push(("notifier", notifier(home, cloud.lambda, notices.addr).keep()));
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
    host: Tally,
}

/// One run in a folder of its own.
pub async fn run(options: Options) -> Report {
    let started = Instant::now();
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let mut not_run = Vec::new();
    let mut wanted = |what: &str, found: Result<(), String>| {
        if let Err(why) = found {
            not_run.push(format!("{what} ({why})"));
        }
    };
    let disk = options.small_disk.then(|| SmallDisk::mount(&home.path().join("disk"), 160 << 20));
    wanted("disk full", disk.as_ref().map_or(Ok(()), |disk| disk.as_ref().map(drop).map_err(Clone::clone)));
    let disk = disk.and_then(Result::ok);
    let clock = options.jumping_clock.then(|| Clock::new(&home.path().join("clock")));
    wanted(
        "clock jumps",
        clock.as_ref().map_or(Ok(()), |clock| clock.as_ref().map(drop).map_err(Clone::clone)),
    );
    let clock = clock.and_then(Result::ok);

    let faults = Faults::default();
    let data = disk.as_ref().map_or(home.path(), |disk| &disk.path).join("data");
    let world = World::start(home.path(), data, clock.as_ref(), &options, &faults).await;
    let load = Load::new(world.agent.events_url(), world.agent.netcat, options.events, options.time);
    storm(&world, &load, &options, &faults, disk.as_ref(), clock.as_ref()).await;
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
    let Faults { kills, s3, notices, host, .. } = faults;
    let took = started.elapsed();
    Report { options, took, kills, s3, notices, host, not_run, sent, redriven, wrong, verdict }
}

/// Producers send and things go wrong until the time is over and every event was sent.
async fn storm(
    world: &World,
    load: &Load,
    options: &Options,
    faults: &Faults,
    disk: Option<&SmallDisk>,
    clock: Option<&Clock>,
) {
    let random = |stream: u64| Random::new(options.seed, 100 + stream);
    let Faults { storm, kills, host, .. } = faults;
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
        load.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(
        end,
        faults::kills(storm.clone(), random(0), kills.clone(), &parts, options.kill_every),
        async {
            if let Some(disk) = disk {
                faults::full_disk(storm.clone(), random(1), host.clone(), disk).await;
            }
        },
        async {
            if let Some(clock) = clock {
                faults::jumping_clock(storm.clone(), random(2), host.clone(), clock).await;
            }
        },
        load.by_http(Manner::Once, random(10)),
        load.by_http(Manner::Again, random(11)),
        load.by_http(Manner::Keyed, random(12)),
        load.by_http(Manner::Keyed, random(16)),
        load.by_netcat(Manner::Once, 200, random(13)),
        load.by_netcat(Manner::Again, 50, random(14)),
        load.by_netcat(Manner::Once, 1, random(15)),
    );
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
        row("disk and clock", self.host.sum(), &self.host)?;
        row("invocations redriven", self.redriven, &none)?;
        row("sends of events", self.sent, &none)?;
        self.verdict.rows(&mut |name, number| row(name, number, &none))?;
        for not_run in &self.not_run {
            writeln!(f, "NOT RUN: {not_run}")?;
        }
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}
