//! One run: a format, a codec, every door, every consumer, and kills all the time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use serde_json::value::RawValue;

use super::consumers::{Follower, Receiver, files};
use super::senders::Senders;
use super::tally::Tally;
use super::views::{Format, as_json, of_json, rows};
use crate::faults::{self, Storm};
use crate::front::Front;
use crate::parts::{Agent, Cloud, PREFIX, Server, Tuning, keys, notifier, object};
use crate::process::{Kept, folder};
use crate::random::Random;
use crate::{door, producer, tally, verdict};

/// How long things may take to settle after the storm.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);

/// Keeps each event that a command is given, under the delivery's id and its number in the object.
const COMMAND: &str = r#"new="$0/.$SLUICEGATE_DELIVERY_ID-$SLUICEGATE_BATCH_FIRST"
cat > "$new" && mv "$new" "$0/$SLUICEGATE_DELIVERY_ID-$SLUICEGATE_BATCH_FIRST""#;

/// What one run is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chooses shapes, doors, codec and kills.
    pub seed: u64,
    /// Of all objects.
    pub format: Format,
    /// How long producers send and things are killed.
    pub time: Duration,
    /// How long on average from one kill to the next.
    pub kill_every: Duration,
}

/// What one run has shown.
#[derive(Debug)]
pub struct Report {
    /// A line for each number.
    said: Vec<String>,
    /// What is wrong; nothing, if all is well.
    pub wrong: Vec<String>,
}

/// Who is given the events, each by a server of its own.
struct Consumers {
    /// The handler `ndjson`.
    ndjson: PathBuf,
    /// The handler `lines`.
    lines: PathBuf,
    /// The handler `command`, an event at a time: a file for each.
    command: PathBuf,
    /// The handler `http`, an event at a time.
    events: Receiver,
    /// The handler `http`, batches as JSON.
    batches: Receiver,
    /// The feed of the first server.
    feed: Follower,
}

