//! Done cuts as ranges: a channel that ships a million objects in order costs one row, and that
//! row still tells whether the objects' running totals equal their sums.

use contract::{CutId, CutKind, ObjectMetadata};

use super::database::{Database, DatabaseError, Dialect, Record};

type Result<T> = std::result::Result<T, DatabaseError>;

/// A run of cuts that are done, none missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// When it was first known that the cut below is missing; `None` if no cut is below.
    pub(super) gap_since_ms: Option<i64>,
    /// What its cuts hold, where their objects were read.
    pub(super) counted: Option<Counted>,
}

/// What the upper cuts of a range hold, and what the running totals said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    /// The first cut that is counted; all above it, to the range's last, are.
    pub(super) from: u64,
    /// Events, and dead letters, in their objects.
    pub(super) events: u64,
    pub(super) dead_lettered: u64,
    /// The running totals before the first of them.
    pub(super) before: Told,
    /// The running totals with the last of them.
    pub(super) told: Told,
    /// The lowest and highest position in them.
    pub(super) positions: (u64, u64),
}

/// Running totals as an object tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) events: u64,
    pub(super) dead_lettered: u64,
    pub(super) damaged: u64,
}

/// The columns of [`Range`], in the order in which [`Range::read`] takes them.
pub(super) const COLUMNS: &str = "first, last, gap_since_ms, counted_from, events, dead_lettered, before_events, \
     before_dead, told_events, told_dead, told_damaged, lowest_position, highest_position";

/// Whether the cut is done.
pub(super) fn contains(at: &Database, cut: &CutId) -> Result<bool> {
    Ok(below(at, cut, cut.number)?.is_some_and(|range| range.last >= cut.number))
}

/// Adds a cut unless it is in a range, joining the ranges that it touches. Says whether it did.
pub(super) fn insert(
    at: &Database,
    cut: &CutId,
    metadata: Option<&ObjectMetadata>,
    now_ms: i64,
) -> Result<bool> {
    let counted = metadata.map(Counted::of);
    insert_range(at, cut, Range { first: cut.number, last: cut.number, gap_since_ms: None, counted }, now_ms)
}

/// Adds a range, of the channel and sink of `cut`, that overlaps no other.
fn insert_range(at: &Database, cut: &CutId, range: Range, now_ms: i64) -> Result<bool> {
    lock(at, cut)?;
    let (lower, upper) = (below(at, cut, range.first)?, above(at, cut, range.first)?);
    if lower.as_ref().is_some_and(|lower| lower.last >= range.first) {
        return Ok(false);
    }
    // The gap in which it lies is as old as it was; above the highest range there was none yet.
    let gap_since_ms = upper.as_ref().map_or(Some(now_ms), |upper| upper.gap_since_ms.or(Some(now_ms)));
    let mut range = Range { gap_since_ms: gap_since_ms.filter(|_| range.first > 1), ..range };
    if let Some(upper) = upper.filter(|upper| range.last + 1 == upper.first) {
        remove(at, cut, upper.first)?;
        range = range.join(upper);
    }
    if let Some(lower) = lower.filter(|lower| lower.last + 1 == range.first) {
        remove(at, cut, lower.first)?;
        range = lower.join(range);
    }
    write(at, cut, &range)?;
    Ok(true)
}

/// Declares the missing cuts from `cut` to number `last` as not to come. Says how many there were.
/// Above the highest nothing is missing: what comes there must not be taken for a repeat.
pub(super) fn write_off(at: &Database, cut: &CutId, last: u64, now_ms: i64) -> Result<u64> {
    lock(at, cut)?;
    let (mut number, mut missing) = (cut.number.max(1), 0);
    while number <= last {
        if let Some(lower) = below(at, cut, number)?.filter(|lower| lower.last >= number) {
            number = lower.last + 1;
            continue;
        }
        let Some(upper) = above(at, cut, number)? else { break };
        let end = last.min(upper.first - 1);
        let range = Range { first: number, last: end, gap_since_ms: None, counted: None };
        insert_range(at, cut, range, now_ms)?;
        missing += end - number + 1;
        number = end + 1;
    }
    Ok(missing)
}

/// Servers that share an inbox join ranges one after the other.
fn lock(at: &Database, cut: &CutId) -> Result<()> {
    if at.dialect() == Dialect::Postgres {
        let name = format!("{} {}", cut.channel, cut.sink);
        at.query("SELECT pg_advisory_xact_lock(hashtextextended(?1, 0))::TEXT", &[(&name).into()])?;
    }
    Ok(())
}

