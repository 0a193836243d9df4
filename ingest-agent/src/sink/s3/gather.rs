//! Events on their way into cuts: which partition, is it a dead letter, how many bytes; and which cuts are to be sealed.
//!
//! Without compression and with one partition an open cut holds only positions, a length and a running
//! checksum: its object is streamed from the channel. Otherwise, its bytes go to the [`Packer`]. Dead letters are
//! always streamed.

use std::io;

use contract::{ChannelId, CutId, CutKind, ObjectKey, SinkName};
use hashbrown::HashMap;
use tokio::time::Instant;

use super::config::{S3SinkConfig, Unresolved};
use super::cut::Reason;
use super::pack::{Pack, Packer};
use super::partition::PartitionTemplate;
use super::roll::Filling;
use super::rows::encode_dead;
use super::runs::Runs;
use crate::event::EventRef;
use object_format::{Codec, Format, Rows};

/// The partition of dead letters.
pub(crate) const DEAD_PARTITION: &str = "_dead";

/// The open cuts of one sink.
pub(crate) struct Gather {
    template: PartitionTemplate,
    constant: bool,
    streamed: bool,
    /// The longest rendered partition whose key S3 takes.
    most_partition_bytes: usize,
    open: HashMap<Box<str>, OpenCut>,
    dead: Option<OpenCut>,
    /// Cuts that reached a limit, in that order.
    full: Vec<OpenCut>,
    /// No cut is due before this.
    due_from: Option<Instant>,
    /// Memory that the positions of open cuts take.
    runs_bytes: u64,
    partition: String,
    made: Vec<u8>,
}

/// An encoded event.
#[derive(Clone, Copy)]
struct Encoded<'a> {
    /// Its bytes, in two pieces.
    pieces: [&'a [u8]; 2],
    /// How many they are.
    bytes: u64,
    /// Whether it is one row of its object, neither more nor less (I10).
    is_row: bool,
}

impl<'a> Encoded<'a> {
    #[inline]
    fn new(pieces: [&'a [u8]; 2], is_row: bool) -> Self {
        Self { pieces, bytes: (pieces[0].len() + pieces[1].len()) as u64, is_row }
    }
}

/// What one object will hold.
#[derive(Debug)]
pub(crate) struct OpenCut {
    /// Events or dead letters.
    pub kind: CutKind,
    /// The rendered template.
    pub partition: Box<str>,
    /// Its positions.
    pub runs: Runs,
    /// Of dead letters: why, each up to and with a position.
    pub reasons: Vec<(u64, Reason)>,
    /// What the rows of its object are, as far as it is known.
    pub rows: Rows,
    /// Its bytes.
    pub bytes: OpenBytes,
    compressed: bool,
    uncompressed: u64,
    opened: Instant,
    touched: Instant,
}

/// The bytes of an open cut.
#[derive(Debug)]
pub(crate) enum OpenBytes {
    /// In the channel: their number and CRC32C.
    Streamed(u64, u32),
    /// Collected by the packer.
    Packed(Pack),
}

/// When an event came, by every clock that matters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came {
    /// When its batch arrived, in milliseconds since the epoch.
    pub arrival_ms: i64,
    /// From when its age counts.
    pub since: Instant,
    /// Now.
    pub now: Instant,
}

impl Gather {
    /// No open cut.
    pub(crate) fn new(config: &S3SinkConfig, channel: ChannelId, sink: &SinkName) -> Self {
        let longest = CutId { channel, sink: sink.clone(), number: u64::MAX };
        let shortest_key = ObjectKey::render(
            &config.prefix,
            "x",
            &longest,
            &extension(config.layout.format(), config.codec),
        );
        Self {
            template: config.partition.clone(),
            constant: config.partition.is_constant(),
            streamed: config.partition.is_constant() && config.codec == Codec::None,
            most_partition_bytes: shortest_key.map_or(0, |key| contract::MAX_KEY_BYTES - key.len() + 1),
            open: HashMap::new(),
            dead: None,
            full: Vec::new(),
            due_from: None,
            runs_bytes: 0,
            partition: String::new(),
            made: Vec::new(),
        }
    }

    /// Takes in the event at `position`.
    pub(crate) fn add(
        &mut self,
        config: &S3SinkConfig,
        packer: &mut Packer,
        position: u64,
        event: &EventRef<'_>,
        came: Came,
    ) -> io::Result<()> {
        // Out of the way, so that what is made of the event can lie in it.
        let mut made = std::mem::take(&mut self.made);
        let encoded = Encoded::new(
            config.layout.pieces(&event.arrived(came.arrival_ms), &mut made),
            config.layout.keeps_border(event.body, event.known),
        );
        let added = match self.route(config, event, encoded.bytes, came.arrival_ms) {
            Ok(()) => self.add_routed(config, packer, position, encoded, came),
            Err(reason) => self.add_dead(config, packer, position, reason, event, came),
        };
        self.made = made;
        added
    }

