//! The channel against a plain list, through restarts, power cuts and full disks on a simulated disk.
//!
//! Every seed that ever failed stands in `model.seeds` beside this file and is run first, each time.

use std::collections::BTreeMap;

use durable_channel::conformance::batch;
use durable_channel::sim::SimDisk;
use durable_channel::{Channel, DurableChannel, Item, Reader, Start};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::support::{open, try_open};

#[derive(Debug, Clone)]
enum Step {
    /// A batch of so many events of so many bytes.
    Append(u8, u16),
    /// Some turns of the writer.
    Turns(u8),
    /// Reader 0 or 1 releases this share of what is synced.
    Release(u8, u8),
    /// Reader 0 or 1 reads everything from a share of what it holds.
    Read(u8, u8),
    CloseAndOpen,
    Kill,
    PowerCut(u64),
    /// The next sync fails, a turn is tried, and then the machine is killed, or its power cut.
    FailedSync(Option<u64>),
    /// The disk stops after some operations of what follows, and then the power is cut.
    StopAfter(u8, u64),
    /// The disk has this much room left for a while: puts may be refused, reads and releases never.
    DiskFull(u16),
    /// Opening is interrupted by a power cut after some operations.
    CutWhileOpening(u8, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1..6_u8, 0..400_u16).prop_map(|(events, bytes)| Step::Append(events, bytes)),
        8 => (1..5_u8).prop_map(Step::Turns),
        4 => (0..2_u8, any::<u8>()).prop_map(|(reader, share)| Step::Release(reader, share)),
        4 => (0..2_u8, any::<u8>()).prop_map(|(reader, share)| Step::Read(reader, share)),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerCut),
        1 => any::<Option<u64>>().prop_map(Step::FailedSync),
        2 => (0..20_u8, any::<u64>()).prop_map(|(after, seed)| Step::StopAfter(after, seed)),
        2 => (0..16_384_u16).prop_map(Step::DiskFull),
        2 => (0..40_u8, any::<u64>()).prop_map(|(after, seed)| Step::CutWhileOpening(after, seed)),
    ]
}

struct Model {
    disk: SimDisk,
    channel: DurableChannel,
    readers: Vec<Reader>,
    /// Every frame that may be in the channel, from position 0.
    frames: Vec<(u64, u64, Vec<u8>)>,
    /// Everything below was told to be synced.
    acknowledged: u64,
    /// What each reader has released.
    released: [u64; 2],
    /// When each frame that was ever read was appended, by first position.
    arrivals: BTreeMap<u64, u64>,
    appended: u64,
}

impl Model {
    fn new() -> Self {
        let disk = SimDisk::new();
        let (channel, _) = open(&disk);
        let mut model = Self {
            disk,
            channel,
            readers: Vec::new(),
            frames: Vec::new(),
            acknowledged: 0,
            released: [0; 2],
            arrivals: BTreeMap::new(),
            appended: 0,
        };
        model.open_readers();
        model
    }

    fn open_readers(&mut self) {
        let readers = ["a", "b"].map(|name| self.channel.reader(name, Start::Oldest).unwrap());
        for (reader, released) in readers.iter().zip(&mut self.released) {
            assert!(reader.released() <= *released, "I6: a release is never invented");
            *released = reader.released();
        }
        self.readers = readers.into();
    }

    fn next(&self) -> u64 {
        self.frames.last().map_or(0, |(first, count, _)| first + count)
    }

    fn append(&mut self, events: u8, bytes: u16) {
        let event = vec![self.appended as u8; usize::from(bytes)];
        self.appended += 1;
        let events = vec![event.as_slice(); usize::from(events)];
        let Ok(appended) = self.channel.append(batch(&self.channel, &events)) else { return };
        assert_eq!(appended.first, self.next(), "I2: dense and in order");
        self.frames.push((appended.first, u64::from(appended.count), events.concat()));
        self.look();
    }

    /// Whatever the channel calls synced may be acknowledged at any moment.
    fn look(&mut self) {
        let synced = self.channel.synced_end();
        assert!(synced >= self.acknowledged, "I1: what was synced stays synced");
        assert!(synced <= self.next().max(self.acknowledged), "I2: no position that nobody was given");
        self.acknowledged = synced;
    }

    fn release(&mut self, reader: u8, share: u8) {
        let reader = usize::from(reader);
        let below = self.acknowledged * u64::from(share) / 255;
        // Recorded or not, if the disk has stopped.
        let _ = self.readers[reader].release(below);
        self.released[reader] = self.released[reader].max(below);
        let everyone = *self.released.iter().min().unwrap();
        assert!(self.channel.stats().first <= everyone, "I6: nothing goes that is not released");
    }

