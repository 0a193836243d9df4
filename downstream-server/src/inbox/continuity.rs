//! Whether anything is missing or double: what the ranges of done cuts say, for each channel and
//! sink, whatever the number of partitions.

use serde::Serialize;

use super::database::{Database, DatabaseError, Record};
use super::forks::MAX_FORKS;
use super::ranges::{self, Range};
use super::rows::State;

type Result<T> = std::result::Result<T, DatabaseError>;

/// Gaps and forks of one sink that are told one by one.
const MOST_TOLD: usize = 100;

/// One channel and sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkContinuity {
    /// The channel's id.
    pub channel: String,
    /// The sink's name.
    pub sink: String,
    /// Every cut from 1 to this one is done; 0 if cut 1 is not.
    pub contiguous_to: u64,
    /// The highest cut that is done.
    pub highest: u64,
    /// Cuts that are done.
    pub done: u64,
    /// Cuts below the highest that are not done.
    pub missing_cuts: u64,
    /// They, as ranges, the lowest first; at most 100.
    pub missing: Vec<Missing>,
    /// Cuts of which objects with other content were seen.
    pub forked_cuts: u64,
    /// They, the latest first; at most 100.
    pub forked: Vec<Fork>,
    /// The running totals of the highest run of done cuts, held against what its objects hold;
    /// `None` while no object of it was read by a server that counts.
    pub totals: Option<Sums>,
    /// Whether every run of done cuts adds up.
    pub adds_up: bool,
}

/// Cuts that are not done although a higher one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// Since when it is known, in milliseconds since 1970.
    pub since_ms: i64,
    /// How many of them are owed or being fetched.
    pub owed: u64,
    /// How many of them are dead letters of this server.
    pub dead: u64,
    /// How many of them the store holds no more.
    pub gone: u64,
}

/// An object that has the name of a done cut and another content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The cut's number.
    pub number: u64,
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The object's version, where one was named.
    pub version_id: Option<String>,
    /// Its bytes.
    pub bytes: u64,
    /// Its CRC32C.
    pub crc32c: u64,
    /// The bytes of the object that was handled.
    pub done_bytes: u64,
    /// The CRC32C of the object that was handled.
    pub done_crc32c: u64,
    /// When it was seen, in milliseconds since 1970.
    pub seen_ms: i64,
}

/// Sums over a run of cuts, and the running totals that its objects tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// The first cut of the run.
    pub from: u64,
    /// The last cut of the run.
    pub to: u64,
    /// Events and dead letters in the objects, with those told to be before the first.
    pub events: u64,
    /// As above.
    pub dead_lettered: u64,
    /// Events up to and with the last cut, as its object tells.
    pub told_events: u64,
    /// Dead letters up to and with the last cut, as its object tells.
    pub told_dead_lettered: u64,
    /// Events lost to damage of the channel up to and with the last cut, as its object tells.
    pub told_damaged: u64,
    /// The lowest position in the run.
    pub lowest_position: u64,
    /// The highest position in the run.
    pub highest_position: u64,
    /// Whether the sums equal what was told.
    pub add_up: bool,
}

/// What the metrics show of it, over all channels and sinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// Cuts that are not done although a higher one is.
    pub missing_cuts: u64,
    /// Cuts of which objects with other content were seen.
    pub forked_cuts: u64,
    /// Runs of done cuts whose totals differ from their sums.
    pub differing_runs: u64,
    /// Since when the oldest gap is known, in milliseconds since 1970.
    pub oldest_missing_ms: Option<i64>,
}

/// A page of channels and sinks in the order of their names, after `after`. `whole` is whether
/// cuts before the first that was seen are missing too.
pub(super) fn page(
    at: &Database,
    after: &(String, String),
    limit: usize,
    whole: bool,
) -> Result<Vec<SinkContinuity>> {
    let sinks = at.query(
        "SELECT channel, sink, CAST(sum(last - first + 1) AS BIGINT), max(last), min(first) FROM ranges
         WHERE channel > ?1 OR (channel = ?1 AND sink > ?2)
         GROUP BY channel, sink ORDER BY channel, sink LIMIT ?3",
        &[(&after.0).into(), (&after.1).into(), limit.into()],
    )?;
    sinks.iter().map(|row| sink(at, row, whole)).collect()
}

