//! Recovery: what of the last segment counts, and everything that may not be on the disk put there anew.
//!
//! Only the last segment is read: the segment after another is created once all before it is synced, so an older
//! one is attested as a whole, and damage in it is found when it is read.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::aside::Aside;
use crate::disk::{self, Disk, DiskFile, Mode};
use crate::durable::Recovery;
use crate::error::OpenError;
use crate::format::{Block, FRAME_HEADER_BYTES, FileHeader, HEADER_BLOCK_BYTES, SEGMENT_MAGIC, VERSION};
use crate::frame::{FrameHeader, Seal};
use crate::scan::{self, Scan};
use crate::segment::{self, RESERVE, Table};

/// What recovery needs to know besides the files.
pub(crate) struct Question<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    /// The folder of the segments.
    pub(crate) dir: &'a Path,
    /// Every position below this was synced: by the identity and by what readers released.
    pub(crate) attested: u64,
    /// Nothing was ever written under this channel id, so no position of it can be given twice.
    pub(crate) fresh_id: bool,
    /// The size of a new segment.
    pub(crate) segment_bytes: u64,
    /// Takes what is damaged before it is cut.
    pub(crate) aside: &'a Aside,
}

/// A channel's files as they may be used.
pub(crate) struct Recovered {
    pub(crate) table: Table,
    /// The segment that the tail was copied into: it can take more frames.
    pub(crate) live: Option<Live>,
    pub(crate) report: Recovery,
}

/// The segment that is written to.
pub(crate) struct Live {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) name: String,
    pub(crate) seed: u32,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// The file's size.
    pub(crate) bytes: u64,
}

/// What of a last segment counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The end of the channel.
    pub(crate) end: u64,
    /// Where the frames below the highest attested position end in the file.
    pub(crate) attested_bytes: u64,
    /// The good frames after those.
    pub(crate) tail: Option<Tail>,
    pub(crate) torn_bytes: u64,
    pub(crate) damaged: Vec<(u64, u64)>,
    /// Where in the file that damage is.
    pub(crate) damaged_bytes: Vec<Range<u64>>,
}

/// Good frames that nothing attests, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    first: u64,
    pub(crate) frames: u64,
    /// Where they are in the file.
    at: u64,
    pub(crate) end: u64,
}

/// The last segment of a channel, and what of it counts.
pub(crate) struct Last {
    pub(crate) first: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// The file's size.
    pub(crate) bytes: u64,
    /// None if it is bad, under an id that was never used.
    header: Option<FileHeader>,
    pub(crate) verdict: Verdict,
}

/// Looks at the last of `segments` in `dir`, changing nothing. Every position below `attested` was synced; with a
/// `fresh_id` nothing was ever written under this channel id, so no position of it can be given twice.
pub(crate) fn look(
    disk: &dyn Disk,
    dir: &Path,
    segments: &BTreeMap<u64, u64>,
    attested: u64,
    fresh_id: bool,
    mode: Mode,
) -> Result<Option<Last>, OpenError> {
    let Some((&first, &bytes)) = segments.last_key_value() else {
        if attested > 0 && !fresh_id {
            let what = format!(
                "it holds no segment, though positions below {attested} were used; restore it, or give the channel \
                 a new id with `channel adopt`"
            );
            return Err(OpenError::Damaged { path: dir.to_owned(), what });
        }
        return Ok(None);
    };
    let path = dir.join(segment::name(first));
    let io_error = || OpenError::io(format!("recovering {}", path.display()));
    let file = disk.open(&path, mode).map_err(io_error())?;
    let header = match FileHeader::read(&*file, SEGMENT_MAGIC).map_err(io_error())? {
        Block::Valid(header) if header.number == first => Some(header),
        Block::Newer(found) => return Err(OpenError::Version { path, found, known: VERSION }),
        _ if fresh_id => None,
        _ => {
            let what = "the header of the last segment is bad, so the next position is not known; \
                        restore it, or give the channel a new id with `channel adopt`";
            return Err(OpenError::Damaged { path, what: what.to_owned() });
        }
    };
    let verdict = if let Some(header) = header {
        let mut scan = Scan::new(Arc::clone(&file), header.seed(), bytes);
        judge(&mut scan, first, attested.max(first)).map_err(io_error())?
    } else {
        let mut verdict = Verdict { end: first, attested_bytes: HEADER_BLOCK_BYTES, ..Verdict::default() };
        verdict.lose(first, attested, 0..bytes);
        verdict.end = attested.max(first);
        verdict
    };
    Ok(Some(Last { first, file, bytes, header, verdict }))
}

