//! Looking at a channel that nobody has open, changing nothing: every frame of every segment, and every record.
//!
//! What opening would refuse, cut or count as lost is listed as a [`Problem`]. An I/O error ends the look: it says
//! nothing about what is on the disk.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::aside;
use crate::disk::{Disk, LOCK_FILE, Mode, OsDisk};
use crate::durable::{self, DurableChannel};
use crate::error::{JournalError, OpenError};
use crate::format::VERSION;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::recovery::{self, Last};
use crate::registry;
use crate::segment;
use crate::walk::{Found, Refused, Walk};

/// What a channel's folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The channel's id and how often it was started under it, if the identity can be read.
    pub identity: Option<([u8; 16], u64)>,
    /// The first position held.
    pub first: u64,
    /// The position that the next event gets, if that is known.
    pub next: Option<u64>,
    /// The segments, the oldest first.
    pub segments: Vec<SegmentStatus>,
    /// The size of the file that waits to become the next segment; 0 if there is none.
    pub reserve_bytes: u64,
    /// Frames that nothing attests: opening copies them.
    pub unattested_frames: u64,
    /// Bytes of a torn tail, which opening cuts. Nothing acknowledged is in them.
    pub torn_bytes: u64,
    /// The registered readers, by name.
    pub readers: Vec<ReaderFiles>,
    /// Names of retired readers.
    pub retired: Vec<String>,
    /// What was set aside of earlier damage: file names and bytes.
    pub set_aside: Vec<(String, u64)>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// A segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentStatus {
    /// The first position.
    pub first: u64,
    /// One past the last position.
    pub end: u64,
    /// The file's size.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// When the first and the last of them were appended, in milliseconds since 1970.
    pub arrival_ms: Option<(u64, u64)>,
    /// Positions lost to damage.
    pub damaged: u64,
}

/// A registered reader and its owner's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReaderFiles {
    /// Its name.
    pub name: String,
    /// Where it was registered and what it has released, if that can be read.
    pub progress: Option<(u64, u64)>,
    /// Positions that it has not released.
    pub backlog: Option<u64>,
    /// Its journals.
    pub journals: Vec<JournalStatus>,
}

/// A journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStatus {
    /// Its name, without `.a` and `.b`.
    pub name: String,
    /// How many snapshots there were, and one.
    pub generation: u64,
    /// Records since the last snapshot, with that.
    pub records: u64,
    /// Bytes in use of the file that counts.
    pub used_bytes: u64,
    /// Bytes of a torn tail.
    pub torn_bytes: u64,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong and, where something can be done, what.
    pub what: String,
    /// The positions that are lost.
    pub positions: Option<Range<u64>>,
    /// The bytes of the file that are hit.
    pub bytes: Option<Range<u64>>,
}

/// What a problem means for a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Positions are lost. A start counts them and goes on.
    Lost,
    /// A start is refused until somebody does something.
    Refused,
}

// === impl DurableChannel ===

impl DurableChannel {
    /// Looks at every byte of the channel in `dir`, which nobody has open, and changes nothing.
    pub fn inspect(dir: &Path) -> Result<Inspection, OpenError> {
        Self::inspect_on(&OsDisk, dir)
    }

    /// As [`inspect`](Self::inspect), on another file system.
    pub fn inspect_on(disk: &dyn Disk, dir: &Path) -> Result<Inspection, OpenError> {
        let entries = disk.list(dir).map_err(OpenError::io(format!("listing {}", dir.display())))?;
        // A channel without the file was never open; making it would be a change.
        let lock = entries.iter().any(|entry| entry.name == LOCK_FILE);
        let _lock = if lock { Some(durable::lock(disk, dir)?) } else { None };
        let mut found = Inspection::default();
        let (mut attested, mut fresh_id) = (0, false);
        match Identity::look(disk, dir) {
            Ok(record) => {
                found.identity = Some((record.id, record.incarnation));
                (attested, fresh_id) = (record.synced_end, record.incarnation == 0);
            }
            Err(error) => found.refuse(error)?,
        }
        found.look_at_readers(disk, &dir.join(registry::DIR))?;
        let released = found.readers.iter().filter_map(|reader| Some(reader.progress?.1)).max();
        found.look_at_segments(
            disk,
            &dir.join(segment::DIR),
            attested.max(released.unwrap_or(0)),
            fresh_id,
        )?;
        found.set_aside = aside::list(disk, dir).map_err(OpenError::io("listing what was set aside"))?;
        Ok(found)
    }
}

// === impl Inspection ===

impl Inspection {
    /// Whether every byte that counts is as it was written.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// Positions lost to damage.
    pub fn damaged(&self) -> u64 {
        self.problems
            .iter()
            .filter_map(|problem| problem.positions.clone())
            .map(|lost| lost.end - lost.start)
            .sum()
    }

    /// Damage is noted; anything else is an error.
    fn refuse(&mut self, error: OpenError) -> Result<(), OpenError> {
        let OpenError::Damaged { path, what } = error else { return Err(error) };
        self.problems.push(Problem { path, severity: Severity::Refused, what, positions: None, bytes: None });
        Ok(())
    }