fn sink(at: &Database, row: &Record, whole: bool) -> Result<SinkContinuity> {
    let (channel, sink) = (row.text(0)?, row.text(1)?);
    let (done, highest, lowest) = (row.count(2)?, row.count(3)?, row.count(4)?);
    let named = [(&channel).into(), (&sink).into()];
    let columns = ranges::COLUMNS;
    let ranges = at.query(
        &format!(
            "SELECT {columns} FROM ranges WHERE channel = ?1 AND sink = ?2 ORDER BY first LIMIT {}",
            MOST_TOLD + 1
        ),
        &named,
    )?;
    let ranges = ranges.iter().map(Range::read).collect::<Result<Vec<_>>>()?;
    let top = at.query_one(
        &format!("SELECT {columns} FROM ranges WHERE channel = ?1 AND sink = ?2 ORDER BY first DESC LIMIT 1"),
        &named,
    )?;
    let top = top.as_ref().map(Range::read).transpose()?;
    let floor = if whole { 1 } else { lowest.max(1) };
    let mut missing = Vec::new();
    let (mut next, mut contiguous_to) = (floor, floor - 1);
    for range in &ranges {
        if range.first > next && missing.len() < MOST_TOLD {
            missing.push(gap(at, &channel, &sink, next, range)?);
        }
        if missing.is_empty() {
            contiguous_to = range.last;
        }
        next = range.last + 1;
    }
    let forked_cuts =
        at.query_one("SELECT count(DISTINCT number) FROM forks WHERE channel = ?1 AND sink = ?2", &named)?;
    let differing = at.query_one(
        &format!("SELECT count(*) FROM ranges WHERE channel = ?1 AND sink = ?2 AND {DIFFERS}"),
        &named,
    )?;
    let totals = top.and_then(|top| {
        top.counted.map(|counted| Sums {
            from: counted.from,
            to: top.last,
            events: counted.before.events.saturating_add(counted.events),
            dead_lettered: counted.before.dead_lettered.saturating_add(counted.dead_lettered),
            told_events: counted.told.events,
            told_dead_lettered: counted.told.dead_lettered,
            told_damaged: counted.told.damaged,
            lowest_position: counted.positions.0,
            highest_position: counted.positions.1,
            add_up: counted.adds_up(),
        })
    });
    Ok(SinkContinuity {
        contiguous_to,
        highest,
        done,
        missing_cuts: (highest + 1).saturating_sub(floor).saturating_sub(done),
        missing,
        forked_cuts: forked_cuts.map_or(Ok(0), |row| row.count(0))?,
        forked: forks(at, &channel, &sink)?,
        totals,
        adds_up: differing.map_or(Ok(0), |row| row.count(0))? == 0,
        channel,
        sink,
    })
}

/// A range whose totals differ from its sums.
const DIFFERS: &str = "counted_from IS NOT NULL
     AND (before_events + events <> told_events OR before_dead + dead_lettered <> told_dead)";

/// The gap from `first` to below `above`, and what the inbox knows of its cuts.
fn gap(at: &Database, channel: &str, sink: &str, first: u64, above: &Range) -> Result<Missing> {
    let last = above.first - 1;
    let mut gap =
        Missing { first, last, since_ms: above.gap_since_ms.unwrap_or_default(), owed: 0, dead: 0, gone: 0 };
    let named = |number: u64| format!("{channel}-{sink}-{number:012}");
    // Cut ids sort as their numbers do.
    let known = at.query(
        "SELECT state, count(*) FROM objects WHERE identity >= ?1 AND identity <= ?2 GROUP BY state",
        &[(&named(first)).into(), (&named(last)).into()],
    )?;
    for row in known {
        let count = row.count(1)?;
        match State::parse(&row.text(0)?) {
            Some(State::Owed | State::Fetching) => gap.owed += count,
            Some(State::Dead) => gap.dead += count,
            Some(State::Gone) => gap.gone += count,
            Some(State::Done) | None => {}
        }
    }
    Ok(gap)
}

fn forks(at: &Database, channel: &str, sink: &str) -> Result<Vec<Fork>> {
    let rows = at.query(
        &format!(
            "SELECT number, bucket, key, nullif(version_id, ''), bytes, crc32c, done_bytes, done_crc32c, seen_ms
             FROM forks WHERE channel = ?1 AND sink = ?2 ORDER BY seen_ms DESC, number LIMIT {MOST_TOLD}"
        ),
        &[channel.into(), sink.into()],
    )?;
    rows.iter()
        .map(|row| {
            Ok(Fork {
                number: row.count(0)?,
                bucket: row.text(1)?,
                key: row.text(2)?,
                version_id: row.maybe_text(3)?,
                bytes: row.count(4)?,
                crc32c: row.count(5)?,
                done_bytes: row.count(6)?,
                done_crc32c: row.count(7)?,
                seen_ms: row.integer(8)?,
            })
        })
        .collect()
}

/// The same over everything, for the metrics.
pub(super) fn gaps(at: &Database, whole: bool) -> Result<Gaps> {
    let row = at.query_one(
        "SELECT CAST(coalesce(sum(highest - lowest + 1 - done), 0) AS BIGINT),
                CAST(coalesce(sum(highest - done), 0) AS BIGINT)
         FROM (SELECT max(last) AS highest, min(first) AS lowest, sum(last - first + 1) AS done
               FROM ranges GROUP BY channel, sink) AS sinks",
        &[],
    )?;
    let column = usize::from(whole);
    let missing_cuts = row.map_or(Ok(0), |row| row.maybe_integer(column).map(Option::unwrap_or_default))?;
    let oldest = if whole {
        "SELECT min(gap_since_ms) FROM ranges WHERE gap_since_ms IS NOT NULL"
    } else {
        "SELECT min(gap_since_ms) FROM ranges r WHERE gap_since_ms IS NOT NULL AND EXISTS
             (SELECT 1 FROM ranges b WHERE b.channel = r.channel AND b.sink = r.sink AND b.first < r.first)"
    };
    let oldest = at.query_one(oldest, &[])?;
    let forked = at.query_one(
        &format!(
            "SELECT count(*) FROM (SELECT DISTINCT channel, sink, number FROM forks LIMIT {}) AS forked",
            MAX_FORKS * 100
        ),
        &[],
    )?;
    let differing = at.query_one(&format!("SELECT count(*) FROM ranges WHERE {DIFFERS}"), &[])?;
    Ok(Gaps {
        missing_cuts: u64::try_from(missing_cuts).unwrap_or_default(),
        forked_cuts: forked.map_or(Ok(0), |row| row.count(0))?,
        differing_runs: differing.map_or(Ok(0), |row| row.count(0))?,
        oldest_missing_ms: oldest.map_or(Ok(None), |row| row.maybe_integer(0))?,
    })
}