    fn read(&mut self, reader: u8, share: u8) {
        let reader = usize::from(reader);
        let from = self.released[reader];
        let from = from + (self.acknowledged - from) * u64::from(share) / 255;
        let expected =
            self.frames.iter().filter(|(first, count, _)| first + count > from && *first < self.acknowledged);
        let mut position = from;
        for (first, count, payload) in expected {
            let item = self.readers[reader].read(position).unwrap();
            let Some(Item::Frame { first: found, count: events, arrival_ms, payload: bytes }) = item else {
                panic!("I1: {item:?} at {position}, where an acknowledged frame was")
            };
            assert_eq!((found, u64::from(events)), (*first, *count), "I2: dense, in order, once");
            assert_eq!(bytes, payload, "I4: events are read as they were appended, whatever happened since");
            let arrival = *self.arrivals.entry(found).or_insert(arrival_ms);
            assert_eq!(arrival_ms, arrival, "I4: the arrival is stamped once");
            position = found + u64::from(events);
        }
        assert_eq!(
            self.readers[reader].read(position.max(from)).unwrap(),
            None,
            "I1: nothing that is not synced"
        );
        let stats = self.channel.stats();
        assert_eq!(
            (stats.next, stats.damaged),
            (self.next(), 0),
            "I9: accepted is held or released, nothing else"
        );
    }

    fn turns(&mut self, turns: u8) {
        for _ in 0..turns {
            self.channel.step();
            self.look();
        }
    }

    fn stop(&mut self) {
        self.readers.clear();
    }

    /// Opens the channel on `disk`, which must hold everything that was acknowledged, and nothing invented.
    fn reopen(&mut self, disk: SimDisk) {
        self.stop();
        self.disk = disk;
        let (channel, recovery) = open(&self.disk);
        assert_eq!(recovery.damaged, [], "a crash is no damage");
        self.channel = channel;
        let next = recovery.next;
        assert!(
            next >= self.acknowledged,
            "I1: acknowledged up to {}, found up to {next}",
            self.acknowledged
        );
        self.frames.retain(|(first, _, _)| *first < next);
        // Positions of what was never acknowledged are given again, to other events.
        self.arrivals.retain(|first, _| *first < next);
        assert_eq!(self.next(), next, "I2: a batch is whole or absent");
        self.acknowledged = next;
        assert_eq!(self.channel.synced_end(), next, "I1: everything is synced once the channel is open");
        self.open_readers();
        self.read(0, 0);
        self.read(1, 0);
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Append(events, bytes) => self.append(events, bytes),
            Step::Turns(turns) => self.turns(turns),
            Step::Release(reader, share) => self.release(reader, share),
            Step::Read(reader, share) => self.read(reader, share),
            Step::CloseAndOpen => {
                self.stop();
                let closed = self.channel.close();
                if closed.is_ok() {
                    self.acknowledged = self.next();
                }
                self.reopen(self.disk.restart());
                assert!(closed.is_err() || self.acknowledged == self.next());
            }
            Step::Kill => self.reopen(self.disk.restart()),
            Step::PowerCut(seed) => self.reopen(self.disk.power_cut(seed)),
            Step::FailedSync(cut) => {
                self.append(3, 100);
                self.disk.fail_syncs(1);
                let before = self.acknowledged;
                self.turns(2);
                // With nothing queued no sync was tried.
                if self.channel.failure().is_some() {
                    assert!(self.acknowledged >= before);
                    assert!(
                        self.channel.append(batch(&self.channel, &[b"late"])).is_err(),
                        "a failed sync poisons"
                    );
                }
                // Pages that look clean and were never written: everything shown to a restarted process must
                // survive the next power cut.
                self.reopen(self.disk.restart());
                if let Some(seed) = cut {
                    self.reopen(self.disk.power_cut(seed));
                }
            }
            Step::StopAfter(after, seed) => {
                self.disk.stop_after(u64::from(after));
                for bytes in [50, 300, 150] {
                    self.append(4, bytes);
                    self.turns(2);
                }
                self.release(0, 255);
                self.release(1, 200);
                self.reopen(self.disk.power_cut(seed));
            }
            Step::DiskFull(room) => {
                self.disk.set_capacity(Some(self.disk.used_bytes() + u64::from(room)));
                for bytes in [300, 10, 390, 390] {
                    self.append(5, bytes);
                    self.turns(2);
                }
                self.read(0, 0);
                self.release(0, 128);
                self.release(1, 128);
                assert!(self.channel.failure().is_none(), "a full disk fails nothing");
                self.disk.set_capacity(None);
                while self.channel.step() {}
                self.look();
                assert_eq!(self.acknowledged, self.next(), "I1: with room again, what was taken is synced");
            }
            Step::CutWhileOpening(after, seed) => {
                self.append(2, 200);
                self.turns(1);
                self.stop();
                let disk = self.disk.power_cut(seed);
                disk.stop_after(u64::from(after));
                // It may come through, or stop anywhere.
                drop(try_open(&disk));
                self.reopen(disk.power_cut(seed.rotate_left(7)));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/model.seeds"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_channel_is_a_list_that_loses_nothing_acknowledged_i1_i2_i6(steps in prop::collection::vec(step(), 1..60)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
        }
        let seed = model.appended;
        model.reopen(model.disk.power_cut(seed));
    }
}