/// The range that begins highest at or below `number`.
fn below(at: &Database, cut: &CutId, number: u64) -> Result<Option<Range>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM ranges WHERE channel = ?1 AND sink = ?2 AND first <= ?3
         ORDER BY first DESC LIMIT 1"
    );
    one(at, &statement, cut, number)
}

/// The range that begins lowest above `number`.
fn above(at: &Database, cut: &CutId, number: u64) -> Result<Option<Range>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM ranges WHERE channel = ?1 AND sink = ?2 AND first > ?3
         ORDER BY first LIMIT 1"
    );
    one(at, &statement, cut, number)
}

fn one(at: &Database, statement: &str, cut: &CutId, number: u64) -> Result<Option<Range>> {
    let channel = cut.channel.to_string();
    let row = at.query_one(statement, &[(&channel).into(), cut.sink.as_str().into(), number.into()])?;
    row.as_ref().map(Range::read).transpose()
}

fn remove(at: &Database, cut: &CutId, first: u64) -> Result<()> {
    at.execute(
        "DELETE FROM ranges WHERE channel = ?1 AND sink = ?2 AND first = ?3",
        &[(&cut.channel.to_string()).into(), cut.sink.as_str().into(), first.into()],
    )?;
    Ok(())
}

fn write(at: &Database, cut: &CutId, range: &Range) -> Result<()> {
    let channel = cut.channel.to_string();
    let counted = range.counted.unwrap_or_default();
    at.execute(
        &format!(
            "INSERT INTO ranges (channel, sink, {COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)"
        ),
        &[
            (&channel).into(),
            cut.sink.as_str().into(),
            range.first.into(),
            range.last.into(),
            range.gap_since_ms.into(),
            range.counted.map(|counted| counted.from).into(),
            counted.events.into(),
            counted.dead_lettered.into(),
            counted.before.events.into(),
            counted.before.dead_lettered.into(),
            counted.told.events.into(),
            counted.told.dead_lettered.into(),
            counted.told.damaged.into(),
            counted.positions.0.into(),
            counted.positions.1.into(),
        ],
    )?;
    Ok(())
}

impl Range {
    pub(super) fn read(row: &Record) -> Result<Self> {
        let counted = match row.maybe_count(3)? {
            None => None,
            Some(from) => Some(Counted {
                from,
                events: row.count(4)?,
                dead_lettered: row.count(5)?,
                before: Told { events: row.count(6)?, dead_lettered: row.count(7)?, damaged: 0 },
                told: Told { events: row.count(8)?, dead_lettered: row.count(9)?, damaged: row.count(10)? },
                positions: (row.count(11)?, row.count(12)?),
            }),
        };
        Ok(Self { first: row.count(0)?, last: row.count(1)?, gap_since_ms: row.maybe_integer(2)?, counted })
    }

    /// The two as one; `upper` begins where this ends.
    fn join(self, upper: Self) -> Self {
        let counted = match (self.counted, upper.counted) {
            // Only what is counted without a hole up to the end can be held against its totals.
            (Some(lower), Some(above)) if above.from == upper.first => Some(Counted {
                from: lower.from,
                events: lower.events.saturating_add(above.events),
                dead_lettered: lower.dead_lettered.saturating_add(above.dead_lettered),
                before: lower.before,
                told: above.told,
                positions: (
                    lower.positions.0.min(above.positions.0),
                    lower.positions.1.max(above.positions.1),
                ),
            }),
            (_, above) => above,
        };
        Self { first: self.first, last: upper.last, gap_since_ms: self.gap_since_ms, counted }
    }
}

impl Counted {
    fn of(metadata: &ObjectMetadata) -> Self {
        let (events, dead_lettered) = match metadata.kind {
            CutKind::Events => (metadata.events, 0),
            CutKind::Dead => (0, metadata.set_aside),
        };
        Self {
            from: metadata.cut.number,
            events,
            dead_lettered,
            before: Told {
                events: metadata.total_events.saturating_sub(events),
                dead_lettered: metadata.total_dead_lettered.saturating_sub(dead_lettered),
                damaged: 0,
            },
            told: Told {
                events: metadata.total_events,
                dead_lettered: metadata.total_dead_lettered,
                damaged: metadata.total_damaged,
            },
            positions: (metadata.first, metadata.last),
        }
    }

    /// Whether the running totals of the last cut equal those before the first, and the sums.
    pub(super) fn adds_up(&self) -> bool {
        self.before.events.saturating_add(self.events) == self.told.events
            && self.before.dead_lettered.saturating_add(self.dead_lettered) == self.told.dead_lettered
    }
}

impl Default for Counted {
    fn default() -> Self {
        let (before, told) = (Told::default(), Told::default());
        Self { from: 0, events: 0, dead_lettered: 0, before, told, positions: (0, 0) }
    }
}
