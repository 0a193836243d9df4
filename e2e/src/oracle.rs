//! The delivery oracle: compares what was owed with what came out, as multisets of lines.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::producer::Record;

/// How `output` differs from what `record` owes; empty if nothing is missing, double or unknown.
///
/// Every line of the record was sent once. An answered one is owed exactly once; one that was
/// not answered may have arrived.
pub fn verdict(record: &Record, output: &[u8]) -> String {
    let mut out: HashMap<&[u8], usize> = HashMap::new();
    for line in lines(output) {
        *out.entry(line).or_default() += 1;
    }
    let mut verdict = Verdict::default();
    for (line, _) in out.iter().filter(|(_, count)| **count > 1) {
        verdict.note("there more than once", line);
    }
    for line in &record.answered {
        if out.remove(line.as_bytes()).is_none() {
            verdict.note("answered and missing", line.as_bytes());
        }
    }
    for line in &record.unanswered {
        out.remove(line.as_bytes());
    }
    for line in out.keys() {
        verdict.note("not from this producer", line);
    }
    verdict.to_string()
}

/// For each kind of fault how many lines show it, and one of them.
#[derive(Default)]
struct Verdict {
    faults: BTreeMap<&'static str, (usize, String)>,
}

impl Verdict {
    fn note(&mut self, fault: &'static str, line: &[u8]) {
        let entry = self.faults.entry(fault);
        entry.or_insert_with(|| (0, String::from_utf8_lossy(line).into_owned())).0 += 1;
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults
            .iter()
            .try_for_each(|(fault, (count, line))| writeln!(f, "{count} lines are {fault}: {line}"))
    }
}

/// The lines of a file that ends in a newline.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_sees_what_is_missing_double_and_unknown_and_forgives_what_was_not_answered() {
        let record = Record {
            answered: ["a", "b", "c"].map(str::to_owned).into(),
            unanswered: ["d", "e"].map(str::to_owned).into(),
        };
        assert_eq!(verdict(&record, b"c\nb\na\nd\n"), "");
        assert_eq!(
            verdict(&record, b"a\nb\nb\nx\n"),
            "1 lines are answered and missing: c\n1 lines are not from this producer: x\n1 lines are there more than once: b\n"
        );
    }
}