/// Looks at the channel in `question` and leaves it with everything that counts synced.
pub(crate) fn recover(question: &Question<'_>) -> Result<Recovered, OpenError> {
    let Question { disk, dir, attested, fresh_id, .. } = *question;
    let mut segments = segment::list(&**disk, dir)
        .map_err(OpenError::io(format!("listing segments in {}", dir.display())))?;
    let Some(last) = look(&**disk, dir, &segments, attested, fresh_id, Mode::Write)? else {
        let table = Table { segments, synced_end: attested };
        let report = Recovery { first: attested, next: attested, ..Recovery::default() };
        return Ok(Recovered { table, live: None, report });
    };
    let Last { first, file, bytes, header, verdict } = last;
    let path = dir.join(segment::name(first));
    for range in &verdict.damaged_bytes {
        question
            .aside
            .keep(first, &*file, range.clone())
            .map_err(OpenError::io(format!("setting aside damaged bytes of {}", path.display())))?;
    }
    let live = copy_tail(question, &verdict, header, &file)
        .map_err(OpenError::io(format!("copying the last frames of {}", path.display())))?;
    let replaced = live.as_ref().is_some_and(|live| live.name == segment::name(first));
    if !replaced {
        segments.insert(first, verdict.attested_bytes);
        if bytes > verdict.attested_bytes {
            // The room that was allocated ahead, and whatever is torn. Coming back after a crash it is judged
            // the same again.
            file.set_len(verdict.attested_bytes)
                .map_err(OpenError::io(format!("recovering {}", path.display())))?;
        }
    }
    if let (Some(live), Some(tail)) = (&live, &verdict.tail) {
        segments.insert(tail.first, live.offset);
    }
    Ok(finish(verdict, segments, live))
}

fn finish(verdict: Verdict, segments: BTreeMap<u64, u64>, live: Option<Live>) -> Recovered {
    let table = Table { segments, synced_end: verdict.end };
    let report = Recovery {
        created: false,
        first: table.segments.keys().next().copied().unwrap_or(verdict.end),
        next: verdict.end,
        copied_frames: verdict.tail.map_or(0, |tail| tail.frames),
        torn_bytes: verdict.torn_bytes,
        damaged: verdict.damaged,
        set_aside_bytes: 0,
    };
    Recovered { table, live, report }
}

/// Decides what the segment that starts at position `first` holds.
///
/// Below the highest synced end that anything attests, what is bad is damage: its positions stay used.
/// At or above it, the first bad frame is where the tail is torn: nothing from there on was acknowledged, because
/// all of it belongs to one group whose sync never returned.
fn judge(scan: &mut Scan, first: u64, attested: u64) -> io::Result<Verdict> {
    let attested = highest_attested(scan, attested)?;
    let mut verdict = Verdict { end: first, attested_bytes: HEADER_BLOCK_BYTES, ..Verdict::default() };
    let mut at = HEADER_BLOCK_BYTES;
    let mut good_bytes = at;
    while let Some((found_at, header)) = scan.find(at, |_| true)? {
        at = scan::after(found_at, &header);
        if header.first < verdict.end {
            continue;
        }
        if header.first > attested && header.first > verdict.end {
            break;
        }
        verdict.lose(verdict.end, header.first, good_bytes..found_at);
        verdict.end = header.first;
        if header.first >= attested {
            if !scan.check_payload(found_at, &header)? {
                break;
            }
            let tail = Tail { first: header.first, frames: 0, at: found_at, end: at };
            let tail = verdict.tail.get_or_insert(tail);
            (tail.frames, tail.end) = (tail.frames + 1, at);
        } else {
            match scan.good_frame(found_at, &header)? {
                Some(good_at) => at = scan::after(good_at, &header),
                None => verdict.lose(header.first, header.end(), found_at..at),
            }
            verdict.attested_bytes = at;
        }
        verdict.end = header.end();
        good_bytes = at;
    }
    let end_of_bytes = scan.end_of_bytes(good_bytes)?;
    if verdict.end < attested {
        // Which of the bytes behind the last good frame were attested cannot be told: all of them are kept.
        verdict.lose(verdict.end, attested, good_bytes..end_of_bytes);
        verdict.end = attested;
    } else {
        verdict.torn_bytes = end_of_bytes - good_bytes;
    }
    Ok(verdict)
}