/// Everything that runs.
struct World {
    agent: Agent,
    cloud: Cloud,
    servers: Vec<Server>,
    kept: Vec<(&'static str, Kept)>,
    consumers: Consumers,
    _fronts: [Front; 2],
}

impl World {
    async fn start(home: &Path, options: &Options, codec: &str, storm: &Storm) -> Self {
        let random = |stream| Random::new(options.seed, stream);
        let cloud = Cloud::new(&home.join("cloud"));
        let none = tally::Tally::default;
        let front = Front::start(cloud.s3, faults::of_s3(storm.clone(), random(1), none())).await;
        let tuning = Tuning {
            sink: format!(
                "format = \"{}\"\ncodec = \"{codec}\"\nput_limit = \"5MiB\"\npart = \"5MiB\"\n\
                 retry_base = \"20ms\"\nretry_max = \"1s\"\nread_timeout = \"2s\"\n\
                 operation_timeout = \"3s\"\ncomplete_timeout = \"3s\"",
                options.format.name()
            ),
            roll: "size = \"12MiB\"\nage = \"500ms\"".to_owned(),
            ..Tuning::default()
        };
        let agent = Agent::new(&home.join("agent"), &front.url(), tuning);
        let consumers = Consumers {
            ndjson: home.join("ndjson/out"),
            lines: home.join("lines/out"),
            command: folder(&home.join("commands")),
            events: Receiver::start(random(4)).await,
            batches: Receiver::start(random(5)).await,
            feed: Follower::default(),
        };
        let servers = servers(home, &front.url(), &consumers);
        let addrs = servers.iter().map(|server| server.addr).collect();
        let notices = Front::fan_out(addrs, faults::of_notices(storm.clone(), random(3), none())).await;
        let mut kept = vec![("agent", agent.program().keep()), ("cloud", cloud.program().keep())];
        kept.extend(servers.iter().map(|server| ("server", server.program().keep())));
        kept.push(("notifier", notifier(home, cloud.lambda, notices.addr).keep()));
        for (_, part) in &kept {
            part.ready().await;
        }
        Self { agent, cloud, servers, kept, consumers, _fronts: [front, notices] }
    }
}

/// A server for each kind of consumer.
fn servers(home: &Path, s3: &str, consumers: &Consumers) -> Vec<Server> {
    let patience = [
        ("retry-base", "50ms"),
        ("retry-max", "500ms"),
        ("retry-attempts", "1000"),
        ("fetch-read-timeout", "2s"),
    ];
    let text = |path: &Path| path.display().to_string();
    let [ndjson, lines] = [text(&consumers.ndjson), text(&consumers.lines)];
    let command = json!(["sh", "-c", COMMAND, consumers.command]).to_string();
    let urls = [&consumers.events, &consumers.batches].map(|receiver| format!("http://{}/", receiver.addr));
    let kinds: [(&str, Vec<(&str, &str)>); 5] = [
        ("ndjson", vec![("handler-kind", "ndjson"), ("handler-path", &ndjson)]),
        ("lines", vec![("handler-kind", "lines"), ("handler-path", &lines)]),
        (
            "command",
            vec![("handler-kind", "command"), ("handler-command", &command), ("handler-feed", "event")],
        ),
        ("events", vec![("handler-kind", "http"), ("handler-url", &urls[0]), ("handler-batch-events", "1")]),
        ("batches", vec![("handler-kind", "http"), ("handler-url", &urls[1]), ("handler-format", "json")]),
    ];
    let server = |(name, flags): (&str, Vec<(&str, &str)>)| {
        Server::new(&home.join(name), s3, &[&patience[..], &flags].concat())
    };
    kinds.into_iter().map(server).collect()
}

/// One run in a folder of its own.
pub async fn run(options: Options) -> Report {
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let storm = Storm::default();
    let mut random = Random::new(options.seed, 2);
    let codec = ["none", "gzip", "zstd"][random.below(3) as usize];
    let world = World::start(home.path(), &options, codec, &storm).await;
    let senders = Senders::new(options.format, world.agent.http, world.agent.netcat, options.seed);
    let feed_ends = AtomicBool::new(false);
    let url = world.servers[0].url("/v1/events");
    let ((), stored) = tokio::join!(world.consumers.feed.follow(&url, &feed_ends), async {
        send(&world, &senders, &options, &storm).await;
        let stored = settle(&world, options.format).await;
        feed_ends.store(true, Ordering::Relaxed);
        stored
    });
    let mut report = compare(&world.consumers, &senders, &stored);
    report.said.insert(0, format!("seed {}: {:?}, codec {codec}", options.seed, options.format));
    report.wrong.extend(stored.wrong);
    for (name, part) in &world.kept {
        let ended: Vec<_> = part
            .ended()
            .into_iter()
            .filter(|status| {
                *name != "notifier" || status.code() != Some(i32::from(contract::exit::UNAVAILABLE))
            })
            .collect();
        if !ended.is_empty() {
            report.wrong.push(format!("a {name} ended by itself: {ended:?}"));
        }
    }
    if !report.wrong.is_empty() {
        // What happened is to be looked at: the folder stays.
        report.wrong.push(format!("everything is in {}", home.keep().display()));
    }
    report
}

/// Producers send and parts are killed until the time is over.
async fn send(world: &World, senders: &Senders, options: &Options, storm: &Storm) {
    let random = |stream: u64| Random::new(options.seed, 100 + stream);
    let parts: Vec<_> = world.kept.iter().map(|(name, part)| (*name, part)).collect();
    storm.set(true);
    let kills = tally::Tally::default();
    let end = async {
        tokio::time::sleep(options.time).await;
        storm.set(false);
        senders.stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        end,
        faults::kills(storm.clone(), random(0), kills, &parts, Some(options.kill_every)),
        senders.produce(random(1)),
        senders.produce(random(2)),
        senders.produce(random(3)),
    );
    for (_, part) in &world.kept {
        part.ready().await;
    }
}

/// What the objects hold.
#[derive(Default)]
struct Stored {
    /// In the terms of the format.
    things: Tally,
    rows: Tally,
    /// Rows as JSON.
    json: Tally,
    objects: u64,
    /// Objects whose rows are no events.
    of_lines: u64,
    wrong: Vec<String>,
}

async fn stored(cloud: &Cloud, format: Format) -> Stored {
    let bucket = cloud.bucket().await;
    let mut stored = Stored::default();
    for key in keys(&bucket, PREFIX).await {
        let (metadata, bytes) = object(&bucket, &key).await;
        let mut decoded = Vec::new();
        let mut reader = verdict::decoded(&metadata, &bytes);
        std::io::copy(&mut reader, &mut decoded).expect("an object can be decoded");
        stored.objects += 1;
        match format.stored(&decoded) {
            Ok(things) => {
                // Of text with newlines in it, rows are no events, and the object says so.
                let rows_are_events = things.len() as u64 == metadata.events;
                stored.of_lines += u64::from(!rows_are_events);
                if !rows_are_events && format != Format::Text {
                    stored.wrong.push(format!(
                        "{key} has {} events and says {}",
                        things.len(),
                        metadata.events
                    ));
                }
                for thing in &things {
                    stored.things.add(thing);
                }
            }
            Err(why) => stored.wrong.push(format!("{key}: {why}")),
        }
        for row in rows(&decoded) {
            stored.rows.add(row);
            stored.json.add(&as_json(row));
        }
    }
    stored
}

/// Waits until everything that was taken is in S3, and every consumer has as many rows as that.
async fn settle(world: &World, format: Format) -> Stored {
    door::flushed(&world.agent, SETTLE_WITHIN).await;
    let stored = stored(&world.cloud, format).await;
    let rows = stored.rows.sum();
    let client = producer::client();
    let deadline = Instant::now() + SETTLE_WITHIN;
    loop {
        // What an operator does with what has failed three times, because it was killed each time.
        let redrive = format!("http://{}/failed-invocations/redrive", world.cloud.lambda);
        let _ = client.post(redrive).send().await;
        let there = counts(&world.consumers);
        if there.iter().all(|(_, count)| *count == rows) {
            return stored;
        }
        if Instant::now() > deadline {
            // Whoever has too few or too many is named by the comparison.
            println!("of {rows} rows: {there:?}");
            return stored;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// How many rows each consumer has.
fn counts(consumers: &Consumers) -> [(&'static str, u64); 6] {
    let lines = |path: &Path| rows(&std::fs::read(path).unwrap_or_default()).count() as u64;
    let batches = consumers.batches.batches().0;
    [
        ("ndjson", lines(&consumers.ndjson)),
        ("lines", lines(&consumers.lines)),
        ("command", files(&consumers.command).len() as u64),
        ("http events", consumers.events.batches().0.len() as u64),
        ("http batches", batches.iter().map(|batch| elements(batch).map_or(0, |all| all.len() as u64)).sum()),
        ("feed", consumers.feed.len() as u64),
    ]
}

fn elements(batch: &[u8]) -> Option<Vec<&RawValue>> {
    serde_json::from_slice(batch).ok()
}

/// What was sent with what is stored, and that with what each consumer has.
fn compare(consumers: &Consumers, senders: &Senders, stored: &Stored) -> Report {
    let owed = senders.owed();
    let doors: Vec<_> =
        senders.by_door().into_iter().map(|(door, count)| format!("{door:?} {count}")).collect();
    let mut wrong: Vec<String> =
        owed.wrong(&stored.things).into_iter().map(|what| format!("objects: {what}")).collect();
    let mut check = |name: &str, there: &Tally, of: &Tally, also: Vec<String>| {
        wrong.extend(there.unlike(of).into_iter().chain(also).map(|what| format!("{name}: {what}")));
    };
    let tally = |rows: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut tally = Tally::default();
        rows.for_each(|row| tally.add(&row));
        tally
    };
    // A row ends in a newline where it is given as it stands in its object.
    let bare = |row: &[u8]| row.strip_suffix(b"\n").unwrap_or(row).to_vec();
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let ndjson = tally(&mut rows(&read(&consumers.ndjson)).map(of_json));
    check("ndjson", &ndjson, &stored.json, Vec::new());
    let lines = tally(&mut rows(&read(&consumers.lines)).map(<[u8]>::to_vec));
    check("lines", &lines, &stored.rows, Vec::new());
    let command = tally(&mut files(&consumers.command).iter().map(|row| bare(row)));
    check("command", &command, &stored.rows, Vec::new());
    let (batches, also) = consumers.events.batches();
    check("http events", &tally(&mut batches.iter().map(|row| bare(row))), &stored.rows, also);
    let (batches, also) = consumers.batches.batches();
    let all = batches.iter().flat_map(|batch| elements(batch).unwrap_or_default());
    let all = tally(&mut all.map(|value| of_json(value.get().as_bytes())));
    check("http batches", &all, &stored.json, also);
    let (feed, also) = consumers.feed.rows();
    check("feed", &tally(&mut feed.into_iter()), &stored.rows, also);
    let said = vec![
        format!("sent by {}", doors.join(", ")),
        format!("{} answered, {} stored in {} objects", owed.least(), stored.things.sum(), stored.objects),
        format!("{} rows for each of 6 consumers; {} objects of lines", stored.rows.sum(), stored.of_lines),
    ];
    Report { said, wrong }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.said.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "WRONG: {wrong}"))
    }
}