    /// Takes in an event of `self.partition`.
    fn add_routed(
        &mut self,
        config: &S3SinkConfig,
        packer: &mut Packer,
        position: u64,
        encoded: Encoded<'_>,
        came: Came,
    ) -> io::Result<()> {
        // One look into the map for an event that fits an open cut, which nearly all do.
        if let Some(open) = self.open.get_mut(&*self.partition)
            && !config.roll.overflows(&open.filling(), encoded.bytes, config.codec == Codec::None)
        {
            let runs_before = open.runs.heap_bytes();
            open.add(position, encoded, packer, came)?;
            self.runs_bytes += open.runs.heap_bytes() - runs_before;
            if config.roll.is_full(&open.filling()) {
                self.close_one();
            }
            return Ok(());
        }
        self.close_one();
        if self.open.len() >= config.max_open_partitions.max(1) {
            self.close_oldest(1 + self.open.len() / 16);
        }
        let partition: Box<str> = self.partition.as_str().into();
        let bytes =
            if self.streamed { OpenBytes::Streamed(0, 0) } else { OpenBytes::Packed(Pack::default()) };
        let mut open =
            OpenCut::new(CutKind::Events, partition.clone(), bytes, config.codec != Codec::None, came);
        open.add(position, encoded, packer, came)?;
        if config.roll.is_full(&open.filling()) {
            self.full.push(open);
        } else {
            self.await_due(config, &open);
            self.runs_bytes += open.runs.heap_bytes();
            self.open.insert(partition, open);
        }
        Ok(())
    }

    /// Whether there is nothing to seal.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.dead.is_none() && self.full.is_empty()
    }

    /// How many cuts are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len() + usize::from(self.dead.is_some())
    }

    /// The lowest position that an open cut holds.
    pub(crate) fn first(&self) -> Option<u64> {
        self.open.values().chain(&self.dead).map(|open| open.runs.first()).min()
    }

    /// Bytes of memory that the open cuts take besides their packs.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let dead =
            self.dead.as_ref().map_or(0, |dead| dead.runs.heap_bytes() + 16 * dead.reasons.len() as u64);
        self.runs_bytes + dead
    }

    /// When to look for cuts to be sealed if nothing more comes: no cut is due earlier.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due_from
    }

    /// Closes the cuts that have waited long enough at `now`. Looks at all of them only when one may have.
    pub(crate) fn close_due(&mut self, config: &S3SinkConfig, now: Instant) {
        if self.due_from.is_none_or(|due| due > now) {
            return;
        }
        self.close(|open| config.roll.due(&open.filling()).is_some_and(|due| due <= now));
        let dues = self.open.values().chain(&self.dead).filter_map(|open| config.roll.due(&open.filling()));
        self.due_from = dues.min();
    }

    /// Closes the cuts for which `close` says so.
    pub(crate) fn close(&mut self, mut close: impl FnMut(&OpenCut) -> bool) {
        let mut closed: Vec<_> = self.open.extract_if(|_, open| close(open)).map(|(_, open)| open).collect();
        self.runs_bytes -= closed.iter().map(|open| open.runs.heap_bytes()).sum::<u64>();
        closed.extend(self.dead.take_if(|dead| close(dead)));
        // In the order of their first events: a map's order is nobody's.
        closed.sort_by_key(|open| open.runs.first());
        self.full.append(&mut closed);
    }

    /// Moves packs out of memory, the largest first, until they take at most `bytes`.
    pub(crate) fn spill(&mut self, packer: &mut Packer, bytes: u64) -> io::Result<()> {
        let mut packs: Vec<&mut Pack> = self.open.values_mut().filter_map(OpenCut::pack).collect();
        packs.sort_by_key(|pack| std::cmp::Reverse(pack.memory_bytes()));
        packer.spill(packs, bytes)
    }

    /// The closed cuts, in the order in which they are to be sealed.
    pub(crate) fn take_closed(&mut self) -> Vec<OpenCut> {
        std::mem::take(&mut self.full)
    }

    /// Leaves the event's partition in `self.partition`, or says why it is a dead letter.
    fn route(
        &mut self,
        config: &S3SinkConfig,
        event: &EventRef<'_>,
        bytes: u64,
        arrival_ms: i64,
    ) -> Result<(), Reason> {
        if bytes > config.max_event_bytes {
            return Err(Reason::TooLarge);
        }
        let known = self.constant && !self.partition.is_empty();
        if !known {
            self.partition.clear();
            if self.template.render(event, arrival_ms, &mut self.partition).is_err() {
                match config.unresolved {
                    Unresolved::Fallback => self.partition.push_str(self.template.fallback()),
                    Unresolved::DeadLetter => return Err(Reason::Unresolved),
                }
            }
        }
        if self.partition.len() > self.most_partition_bytes { Err(Reason::KeyTooLong) } else { Ok(()) }
    }

    fn add_dead(
        &mut self,
        config: &S3SinkConfig,
        packer: &mut Packer,
        position: u64,
        reason: Reason,
        event: &EventRef<'_>,
        came: Came,
    ) -> io::Result<()> {
        let mut line = Vec::new();
        encode_dead(position, Some(reason), event, came.arrival_ms, &mut line);
        if self.dead.is_none() {
            let bytes = OpenBytes::Streamed(0, 0);
            let dead = OpenCut::new(CutKind::Dead, DEAD_PARTITION.into(), bytes, false, came);
            self.await_due(config, &dead);
            self.dead = Some(dead);
        }
        let dead = self.dead.as_mut().expect("it was just opened");
        match dead.reasons.last_mut() {
            Some((last, same)) if *same == reason => *last = position,
            _ => dead.reasons.push((position, reason)),
        }
        dead.add(position, Encoded::new([&line, b""], true), packer, came)?;
        if config.roll.is_full(&dead.filling()) {
            self.full.extend(self.dead.take());
        }
        Ok(())
    }

    /// Closes the cut of `self.partition`, if one is open.
    fn close_one(&mut self) {
        if let Some(open) = self.open.remove(&*self.partition) {
            self.runs_bytes -= open.runs.heap_bytes();
            self.full.push(open);
        }
    }

    /// Remembers when to look at a new cut.
    fn await_due(&mut self, config: &S3SinkConfig, open: &OpenCut) {
        self.due_from = [self.due_from, config.roll.due(&open.filling())].into_iter().flatten().min();
    }

    fn close_oldest(&mut self, count: usize) {
        let mut firsts: Vec<u64> = self.open.values().map(|open| open.runs.first()).collect();
        firsts.sort_unstable();
        let youngest = firsts[count.min(firsts.len()) - 1];
        self.close(|open| open.kind == CutKind::Events && open.runs.first() <= youngest);
    }
}

