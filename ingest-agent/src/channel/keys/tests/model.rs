//! Random requests, restarts and power cuts against a plain list: with a key, exactly once, always.

use std::collections::BTreeMap;

use durable_channel::sim::Choices;
use durable_channel::{Item, Reader, Start};

use super::*;

/// What senders and the sink remember.
#[derive(Default)]
struct World {
    /// Key to the positions that its sender was told of.
    answered: BTreeMap<u32, u64>,
    /// Position to the key that the sink has read there.
    shipped: BTreeMap<u64, u32>,
    /// Appended and not answered yet: key to position.
    in_flight: BTreeMap<u32, Appended>,
}

impl World {
    /// The sink reads and releases what is there.
    fn ship(&mut self, reader: &mut Reader, synced_end: u64) {
        let mut from = reader.released();
        while from < synced_end {
            let item = reader.read(from).unwrap().unwrap();
            let Item::Frame { first, count: 1, payload, .. } = item else { panic!("damage: {item:?}") };
            let stamp = KeyStamp::of(payload, 1).unwrap().unwrap();
            let key = u32::from_le_bytes(*stamp.id.first_chunk().unwrap());
            let before = self.shipped.insert(first, key);
            assert!(before.is_none_or(|before| before == key), "I2: position {first} was given twice");
            from = first + 1;
        }
        reader.release(from).unwrap();
    }

    /// Every sender whose frame is synced is answered.
    fn answer(&mut self, synced_end: u64) {
        self.in_flight.retain(|key, appended| {
            let synced = appended.end() <= synced_end;
            if synced {
                self.answered.insert(*key, appended.first);
            }
            !synced
        });
    }
}

fn run(seed: u64, steps: u32) {
    let choices = &mut Choices::new(seed);
    let mut disk = SimDisk::new();
    let mut world = World::default();
    let mut opened = Opened::new(&disk, 1000).unwrap();
    let mut sink = opened.channel.reader("sink", Start::Oldest).unwrap();
    let (mut next_key, mut repeats, mut restarts) = (0, 0, 0);
    for _ in 0..steps {
        match choices.below(100) {
            0..45 => {
                // A new key or one of the last, which was answered, is in flight, or was lost.
                let back = if choices.below(2) == 0 { 0 } else { choices.below(40) as u32 };
                let key = next_key - back.min(next_key);
                next_key = next_key.max(key + 1);
                if let Ok((appended, repeat)) = opened.send(key, &vec![3; choices.below(600) as usize]) {
                    let told = world.answered.get(&key).copied();
                    assert!(
                        told.is_none_or(|told| repeat && told == appended.first),
                        "{key} was stored twice"
                    );
                    repeats += u32::from(repeat);
                    world.in_flight.insert(key, appended);
                }
            }
            45..75 => {
                opened.channel.step();
                world.answer(opened.channel.synced_end());
            }
            75..84 => assert!(opened.keeper.turn().unwrap()),
            84..96 => world.ship(&mut sink, opened.channel.synced_end()),
            _ => {
                restarts += 1;
                disk = if choices.below(3) == 0 {
                    disk.restart()
                } else {
                    disk.power_cut(choices.below(u64::MAX))
                };
                // Only now, and on a disk that is gone: closing would sync what is queued.
                drop((opened, sink));
                opened = Opened::new(&disk, 1000).unwrap();
                sink = opened.channel.reader("sink", Start::Oldest).unwrap();
                // Nobody was told of what was in flight. Its frame is there with its key, or neither is.
                world.in_flight.clear();
                let synced_end = opened.channel.synced_end();
                for (key, first) in &world.answered {
                    let known = opened.known(*key).map(|appended| appended.first);
                    assert_eq!(known, Some(*first), "the answered key {key} is not known");
                    assert!(*first < synced_end, "I1: an answered event is gone");
                }
                for key in 0..next_key {
                    assert!(
                        opened.known(key).is_none_or(|known| known.end() <= synced_end),
                        "{key} has no events"
                    );
                }
                assert_eq!(opened.shared.damaged.load(Ordering::Relaxed), 0);
            }
        }
    }
    while opened.channel.step() {}
    world.answer(opened.channel.synced_end());
    world.ship(&mut sink, opened.channel.synced_end());
    let mut stored: Vec<_> = world.shipped.values().collect();
    let total = stored.len();
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(stored.len(), total, "a key was stored twice");
    for (key, first) in &world.answered {
        assert_eq!(world.shipped.get(first), Some(key), "an answered request was not stored");
    }
    let oldest = opened.channel.stats().first;
    let log_only = world.answered.values().filter(|first| **first < oldest).count();
    assert!(
        repeats > 0 && restarts > 0 && total > 50 && log_only > 0,
        "{repeats} repeats, {restarts} restarts, {total} stored, {log_only} of them known by the log alone"
    );
}

#[test]
fn with_a_key_a_request_is_stored_exactly_once_over_any_restarts_and_power_cuts_i1_i2_i6() {
    for seed in 0..60 {
        eprintln!("seed {seed}");
        run(seed, 600);
    }
}
