//! Multisets of things that are told apart by their bytes, without keeping these.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How much of a thing is kept, to show it.
const SHOWN: usize = 160;

/// How often each thing is there.
#[derive(Clone, Debug, Default)]
pub struct Tally(HashMap<u128, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    count: u64,
    length: usize,
    beginning: Vec<u8>,
}

/// How often each thing may be there.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    least: Tally,
    most: Tally,
}

impl Tally {
    /// One more of these bytes.
    pub fn add(&mut self, thing: &[u8]) {
        self.add_times(thing, 1);
    }

    fn add_times(&mut self, thing: &[u8], times: u64) {
        let new = || {
            let beginning = thing[..thing.len().min(SHOWN)].to_vec();
            Entry { count: 0, length: thing.len(), beginning }
        };
        self.0.entry(digest(thing)).or_insert_with(new).count += times;
    }

    /// All things together.
    pub fn sum(&self) -> u64 {
        self.0.values().map(|entry| entry.count).sum()
    }

    fn count(&self, key: u128) -> u64 {
        self.0.get(&key).map_or(0, |entry| entry.count)
    }

    /// What is here more often than in `other`, as a line for a message; `None` if nothing is.
    fn beyond(&self, other: &Self, what: &str) -> Option<String> {
        let beyond = |(key, entry): (&u128, &Entry)| {
            let more = entry.count.saturating_sub(other.count(*key));
            (more > 0).then(|| (more, format!("{:?} of {} bytes", shown(&entry.beginning), entry.length)))
        };
        let beyond: Vec<_> = self.0.iter().filter_map(beyond).collect();
        let (_, one) = beyond.first()?;
        let times: u64 = beyond.iter().map(|(more, _)| more).sum();
        Some(format!("{times} of {} kinds {what}: {one}", beyond.len()))
    }

    /// How this differs from `stored`, from which it was made.
    pub fn unlike(&self, stored: &Self) -> Vec<String> {
        [self.beyond(stored, "are not stored as often"), stored.beyond(self, "are missing")]
            .into_iter()
            .flatten()
            .collect()
    }
}

impl Owed {
    /// Whoever sent this so often may find it there between `least` and `most` times.
    pub fn add(&mut self, thing: &[u8], least: u64, most: u64) {
        self.least.add_times(thing, least);
        self.most.add_times(thing, most);
    }

    /// Things that must be there.
    pub fn least(&self) -> u64 {
        self.least.sum()
    }

    /// How what is there differs from what is owed.
    pub fn wrong(&self, there: &Tally) -> Vec<String> {
        [
            self.least.beyond(there, "were answered and are missing"),
            there.beyond(&self.most, "were not sent, or not as often"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Two hashes of 64 bits: no two of some million things have the same.
fn digest(thing: &[u8]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, thing).hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(1)) << 64 | u128::from(half(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_beyond_or_nobodys_is_found_and_what_was_not_answered_is_forgiven() {
        let mut owed = Owed::default();
        // Answered once; sent twice of which one was answered; not answered.
        for (thing, least, most) in [(b"a", 1, 1), (b"b", 1, 2), (b"c", 0, 1)] {
            owed.add(thing, least, most);
        }
        let there = |things: &str| {
            let mut tally = Tally::default();
            things.bytes().for_each(|thing| tally.add(&[thing]));
            owed.wrong(&tally)
        };
        for fine in ["ab", "abbc", "abc"] {
            assert_eq!(there(fine), Vec::<String>::new(), "{fine}");
        }
        for wrong in ["a", "aab", "abbb", "abcc", "abx"] {
            assert_eq!(there(wrong).len(), 1, "{wrong}");
        }
        assert_eq!(there("bx").len(), 2);
    }
}