impl OpenCut {
    fn new(kind: CutKind, partition: Box<str>, bytes: OpenBytes, compressed: bool, came: Came) -> Self {
        Self {
            kind,
            partition,
            runs: Runs::default(),
            reasons: Vec::new(),
            rows: Rows::Events,
            bytes,
            compressed,
            uncompressed: 0,
            opened: came.since,
            touched: came.now,
        }
    }

    fn add(
        &mut self,
        position: u64,
        encoded: Encoded<'_>,
        packer: &mut Packer,
        came: Came,
    ) -> io::Result<()> {
        let bytes = encoded.bytes;
        if !encoded.is_row {
            self.rows = Rows::Lines;
        }
        self.runs.push(position);
        self.uncompressed += bytes;
        self.touched = came.now;
        match &mut self.bytes {
            OpenBytes::Streamed(length, crc32c) => {
                *length += bytes;
                *crc32c = encoded.pieces.into_iter().fold(*crc32c, crc32c::crc32c_append);
                Ok(())
            }
            OpenBytes::Packed(pack) => packer.add(pack, encoded.pieces),
        }
    }

    /// What the rolling rules look at.
    pub(crate) fn filling(&self) -> Filling {
        Filling {
            events: self.runs.count(),
            bytes: match &self.bytes {
                OpenBytes::Packed(pack) if self.compressed => pack.length(),
                _ => self.uncompressed,
            },
            uncompressed_bytes: self.uncompressed,
            opened: self.opened,
            touched: self.touched,
        }
    }

    /// Whether it has bytes in this file of the staging log.
    pub(crate) fn is_in(&self, file: u64) -> bool {
        matches!(&self.bytes, OpenBytes::Packed(pack) if pack.is_in(file))
    }

    /// Whether its bytes are in the staging log.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.bytes, OpenBytes::Packed(_))
    }

    fn pack(&mut self) -> Option<&mut Pack> {
        match &mut self.bytes {
            OpenBytes::Streamed(..) => None,
            OpenBytes::Packed(pack) => Some(pack),
        }
    }
}

/// What keys end in.
pub(crate) fn extension(format: Format, codec: Codec) -> String {
    match codec.coding().ext() {
        None => format.ext().to_owned(),
        Some(codec) => format!("{}.{codec}", format.ext()),
    }
}
