//! Every event of a long run by its number, in two bytes each: how often it was sent, and what its
//! sender was told. An event's line is a function of its number, so that no line is kept.

use std::fmt::Write as _;
use std::ops::Range;

use crate::random::mix;

/// The sender was told that it is stored.
const ANSWERED: u8 = 1;
/// It was always sent under the same idempotency key.
const KEYED: u8 = 2;

/// What was sent, and what was answered.
#[derive(Debug, Default)]
pub struct Ledger {
    sends: Vec<u8>,
    told: Vec<u8>,
}

/// How often each event is somewhere.
#[derive(Debug, Default)]
pub struct Counts {
    copies: Vec<u8>,
    /// Lines in all.
    pub lines: u64,
    /// Lines that are no event's, or not that event's: one of them.
    pub foreign: Option<String>,
}

/// How what is stored differs from what is owed; each with how many, and one of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Answered and nowhere.
    pub missing: Vec<u64>,
    /// There more often than sent, or twice in spite of its key.
    pub beyond: Vec<u64>,
    /// There twice because it was sent twice without a key, which is allowed.
    pub repeated: u64,
    /// Answered.
    pub answered: u64,
    /// There at least once.
    pub stored: u64,
    /// Sent under a key, and sent more than once.
    pub keyed_again: u64,
}

impl Ledger {
    /// New events that were not sent yet.
    pub fn begin(&mut self, count: usize, keyed: bool) -> Range<u64> {
        let first = self.sends.len();
        self.sends.resize(first + count, 0);
        self.told.resize(first + count, if keyed { KEYED } else { 0 });
        first as u64..(first + count) as u64
    }

    /// One more send of each.
    pub fn sent(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            let sends = &mut self.sends[id as usize];
            *sends = sends.saturating_add(1);
        }
    }

    /// "Stored", said the answer.
    pub fn answered(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.told[id as usize] |= ANSWERED;
        }
    }

    /// Events that there are.
    pub fn len(&self) -> u64 {
        self.sends.len() as u64
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    /// Sends of all events together.
    pub fn sends(&self) -> u64 {
        self.sends.iter().map(|sends| u64::from(*sends)).sum()
    }

    /// Compares what was told with what is there.
    pub fn findings(&self, counts: &Counts) -> Findings {
        let mut findings = Findings::default();
        for (id, (&sends, &told)) in self.sends.iter().zip(&self.told).enumerate() {
            let copies = counts.copies(id as u64);
            let (answered, keyed) = (told & ANSWERED > 0, told & KEYED > 0);
            // What was sent more often than can be counted is allowed any number of copies.
            let allowed = if keyed { sends.min(1) } else { sends };
            findings.answered += u64::from(answered);
            findings.stored += u64::from(copies > 0);
            findings.keyed_again += u64::from(keyed && sends > 1);
            if answered && copies == 0 {
                findings.missing.push(id as u64);
            }
            if copies > allowed && (keyed || sends < u8::MAX) {
                findings.beyond.push(id as u64);
            } else if copies > 1 {
                findings.repeated += 1;
            }
        }
        findings
    }
}

impl Counts {
    /// Takes in one line without its newline.
    pub fn count(&mut self, line: &[u8], expected: &mut String) {
        self.lines += 1;
        let id = id_of(line).filter(|id| {
            expected.clear();
            write_line(*id, expected);
            expected.as_bytes() == line
        });
        let Some(id) = id else {
            self.foreign
                .get_or_insert_with(|| String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned());
            return;
        };
        let id = id as usize;
        if self.copies.len() <= id {
            self.copies.resize(id + 1, 0);
        }
        self.copies[id] = self.copies[id].saturating_add(1);
    }

    /// How often an event is there.
    pub fn copies(&self, id: u64) -> u8 {
        self.copies.get(id as usize).copied().unwrap_or_default()
    }

    /// Events that are not as often here as in `other`.
    pub fn unlike(&self, other: &Self) -> Vec<u64> {
        let end = self.copies.len().max(other.copies.len()) as u64;
        (0..end).filter(|id| self.copies(*id) != other.copies(*id)).collect()
    }
}

/// Appends an event's line, without a newline. One in a thousand is of the slow type; now and then
/// a thousand together are large, so that objects go in parts; the rest is of four types.
pub fn write_line(id: u64, line: &mut String) {
    let (kind, padding) = match id {
        _ if id % 1000 == 7 => ("slow", 8),
        _ if (id / 1024) % 400 == 3 => ("large", 8192),
        _ => (["a", "b", "c", "d"][(id % 4) as usize], mix(id) as usize % 64),
    };
    let _ = write!(line, r#"{{"id":{id},"type":"{kind}","pad":""#);
    let end = line.len() + padding;
    let mut word = mix(id);
    while line.len() < end {
        let _ = write!(line, "{word:016x}");
        word = mix(word.wrapping_add(id));
    }
    line.truncate(end);
    line.push_str("\"}");
}

fn id_of(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(br#"{"id":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ids: &[u64]) -> Counts {
        let (mut counts, mut scratch) = (Counts::default(), String::new());
        for id in ids {
            let mut line = String::new();
            write_line(*id, &mut line);
            counts.count(line.as_bytes(), &mut scratch);
        }
        counts
    }

    #[test]
    fn the_ledger_finds_what_is_missing_and_beyond_and_forgives_what_was_not_answered() {
        let mut ledger = Ledger::default();
        assert_eq!((ledger.begin(4, false), ledger.begin(2, true)), (0..4, 4..6));
        ledger.sent(0..6);
        ledger.sent([1, 4, 5]);
        ledger.answered([0, 1, 2, 4]);
        // 0 once, 1 twice as sent twice, 2 missing, 3 was not answered, 4 and 5 by key.
        let found = ledger.findings(&counts(&[0, 1, 1, 4, 5]));
        assert_eq!((found.missing, found.beyond, found.repeated), (vec![2], vec![], 1));
        let found = ledger.findings(&counts(&[0, 0, 1, 1, 1, 2, 3, 4, 4]));
        assert_eq!((found.missing, found.beyond), (vec![], vec![0, 1, 4]));
        assert_eq!((found.answered, found.stored, found.keyed_again), (4, 5, 2));
    }

    #[test]
    fn a_line_that_was_changed_is_nobodys() {
        let (mut counts, mut line, mut scratch) = (Counts::default(), String::new(), String::new());
        write_line(5000, &mut line);
        counts.count(line.replace("\"}", "!\"}").as_bytes(), &mut scratch);
        assert_eq!((counts.copies(5000), counts.foreign.is_some()), (0, true));
    }
}
