//! The promises of reservations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Make, append, batch, open, read_all, wait_synced};
use crate::{AppendError, Appended, Channel, Reservation};

const BODY: [u8; 1_000] = [3; 1_000];

fn reserve(channel: &dyn Channel, events: &[&[u8]]) -> Result<Reservation, AppendError> {
    channel.reserve(batch(channel, events))
}

/// Reserves until the channel refuses.
fn reserve_all(channel: &dyn Channel) -> Vec<Reservation> {
    let mut held = Vec::new();
    loop {
        match reserve(channel, &[&BODY]) {
            Ok(reservation) => held.push(reservation),
            Err(error) => {
                assert!(matches!(error, AppendError::Full { .. }) && error.retry_can_help(), "{error}");
                return held;
            }
        }
        assert!(held.len() < 4_200, "it refuses before 4 MiB");
    }
}

pub(super) fn positions_are_given_at_the_commit(make: Make<'_>) {
    let channel = make();
    let early = reserve(&*channel, &[b"early", b"bird"]).expect("there is room");
    assert_eq!(channel.stats().next, 0, "no position is used yet");
    assert_eq!(append(&*channel, &[b"first"]).first, 0);
    assert_eq!(early.commit().expect("it has room"), Appended { first: 1, count: 2 });
    assert_eq!(append(&*channel, &[b"last"]).first, 3);
    wait_synced(&*channel, 4);
    let seen: Vec<_> = read_all(&mut open(&*channel, "r"), 0).into_iter().map(|frame| frame.2).collect();
    assert_eq!(seen, [&b"first"[..], b"earlybird", b"last"]);
}

pub(super) fn what_is_reserved_is_kept(make: Make<'_>) {
    let channel = make();
    let held = reserve_all(&*channel);
    let refused = channel.append(batch(&*channel, &[&BODY]));
    assert!(matches!(refused, Err(AppendError::Full { .. })), "all room is set aside: {refused:?}");
    assert_eq!((channel.stats().next, channel.stats().used_bytes), (0, 0), "nothing is held");
    let events = held.len() as u64;
    for (position, reservation) in held.into_iter().enumerate() {
        assert_eq!(reservation.commit().expect("it has room").first, position as u64);
    }
    wait_synced(&*channel, events);
    let stats = channel.stats();
    assert!(stats.used_bytes <= stats.capacity_bytes, "{stats:?}");
    assert_eq!(read_all(&mut open(&*channel, "r"), 0).len() as u64, events);
}

pub(super) fn a_dropped_reservation_gives_its_room_back(make: Make<'_>) {
    let channel = make();
    let told = Arc::new(AtomicU64::new(0));
    let hook = Arc::clone(&told);
    channel.on_progress(Box::new(move || {
        hook.fetch_add(1, Ordering::SeqCst);
    }));
    let held = reserve_all(&*channel);
    let many = held.len();
    drop(held);
    assert!(told.load(Ordering::SeqCst) >= many as u64, "whoever waits for room is told");
    assert_eq!((channel.stats().next, channel.stats().used_bytes), (0, 0));
    let again = reserve_all(&*channel);
    assert_eq!(again.len(), many, "all of the room is back");
    drop(again);
    assert_eq!(append(&*channel, &[b"one"]).first, 0, "I2: what was given up used no position");
}

pub(super) fn concurrent_reservations_keep_the_capacity(make: Make<'_>) {
    let channel: Arc<dyn Channel> = Arc::from(make());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                let mut committed = 0;
                for n in 0..2_000 {
                    let Ok(reservation) = reserve(&*channel, &[&BODY]) else { continue };
                    if (n + thread) % 3 == 0 {
                        drop(reservation);
                    } else {
                        reservation.commit().expect("it has room");
                        committed += 1;
                    }
                }
                committed
            })
        })
        .collect();
    let committed: u64 = threads.into_iter().map(|thread| thread.join().expect("it reserves")).sum();
    wait_synced(&*channel, committed);
    let stats = channel.stats();
    assert!(stats.used_bytes <= stats.capacity_bytes && stats.refused_full > 0, "{stats:?}");
    assert_eq!(stats.next, committed);
    let reader = open(&*channel, "r");
    reader.release(committed).expect("releasing works");
    assert!(!reserve_all(&*channel).is_empty(), "nothing of what was set aside stays so");
}

pub(super) fn an_empty_reservation_uses_nothing(make: Make<'_>) {
    let channel = make();
    let held = reserve_all(&*channel);
    let empty = reserve(&*channel, &[]).expect("it needs no room");
    let appended = empty.commit().expect("it needs no room");
    assert_eq!((appended.count, channel.stats().next), (0, 0));
    drop(reserve(&*channel, &[]));
    drop(held);
    assert!(!reserve_all(&*channel).is_empty());
}

pub(super) fn a_closed_channel_takes_no_commit(make: Make<'_>) {
    let channel = make();
    let held = reserve(&*channel, &[b"one"]).expect("there is room");
    let given_up = reserve(&*channel, &[b"two"]).expect("there is room");
    channel.close().expect("it closes");
    assert!(matches!(held.commit(), Err(AppendError::Closed)));
    drop(given_up);
    assert!(matches!(reserve(&*channel, &[b"three"]), Err(AppendError::Closed)));
    assert_eq!(channel.stats().next, 0, "nothing was appended");
}
