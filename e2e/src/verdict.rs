//! What is stored and handed on, compared with what is owed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use blob_store::BlobStore;
use contract::{CutKind, ObjectMetadata};

use crate::ledger::{Counts, Findings, Ledger};
use crate::parts::{Agent, Cloud, PREFIX, keys, object};
use crate::producer;

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Verdict {
    findings: Findings,
    objects: u64,
    dead: u64,
    /// Events whose copies at the handler are not those in the objects.
    unlike: Vec<u64>,
    /// Deliveries for which the command was not run, or not with the object's lines.
    commands: BTreeSet<String>,
    foreign: Vec<String>,
    /// What is wrong with cuts, positions and keys.
    cuts: Vec<String>,
    uploads: u64,
    /// Requests that no agent of ours makes: copies, and deletes other than of uploads.
    odd_requests: u64,
}

/// Looks at everything, once nothing is owed any more.
pub async fn of(ledger: &Ledger, cloud: &Cloud, output: &Path, command_log: &Path, agent: &Agent) -> Verdict {
    let bucket = cloud.bucket().await;
    let mut verdict = Verdict::default();
    let mut objects = Counts::default();
    let mut cuts = Vec::new();
    let mut scratch = String::new();
    for key in keys(&bucket, "").await {
        if key.starts_with("_sluicegate/") {
            continue;
        }
        if !key.starts_with(PREFIX) || contract::ObjectKey::cut_of(&key).is_none() {
            verdict.cuts.push(format!("{key} is no object of a cut"));
            continue;
        }
        let (metadata, bytes) = object(&bucket, &key).await;
        let before = objects.lines;
        for line in decoded(&metadata, &bytes).split(b'\n').map(|line| line.expect("bytes can be read")) {
            objects.count(&line, &mut scratch);
        }
        if objects.lines - before != metadata.events {
            verdict.cuts.push(format!(
                "{key} has {} lines and says {}",
                objects.lines - before,
                metadata.events
            ));
        }
        if contract::ObjectKey::cut_of(&key).as_ref() != Some(&metadata.cut) {
            verdict.cuts.push(format!("{key} is of the cut {}", metadata.cut));
        }
        verdict.dead += u64::from(metadata.kind == CutKind::Dead);
        cuts.push(metadata);
    }
    verdict.objects = cuts.len() as u64;
    let expected: BTreeMap<_, _> =
        cuts.iter().map(|cut| (cut.cut.to_string(), BTreeSet::from([cut.events]))).collect();
    let given = commands(command_log);
    let differ = |id: &&String| expected.get(*id) != given.get(*id);
    verdict.commands = expected.keys().chain(given.keys()).filter(differ).cloned().collect();
    verdict.cuts.extend(cuts_wrong(cuts, end_of_channel(agent).await));
    verdict.uploads = bucket.list_uploads("").await.expect("S3 lists uploads").len() as u64;
    verdict.odd_requests = odd_requests(&cloud.requests());

    let handled = count_file(output, &mut scratch);
    verdict.unlike = objects.unlike(&handled);
    verdict.foreign.extend(objects.foreign.clone().into_iter().chain(handled.foreign));
    verdict.findings = ledger.findings(&objects);
    verdict
}

/// How many objects there are, and their bytes, decoded: what the `ndjson` handler writes, to the byte.
pub async fn stored(cloud: &Cloud) -> (u64, u64) {
    let bucket = cloud.bucket().await;
    let (mut objects, mut bytes) = (0, 0);
    for key in keys(&bucket, PREFIX).await {
        objects += 1;
        let (metadata, stored) = object(&bucket, &key).await;
        bytes +=
            std::io::copy(&mut decoded(&metadata, &stored), &mut std::io::sink()).expect("it can be read");
    }
    (objects, bytes)
}

/// The deliveries for which the command was run, with the numbers of lines that it was given.
pub fn commands(log: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut commands: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in text.lines() {
        let (id, lines) = line.split_once(' ').unwrap_or((line, ""));
        commands.entry(id.to_owned()).or_default().insert(lines.trim().parse().unwrap_or(u64::MAX));
    }
    commands
}

/// An object's bytes, decoded.
pub fn decoded<'a>(metadata: &ObjectMetadata, bytes: &'a [u8]) -> Box<dyn BufRead + 'a> {
    let reader: Box<dyn Read> = match metadata.codec.as_str() {
        "none" => Box::new(bytes),
        "zstd" => Box::new(zstd::Decoder::with_buffer(bytes).expect("a decoder can be made")),
        "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        other => panic!("{} is compressed as {other}", metadata.cut),
    };
    Box::new(BufReader::new(reader))
}

