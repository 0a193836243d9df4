//! What was found in a channel's folder, for people and for programs.

use std::fmt::Write as _;

use contract::ChannelId;
use durable_channel::{FORMAT_VERSION, Inspection, Problem, SegmentStatus, Severity};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sink::s3::Known;

/// Everything, as a table.
pub(super) fn table(found: &Inspection) -> String {
    let mut out = String::new();
    let _ = match found.identity {
        Some((id, incarnation)) => {
            writeln!(out, "channel {}, started {incarnation} times, format {FORMAT_VERSION}", ChannelId(id))
        }
        None => writeln!(out, "channel of unknown identity, format {FORMAT_VERSION}"),
    };
    let next = found.next.map_or_else(|| "unknown".to_owned(), |next| next.to_string());
    let _ = writeln!(out, "positions {} to {next}, reserve of {} bytes\n", found.first, found.reserve_bytes);
    let _ = writeln!(
        out,
        "{:>20} {:>20} {:>12} {:>9} {:>8}  arrival",
        "segment", "end", "bytes", "frames", "damaged"
    );
    for SegmentStatus { first, end, bytes, frames, damaged, arrival_ms } in &found.segments {
        let arrival =
            arrival_ms.map_or_else(|| "-".to_owned(), |(from, to)| format!("{} to {}", time(from), time(to)));
        let _ = writeln!(out, "{first:>20} {end:>20} {bytes:>12} {frames:>9} {damaged:>8}  {arrival}");
    }
    let _ = writeln!(out, "\n{:<32} {:>20} {:>20}  journals", "reader", "released", "backlog");
    for reader in &found.readers {
        let released = reader.progress.map(|(_, released)| released);
        let number =
            |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
        let journals = reader.journals.iter().map(|journal| {
            format!("{}: {} records, {} bytes", journal.name, journal.records, journal.used_bytes)
        });
        let journals = journals.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "{:<32} {:>20} {:>20}  {journals}",
            reader.name,
            number(released),
            number(reader.backlog)
        );
    }
    for name in &found.retired {
        let _ = writeln!(out, "{name:<32} {:>20}", "retired");
    }
    for (name, bytes) in &found.set_aside {
        let _ = writeln!(out, "set aside: damaged/{name}, {bytes} bytes");
    }
    out.push('\n');
    out.push_str(&verdict(found));
    out
}

/// What an adopted channel is called now, and what its server should be told: cuts are numbered on, so that under
/// the new id the first ones would be missing for ever.
pub(super) fn adopted(id: ChannelId, known: &Known) -> String {
    let mut out = format!("the channel's id is {id} from now on\n");
    for (sink, next) in known.next_objects.iter().filter(|(_, next)| *next > 1) {
        let last = next - 1;
        let body = json!({ "channel": id.to_string(), "sink": sink, "first": 1, "last": last });
        let _ = writeln!(
            out,
            "objects of the sink {sink} go on with number {next}; once one has arrived, tell the server that lower \
             ones do not come:\n  POST /v1/continuity/write-off {body}"
        );
    }
    out
}

/// What is wrong, or that nothing is.
pub(super) fn verdict(found: &Inspection) -> String {
    let mut out = String::new();
    if found.torn_bytes > 0 {
        let _ = writeln!(
            out,
            "torn tail: {} bytes, none of them acknowledged; a start cuts them",
            found.torn_bytes
        );
    }
    if found.unattested_frames > 0 {
        let _ = writeln!(
            out,
            "last frames: {}, good, not known to be synced; a start copies them",
            found.unattested_frames
        );
    }
    for Problem { path, severity, what, positions, bytes } in &found.problems {
        let kind = match severity {
            Severity::Lost => "lost",
            Severity::Refused => "refused",
        };
        let _ = write!(out, "{kind}: {}", path.display());
        if let Some(bytes) = bytes {
            let _ = write!(out, ", bytes {} to {}", bytes.start, bytes.end);
        }
        let _ = write!(out, ": {what}");
        if let Some(positions) = positions {
            let _ =
                write!(out, "; positions {} to {} are counted as damaged", positions.start, positions.end);
        }
        out.push('\n');
    }
    if found.is_sound() {
        out.push_str("sound\n");
    }
    out
}

/// Everything, as one JSON object.
pub(super) fn json(found: &Inspection) -> Value {
    let segments = found.segments.iter().map(|segment| {
        json!({
            "first": segment.first, "end": segment.end, "bytes": segment.bytes, "frames": segment.frames,
            "damaged": segment.damaged,
            "first_arrival": segment.arrival_ms.map(|(first, _)| time(first)),
            "last_arrival": segment.arrival_ms.map(|(_, last)| time(last)),
        })
    });
    let readers = found.readers.iter().map(|reader| {
        let journals = reader.journals.iter().map(|journal| {
            json!({
                "name": journal.name, "generation": journal.generation, "records": journal.records,
                "used_bytes": journal.used_bytes, "torn_bytes": journal.torn_bytes,
            })
        });
        json!({
            "name": reader.name,
            "start": reader.progress.map(|(start, _)| start),
            "released": reader.progress.map(|(_, released)| released),
            "backlog": reader.backlog,
            "journals": journals.collect::<Vec<_>>(),
        })
    });
    let problems = found.problems.iter().map(|problem| {
        json!({
            "path": problem.path.display().to_string(),
            "severity": match problem.severity { Severity::Lost => "lost", Severity::Refused => "refused" },
            "what": problem.what,
            "positions": problem.positions.as_ref().map(|range| [range.start, range.end]),
            "bytes": problem.bytes.as_ref().map(|range| [range.start, range.end]),
        })
    });
    json!({
        "id": found.identity.map(|(id, _)| ChannelId(id).to_string()),
        "incarnation": found.identity.map(|(_, incarnation)| incarnation),
        "format_version": FORMAT_VERSION,
        "first": found.first,
        "next": found.next,
        "reserve_bytes": found.reserve_bytes,
        "segments": segments.collect::<Vec<_>>(),
        "readers": readers.collect::<Vec<_>>(),
        "retired": found.retired,
        "torn_bytes": found.torn_bytes,
        "unattested_frames": found.unattested_frames,
        "set_aside": found.set_aside.iter().map(|(name, bytes)| json!({"file": name, "bytes": bytes})).collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
        "damaged": found.damaged(),
        "sound": found.is_sound(),
    })
}

fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adopt_says_which_cuts_the_server_must_not_wait_for_under_the_new_id() {
        let next_objects = vec![("archive".to_owned(), 1), ("s3".to_owned(), 8)];
        let told = adopted(ChannelId([7; 16]), &Known { used_below: 90, next_objects });
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 3, "nothing is said of a sink whose objects begin with 1: {told}");
        let body = lines[2].strip_prefix("  POST /v1/continuity/write-off ").expect("it can be pasted");
        let body: Value = serde_json::from_str(body).expect("it is JSON");
        assert_eq!(body, json!({ "channel": "07".repeat(16), "sink": "s3", "first": 1, "last": 7 }));
    }
}