impl Verdict {
    fn lose(&mut self, first: u64, end: u64, bytes: Range<u64>) {
        if first < end {
            self.damaged.push((first, end - first));
            self.damaged_bytes.push(bytes);
        }
    }
}

/// A good header is a witness even if its payload is not.
fn highest_attested(scan: &mut Scan, mut attested: u64) -> io::Result<u64> {
    let mut at = HEADER_BLOCK_BYTES;
    while let Some((found_at, header)) = scan.find(at, |_| true)? {
        attested = attested.max(header.synced_end);
        at = scan::after(found_at, &header);
    }
    Ok(attested)
}

/// Copies the frames that no synced end attests into a new segment and makes it durable, then and only then
/// giving it its name: after a failed sync, pages may look clean in memory and never have been written.
fn copy_tail(
    question: &Question<'_>,
    verdict: &Verdict,
    old: Option<FileHeader>,
    from: &Arc<dyn DiskFile>,
) -> io::Result<Option<Live>> {
    let (Some(tail), Some(old)) = (verdict.tail, old) else { return Ok(None) };
    let (file, bytes) = take_reserve(question, HEADER_BLOCK_BYTES + tail.end - tail.at)?;
    let header = FileHeader::random(tail.first)?;
    header.write(&*file, SEGMENT_MAGIC)?;
    let mut scan = Scan::new(Arc::clone(from), old.seed(), tail.end);
    let mut at = tail.at;
    let mut offset = HEADER_BLOCK_BYTES;
    let mut frame = Vec::new();
    while let Some(FrameHeader { first, count, arrival_ms, .. }) = copy_frame(&mut scan, &mut at, &mut frame)?
    {
        Seal { seed: header.seed(), first, count, arrival_ms, synced_end: tail.first }.apply(&mut frame);
        disk::write_piece(&*file, &frame, offset)?;
        offset += frame.len() as u64;
    }
    if offset - HEADER_BLOCK_BYTES != tail.end - tail.at {
        return Err(io::Error::other("a frame reads differently the second time"));
    }
    file.sync()?;
    let name = segment::name(tail.first);
    question.disk.rename(&question.dir.join(RESERVE), &question.dir.join(&name))?;
    question.disk.sync_dir(question.dir)?;
    Ok(Some(Live { file, name, seed: header.seed(), offset, bytes }))
}

/// Copies the payload of the frame at `at` behind room for a header, and goes on to the next.
fn copy_frame(scan: &mut Scan, at: &mut u64, frame: &mut Vec<u8>) -> io::Result<Option<FrameHeader>> {
    let Some(header) = scan.header_at(*at, false)? else { return Ok(None) };
    if !scan.check_payload(*at, &header)? {
        return Ok(None);
    }
    frame.clear();
    frame.resize(FRAME_HEADER_BYTES, 0);
    frame.extend_from_slice(scan.payload(*at));
    *at = scan::after(*at, &header);
    Ok(Some(header))
}

/// The reserve, or a new file in its place: of full size if the disk has that, else just large enough.
fn take_reserve(question: &Question<'_>, needed: u64) -> io::Result<(Arc<dyn DiskFile>, u64)> {
    let path = question.dir.join(RESERVE);
    match question.disk.open(&path, Mode::Write) {
        Ok(file) => {
            let bytes = file.size()?;
            if bytes >= needed {
                return Ok((file, bytes));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = question.disk.open(&path, Mode::Create)?;
    let full = question.segment_bytes.max(needed);
    match file.allocate(full) {
        Ok(()) => Ok((file, full)),
        Err(error) if disk::is_short(&error) => {
            file.set_len(0)?;
            file.allocate(needed)?;
            Ok((file, needed))
        }
        Err(error) => Err(error),
    }
}