fn count_file(output: &Path, scratch: &mut String) -> Counts {
    let mut counts = Counts::default();
    let file = BufReader::new(std::fs::File::open(output).expect("the handler has a file"));
    for line in file.split(b'\n') {
        counts.count(&line.expect("the file can be read"), scratch);
    }
    counts
}

/// Cuts are numbered from 1 without a gap, their totals add up, and together they hold every position
/// of the channel: as many as it has given. Where each holds a range, the ranges touch.
fn cuts_wrong(mut cuts: Vec<ObjectMetadata>, end: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    cuts.sort_by_key(|cut| cut.cut.number);
    let (mut events, mut dead) = (0, 0);
    for (number, cut) in (1..).zip(&cuts) {
        if cut.cut.number != number {
            wrong.push(format!("where the cut {number} should be is {}", cut.cut));
            break;
        }
        let range = cut.last - cut.first + 1 == cut.events;
        if range && cuts.iter().all(|cut| cut.last - cut.first + 1 == cut.events) && cut.first != events {
            wrong.push(format!("the cut {number} begins at {} instead of {events}", cut.first));
        }
        events += cut.events;
        dead += cut.set_aside;
        if (cut.total_events, cut.total_dead_lettered, cut.total_damaged) != (events, dead, 0) {
            wrong.push(format!("the totals of the cut {number} do not add up: {cut:?}"));
        }
    }
    if events + dead != end {
        wrong.push(format!(
            "{events} events and {dead} dead letters are not the {end} positions of the channel"
        ));
    }
    wrong
}

/// The position that the channel will give next.
async fn end_of_channel(agent: &Agent) -> u64 {
    let scrape = producer::client().get(agent.admin_url("/metrics")).send().await.expect("the agent answers");
    let scrape = scrape.text().await.expect("metrics are text");
    let line = scrape
        .lines()
        .find_map(|line| line.strip_prefix("sluicegate_channel_synced_position{channel=\"main\"} "));
    line.and_then(|number| number.parse().ok()).expect("the agent tells its position")
}

fn odd_requests(log: &Path) -> u64 {
    let log = BufReader::new(std::fs::File::open(log).expect("S3 keeps a log"));
    let requests = log.lines().map_while(Result::ok);
    let requests = requests.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    let odd = requests.filter(|request| {
        let upload = request["query"].as_str().is_some_and(|query| query.contains("uploadId"));
        request["copy"] == true || request["method"] == "DELETE" && !upload
    });
    odd.count() as u64
}

impl Verdict {
    /// A line for each thing that is wrong.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = self.cuts.clone();
        let mut some = |what: &str, ids: &[u64]| {
            if let Some(id) = ids.first() {
                wrong.push(format!("{} events are {what}: {id}", ids.len()));
            }
        };
        some("answered and missing", &self.findings.missing);
        some("stored more often than sent, or twice in spite of a key", &self.findings.beyond);
        some("not at the handler as often as in the objects", &self.unlike);
        wrong.extend(
            self.commands.iter().map(|id| format!("the command was not run, or with other lines, for {id}")),
        );
        wrong.extend(self.foreign.iter().map(|line| format!("nobody sent this: {line}")));
        for (what, number) in [
            ("dead objects", self.dead),
            ("uploads left", self.uploads),
            ("copies and deletes", self.odd_requests),
        ] {
            if number > 0 {
                wrong.push(format!("{number} {what}"));
            }
        }
        wrong
    }

    /// The rows of the table.
    pub fn rows(&self, row: &mut impl FnMut(&str, u64) -> fmt::Result) -> fmt::Result {
        let Findings { missing, beyond, repeated, answered, stored, keyed_again } = &self.findings;
        row("events answered", *answered)?;
        row("events stored", *stored)?;
        row("answered and missing", missing.len() as u64)?;
        row("beyond what was sent", beyond.len() as u64)?;
        row("twice, as sent twice", *repeated)?;
        row("sent again under a key", *keyed_again)?;
        row("at the handler, otherwise", self.unlike.len() as u64)?;
        row("at the command, otherwise", self.commands.len() as u64)?;
        row("objects", self.objects)?;
        row("uploads left", self.uploads)
    }
}
