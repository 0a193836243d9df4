//! Sources, the writer and readers at the same time, on a real disk.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use durable_channel::conformance::batch;
use durable_channel::{AppendError, Channel, DurableChannel, Item, Options, Reader, Start};

use crate::support::tiny;

const THREADS: u8 = 4;
const BATCHES: u32 = 400;

/// Two readers follow four sources through hundreds of segments, in a channel that holds eight of them.
#[test]
fn readers_that_follow_live_see_every_event_once_and_in_order_i2_i6() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_group_bytes: 4 << 10, ..tiny() };
    let channel = Arc::new(DurableChannel::open(dir.path(), &options).unwrap().0);
    let deadline = Instant::now() + Duration::from_secs(60);
    let total = u64::from(THREADS) * u64::from(BATCHES) * 2;
    let readers = ["a", "b"].map(|name| {
        let mut reader = channel.reader(name, Start::Oldest).unwrap();
        thread::spawn(move || follow(&mut reader, total, deadline))
    });
    let sources: Vec<_> = (0..THREADS)
        .map(|thread| {
            let channel = Arc::clone(&channel);
            thread::spawn(move || (0..BATCHES).for_each(|n| append(&*channel, thread, n, deadline)))
        })
        .collect();
    for source in sources {
        source.join().unwrap();
    }
    let [a, b] = readers.map(|reader| reader.join().unwrap());
    assert_eq!(a, b);
    for thread in 0..THREADS {
        let of_thread: Vec<_> = a.iter().filter(|(t, _)| *t == thread).map(|(_, n)| *n).collect();
        assert_eq!(of_thread, (0..BATCHES).collect::<Vec<_>>(), "whole, once, and in order");
    }
    let stats = channel.stats();
    assert_eq!((stats.next, stats.damaged), (total, 0));
    assert!(stats.segments <= 2, "{stats:?}");
    channel.close().unwrap();
}

fn append(channel: &dyn Channel, thread: u8, n: u32, deadline: Instant) {
    let event = [&[thread][..], &n.to_le_bytes(), &[0x5a; 300]].concat();
    loop {
        match channel.append(batch(channel, &[&event, &event])) {
            Ok(_) => return,
            Err(AppendError::Full { .. }) if Instant::now() < deadline => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

fn follow(reader: &mut Reader, total: u64, deadline: Instant) -> Vec<(u8, u32)> {
    let (mut position, mut seen) = (0, Vec::new());
    while position < total {
        assert!(Instant::now() < deadline, "at {position} of {total}");
        let Some(item) = reader.read(position).unwrap() else {
            thread::yield_now();
            continue;
        };
        let end = item.end();
        let Item::Frame { first, count: 2, payload, .. } = item else { panic!("{item:?}") };
        assert_eq!(first, position, "dense");
        assert_eq!(payload[..payload.len() / 2], payload[payload.len() / 2..]);
        seen.push((payload[0], u32::from_le_bytes(payload[1..5].try_into().unwrap())));
        position = end;
        reader.release(position).unwrap();
    }
    seen
}