    fn look_at_readers(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
        for entry in list(disk, dir)?.into_iter().filter(|entry| entry.is_dir) {
            if let Some(name) = entry.name.strip_suffix(registry::RETIRED) {
                self.retired.push(name.to_owned());
            } else if registry::is_name(&entry.name) {
                let path = dir.join(&entry.name);
                let mut reader = ReaderFiles { name: entry.name, ..ReaderFiles::default() };
                match registry::look(disk, &path) {
                    Ok([start, released]) => reader.progress = Some((start, released)),
                    Err(error) => self.refuse(error)?,
                }
                self.look_at_journals(disk, &path, &mut reader)?;
                self.readers.push(reader);
            }
        }
        Ok(())
    }

    fn look_at_journals(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        reader: &mut ReaderFiles,
    ) -> Result<(), OpenError> {
        for entry in list(disk, dir)? {
            let Some(name) = entry.name.strip_suffix(".a") else { continue };
            match Journal::look_on(disk, dir, name) {
                Ok(contents) => reader.journals.push(JournalStatus {
                    name: name.to_owned(),
                    generation: contents.generation,
                    records: contents.records.len() as u64,
                    used_bytes: contents.used_bytes,
                    torn_bytes: contents.torn_bytes,
                }),
                Err(JournalError::Damaged { path, what }) => {
                    self.refuse(OpenError::Damaged { path, what })?;
                }
                Err(JournalError::Version { path, found, known }) => {
                    return Err(OpenError::Version { path, found, known });
                }
                Err(JournalError::Io { operation, source }) => {
                    return Err(OpenError::Io { operation, source });
                }
                Err(JournalError::Poisoned { .. }) => unreachable!("a look poisons nothing"),
            }
        }
        Ok(())
    }

    fn look_at_segments(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        attested: u64,
        fresh_id: bool,
    ) -> Result<(), OpenError> {
        let files = list(disk, dir)?;
        let segments: BTreeMap<u64, u64> =
            files.iter().filter_map(|entry| Some((segment::parse_name(&entry.name)?, entry.bytes))).collect();
        let reserve = files.iter().find(|entry| entry.name == segment::RESERVE);
        self.reserve_bytes = reserve.map_or(0, |entry| entry.bytes);
        match recovery::look(disk, dir, &segments, attested, fresh_id, Mode::Read) {
            Ok(None) => self.next = Some(attested),
            Ok(Some(Last { verdict, .. })) => {
                self.next = Some(verdict.end);
                self.torn_bytes = verdict.torn_bytes;
                self.unattested_frames = verdict.tail.map_or(0, |tail| tail.frames);
            }
            Err(error) => self.refuse(error)?,
        }
        self.first = segments.keys().next().copied().or(self.next).unwrap_or(0);
        let mut ends = segments.keys().skip(1).copied().map(Some).collect::<Vec<_>>();
        ends.push(self.next);
        for ((&first, &bytes), end) in segments.iter().zip(ends) {
            // Of the last one with a bad header nothing is known.
            let Some(end) = end else { continue };
            let status = self.walk(disk, &dir.join(segment::name(first)), first..end, bytes)?;
            self.segments.push(status);
        }
        for reader in &mut self.readers {
            reader.backlog =
                reader.progress.zip(self.next).map(|((_, released), next)| next.saturating_sub(released));
        }
        let released = self.readers.iter().filter_map(|reader| Some(reader.progress?.1)).min();
        if let Some(lost) = released.map(|released| released..self.first).filter(|lost| !lost.is_empty()) {
            let what = "segments that a reader has not released are gone".to_owned();
            self.lose(dir, what, lost, None);
        }
        Ok(())
    }

    /// Reads every frame of one segment.
    fn walk(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        positions: Range<u64>,
        bytes: u64,
    ) -> Result<SegmentStatus, OpenError> {
        let io_error = || OpenError::io(format!("reading {}", path.display()));
        let mut status =
            SegmentStatus { first: positions.start, end: positions.end, bytes, ..SegmentStatus::default() };
        let file = disk.open(path, Mode::Read).map_err(io_error())?;
        let walk = Walk::open(file, positions.start, positions.end, bytes, Vec::new());
        let mut walk = walk.map_err(|refused| match refused {
            Refused::Io(error) => io_error()(error),
            Refused::Newer(found) => OpenError::Version { path: path.to_owned(), found, known: VERSION },
        })?;
        while walk.position < positions.end {
            match walk.find(walk.position).map_err(io_error())? {
                Found::Frame(_, frame) => {
                    status.frames += 1;
                    let (first, _) = status.arrival_ms.unwrap_or((frame.arrival_ms, 0));
                    status.arrival_ms = Some((first, frame.arrival_ms));
                }
                Found::Damaged { positions, bytes } => {
                    status.damaged += positions.end - positions.start;
                    let what = "bytes are not as they were written".to_owned();
                    self.lose(path, what, positions, Some(bytes));
                }
            }
        }
        Ok(status)
    }

    fn lose(&mut self, path: &Path, what: String, positions: Range<u64>, bytes: Option<Range<u64>>) {
        let (path, severity) = (path.to_owned(), Severity::Lost);
        self.problems.push(Problem { path, severity, what, positions: Some(positions), bytes });
    }
}

/// A folder that is missing holds nothing.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<crate::disk::Entry>, OpenError> {
    match disk.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(OpenError::io(format!("listing {}", dir.display()))),
    }
}
