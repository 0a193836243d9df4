//! The keys of one channel in memory: the newest ones, by id, in the order of their positions.
//!
//! A key costs 48 bytes in the ring and 5 to 10 in the table, which holds only where in the ring it is.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use durable_channel::Appended;
use hashbrown::HashTable;

use super::Limits;
use crate::event::KeyStamp;

/// A key and the positions of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stamp: KeyStamp,
    pub(super) first: u64,
    pub(super) count: u32,
    /// When its batch arrived, in seconds since 1970.
    pub(super) arrival_s: u32,
}

/// The keys that are known.
pub(super) struct Index {
    limits: Limits,
    /// Ascending in their positions. The number of an entry is that of the first one and its place behind it.
    entries: VecDeque<Entry>,
    first_number: u64,
    /// Numbers of entries, cut to 32 bits: there are never so many at a time.
    table: HashTable<u32>,
    /// Ids are hashes already, but of what senders choose; salted, nobody can choose them to collide here.
    hasher: RandomState,
    forgotten: u64,
}

// === impl Entry ===

impl Entry {
    pub(super) fn appended(&self) -> Appended {
        Appended { first: self.first, count: self.count }
    }

    /// One past its last position.
    pub(super) fn end(&self) -> u64 {
        self.appended().end()
    }
}

// === impl Index ===

impl Index {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            first_number: 0,
            table: HashTable::new(),
            hasher: RandomState::new(),
            forgotten: 0,
        }
    }

    /// The newest entry of `id`, unless it is too old at `now_s`.
    pub(super) fn get(&self, id: &[u8; 16], now_s: u32) -> Option<&Entry> {
        let number = *self.table.find(self.hash(id), |number| self.entry(*number).stamp.id == *id)?;
        Some(self.entry(number)).filter(|entry| !self.is_old(entry, now_s))
    }

    /// Adds an entry whose positions are behind all others, and forgets those beyond the limits.
    pub(super) fn insert(&mut self, entry: Entry, now_s: u32) {
        let hash = self.hash(&entry.stamp.id);
        let number = self.end_number() as u32;
        self.entries.push_back(entry);
        let Self { table, entries, first_number, hasher, .. } = self;
        let id_of = |number: &u32| entries[number.wrapping_sub(*first_number as u32) as usize].stamp.id;
        // An older entry of the same id stays in the ring until its turn to be forgotten.
        match table.find_mut(hash, |held| id_of(held) == entry.stamp.id) {
            Some(held) => *held = number,
            None => drop(table.insert_unique(hash, number, |held| hasher.hash_one(id_of(held)))),
        }
        self.forget(now_s);
    }

    /// Forgets what is beyond the limits at `now_s`.
    pub(super) fn forget(&mut self, now_s: u32) {
        while let Some(front) = self.entries.front()
            && (self.entries.len() > self.limits.keys as usize || self.is_old(front, now_s))
        {
            let number = self.first_number as u32;
            let hash = self.hash(&front.stamp.id);
            if let Ok(held) = self.table.find_entry(hash, |held| *held == number) {
                held.remove();
            }
            self.entries.pop_front();
            self.first_number += 1;
            self.forgotten += 1;
        }
    }

    /// The entries from number `from` on, oldest first, with the number of the first of them.
    pub(super) fn since(&self, from: u64) -> (u64, impl Iterator<Item = &Entry>) {
        let from = from.max(self.first_number);
        (from, self.entries.iter().skip((from - self.first_number) as usize))
    }

    /// The number that the next entry gets.
    pub(super) fn end_number(&self) -> u64 {
        self.first_number + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn entry(&self, number: u32) -> &Entry {
        &self.entries[number.wrapping_sub(self.first_number as u32) as usize]
    }

    fn is_old(&self, entry: &Entry, now_s: u32) -> bool {
        u64::from(now_s.saturating_sub(entry.arrival_s)) > self.limits.age.as_secs()
    }

    fn hash(&self, id: &[u8; 16]) -> u64 {
        self.hasher.hash_one(id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn entry(id: u8, first: u64, arrival_s: u32) -> Entry {
        let stamp = KeyStamp { id: [id; 16], digest: [id ^ 0x55; 16] };
        Entry { stamp, first, count: 1, arrival_s }
    }

    proptest! {
        #[test]
        fn the_index_knows_the_newest_entry_of_each_key_within_both_limits(
            keys in 1_u32..20,
            steps in proptest::collection::vec((0_u8..30, 0_u32..4), 1..200),
        ) {
            let age_s = 20;
            let mut index = Index::new(Limits { keys, age: Duration::from_secs(u64::from(age_s)) });
            let (mut now_s, mut all) = (100, Vec::new());
            for (first, (id, pause_s)) in steps.into_iter().enumerate() {
                now_s += pause_s;
                let entry = entry(id, first as u64, now_s);
                index.insert(entry, now_s);
                all.push(entry);
                let alive = all.iter().rev().take(keys as usize).filter(|entry| now_s - entry.arrival_s <= age_s);
                let mut newest = HashMap::new();
                for entry in alive {
                    newest.entry(entry.stamp.id).or_insert(*entry);
                }
                for id in 0..30 {
                    prop_assert_eq!(index.get(&[id; 16], now_s), newest.get(&[id; 16]));
                }
                prop_assert_eq!(index.len() + index.forgotten(), all.len() as u64);
            }
        }
    }

    #[test]
    fn a_key_that_is_too_old_is_unknown_before_anyone_forgets_it() {
        let mut index = Index::new(Limits { keys: 10, age: Duration::from_secs(60) });
        index.insert(entry(1, 0, 1_000), 1_000);
        assert!(index.get(&[1; 16], 1_060).is_some());
        assert!(index.get(&[1; 16], 1_061).is_none());
        // A clock that was set back makes nothing older.
        assert!(index.get(&[1; 16], 10).is_some());
    }
}
