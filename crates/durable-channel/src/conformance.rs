//! What every channel promises, as tests that an implementation is put through.
//!
//! A memory channel passes all of it but what is said about durability, which has tests of its own beside the
//! durable channel (I1, and recovery).

mod reservations;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{AppendError, Appended, Batch, Channel, Item, OpenError, Reader, Start};

/// A new channel that holds at least 64 KiB and at least 1,000 events, and refuses before 4 MiB.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Channel>;

/// A promise: its name and its test.
pub type Promise = (&'static str, fn(Make<'_>));

/// Every promise.
pub const PROMISES: &[Promise] = &[
    ("positions_are_dense_and_in_the_order_of_the_appends_i2", positions_are_dense_and_in_order),
    ("a_batch_is_read_as_it_was_appended", a_batch_is_read_as_it_was_appended),
    ("an_empty_batch_uses_no_position", an_empty_batch_uses_no_position),
    ("concurrent_appends_share_no_position_i2", concurrent_appends_share_no_position),
    ("each_reader_sees_everything_and_has_its_own_progress", each_reader_has_its_own_progress),
    ("what_one_reader_has_not_released_stays_i6", what_one_reader_has_not_released_stays),
    ("a_reader_starts_at_the_oldest_or_after_the_newest", a_reader_starts_where_it_is_told),
    ("a_reader_is_open_once_at_a_time", a_reader_is_open_once),
    ("a_retired_reader_holds_nothing_back", a_retired_reader_holds_nothing_back),
    ("a_full_channel_refuses_and_reopens_by_release", a_full_channel_refuses_and_reopens),
    ("a_release_ahead_of_the_synced_end_is_refused", a_release_ahead_is_refused),
    ("a_closed_channel_accepts_nothing", a_closed_channel_accepts_nothing),
    ("progress_is_told_after_the_synced_end_has_moved", progress_is_told),
    ("a_reader_may_go_back_to_what_it_has_not_released", a_reader_may_go_back),
    ("a_cursor_reads_at_a_place_of_its_own", a_cursor_reads_at_a_place_of_its_own),
    ("positions_are_given_at_the_commit_i2", reservations::positions_are_given_at_the_commit),
    ("what_is_reserved_is_never_refused_and_nobody_elses", reservations::what_is_reserved_is_kept),
    ("a_dropped_reservation_gives_its_room_back", reservations::a_dropped_reservation_gives_its_room_back),
    (
        "concurrent_reservations_never_pass_the_capacity",
        reservations::concurrent_reservations_keep_the_capacity,
    ),
    ("an_empty_reservation_uses_nothing", reservations::an_empty_reservation_uses_nothing),
    ("a_closed_channel_takes_no_commit", reservations::a_closed_channel_takes_no_commit),
];

/// Puts one implementation through every promise, naming each on stderr before its test.
pub fn run(make: Make<'_>) {
    for (name, test) in PROMISES {
        eprintln!("promise: {name}");
        test(make);
    }
}

/// A batch of `events`.
pub fn batch(channel: &dyn Channel, events: &[&[u8]]) -> Batch {
    let mut batch = channel.batch();
    for event in events {
        batch.push(|buf| buf.extend_from_slice(event));
    }
    batch
}

/// Appends `events` as one batch.
///
/// # Panics
///
/// If the channel refuses it.
pub fn append(channel: &dyn Channel, events: &[&[u8]]) -> Appended {
    channel.append(batch(channel, events)).expect("the channel accepts")
}

/// Waits until every position below `end` is synced.
///
/// # Panics
///
/// If that takes half a minute, or the channel fails.
pub fn wait_synced(channel: &dyn Channel, end: u64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while channel.synced_end() < end {
        assert!(channel.failure().is_none(), "the channel failed: {:?}", channel.failure());
        assert!(Instant::now() < deadline, "synced {} of {end}", channel.synced_end());
        thread::yield_now();
    }
}

/// Everything that `reader` sees from `from` on: first position, count and payload.
///
/// # Panics
///
/// If it sees damage.
pub fn read_all(reader: &mut Reader, mut from: u64) -> Vec<(u64, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(item) = reader.read(from).expect("the channel can be read") {
        from = item.end();
        match item {
            Item::Frame { first, count, payload, .. } => frames.push((first, count, payload.to_vec())),
            Item::Damaged { first, count } => panic!("damage of {count} at {first}"),
        }
    }
    frames
}

fn open(channel: &dyn Channel, name: &str) -> Reader {
    channel.reader(name, Start::Oldest).expect("a reader opens")
}

fn positions_are_dense_and_in_order(make: Make<'_>) {
    let channel = make();
    let mut next = 0;
    for count in [1_usize, 3, 1, 7, 2] {
        let appended = append(&*channel, &vec![&b"event"[..]; count]);
        assert_eq!(appended, Appended { first: next, count: count as u32 });
        next = appended.end();
    }
    wait_synced(&*channel, next);
    let seen: Vec<_> =
        read_all(&mut open(&*channel, "r"), 0).iter().map(|frame| (frame.0, frame.1)).collect();
    assert_eq!(seen, [(0, 1), (1, 3), (4, 1), (5, 7), (12, 2)]);
}

fn a_batch_is_read_as_it_was_appended(make: Make<'_>) {
    let channel = make();
    let long = vec![0xa5; 9_000];
    let batches: [&[&[u8]]; 4] = [&[b"a", b"", b"ccc"], &[b""], &[&long, b"after"], &[b"\0\0\0\0\0\0\0\0"]];
    let mut end = 0;
    for batch in batches {
        end = append(&*channel, batch).end();
    }
    wait_synced(&*channel, end);
    let seen = read_all(&mut open(&*channel, "r"), 0);
    let payloads: Vec<_> = seen.into_iter().map(|frame| frame.2).collect();
    assert_eq!(payloads, batches.map(<[&[u8]]>::concat));
}

fn an_empty_batch_uses_no_position(make: Make<'_>) {
    let channel = make();
    let appended = append(&*channel, &[]);
    assert_eq!((appended.count, channel.stats().next), (0, 0));
    assert!(channel.synced_end() >= appended.end(), "nothing is to be waited for");
    assert_eq!(append(&*channel, &[b"one"]).first, 0);
}

fn concurrent_appends_share_no_position(make: Make<'_>) {
    let channel: Arc<dyn Channel> = Arc::from(make());
    let threads: Vec<_> = (0..4_u8)
        .map(|thread| {
            let channel = Arc::clone(&channel);
            thread::spawn(move || {
                (0..50_u8)
                    .map(|n| (append(&*channel, &[&[thread, n], &[thread, n]]), thread, n))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut told: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().expect("it appends")).collect();
    told.sort_by_key(|(appended, ..)| appended.first);
    wait_synced(&*channel, 400);
    let seen = read_all(&mut open(&*channel, "r"), 0);
    let told: Vec<_> =
        told.into_iter().map(|(appended, t, n)| (appended.first, appended.count, vec![t, n, t, n])).collect();
    assert_eq!(seen, told);
}

fn each_reader_has_its_own_progress(make: Make<'_>) {
    let channel = make();
    let (mut a, mut b) = (open(&*channel, "a"), open(&*channel, "b"));
    let end = (0..10).map(|n| append(&*channel, &[&[n]]).end()).last().expect("ten were appended");
    wait_synced(&*channel, end);
    assert_eq!(read_all(&mut a, 0).len(), 10);
    a.release(7).expect("releasing works");
    assert_eq!((a.released(), b.released()), (7, 0));
    assert_eq!(read_all(&mut b, 0).len(), 10, "b sees what a has released");
    let status: Vec<_> =
        channel.readers().into_iter().map(|r| (r.name, r.start, r.released, r.open)).collect();
    assert_eq!(status, [("a".to_owned(), 0, 7, true), ("b".to_owned(), 0, 0, true)]);
}

fn what_one_reader_has_not_released_stays(make: Make<'_>) {
    let channel = make();
    let (fast, mut slow) = (open(&*channel, "fast"), open(&*channel, "slow"));
    let body = [7; 1_000];
    for _ in 0..50 {
        let end = append(&*channel, &[&body]).end();
        wait_synced(&*channel, end);
        fast.release(end).expect("releasing works");
    }
    assert_eq!(channel.stats().first, 0, "I6: slow has released nothing");
    assert_eq!(read_all(&mut slow, 0).len(), 50);
    slow.release(50).expect("releasing works");
    assert!(channel.stats().first > 0, "both have released everything");
}

fn a_reader_starts_where_it_is_told(make: Make<'_>) {
    let channel = make();
    let end = append(&*channel, &[b"a", b"b"]).end();
    wait_synced(&*channel, end);
    let newest = channel.reader("newest", Start::Newest).expect("a reader opens");
    assert_eq!((newest.released(), open(&*channel, "oldest").released()), (2, 0));
    drop(newest);
    let again = channel.reader("newest", Start::Oldest).expect("a reader opens");
    assert_eq!(again.released(), 2, "where to start counts only once");
}

fn a_reader_is_open_once(make: Make<'_>) {
    let channel = make();
    let reader = open(&*channel, "r");
    assert!(channel.reader("r", Start::Oldest).is_err());
    drop(reader);
    assert_eq!(open(&*channel, "r").name(), "r");
    for name in ["", "Upper", "a/b", "..", "ein-bindestrich", &"x".repeat(33)] {
        assert!(channel.reader(name, Start::Oldest).is_err(), "{name:?} is no reader's name");
    }
}

fn a_retired_reader_holds_nothing_back(make: Make<'_>) {
    let channel = make();
    let (idle, busy) = (open(&*channel, "idle"), open(&*channel, "busy"));
    assert!(channel.retire("idle").is_err(), "it is open");
    assert!(channel.retire("nobody").is_err());
    let body = [7; 1_000];
    let end = (0..50).map(|_| append(&*channel, &[&body]).end()).last().expect("fifty were appended");
    wait_synced(&*channel, end);
    busy.release(end).expect("releasing works");
    assert_eq!(channel.stats().first, 0);
    drop(idle);
    channel.retire("idle").expect("it can be retired");
    assert!(channel.stats().first > 0);
    assert_eq!(channel.readers().len(), 1);
    let again = channel.reader("idle", Start::Oldest);
    assert!(matches!(again, Err(OpenError::Retired(name)) if name == "idle"), "its name is used up");
}

fn a_full_channel_refuses_and_reopens(make: Make<'_>) {
    let channel = make();
    let reader = open(&*channel, "r");
    let body = [1; 1_000];
    let refused = loop {
        match channel.append(batch(&*channel, &[&body])) {
            Ok(appended) => assert!(appended.end() < 4_200, "it refuses before 4 MiB"),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, AppendError::Full { .. }) && refused.retry_can_help(), "{refused}");
    let next = channel.stats().next;
    wait_synced(&*channel, next);
    let stats = channel.stats();
    assert!(stats.used_bytes <= stats.capacity_bytes && stats.refused_full == 1, "{stats:?}");
    let told = Arc::new(AtomicU64::new(0));
    let hook = Arc::clone(&told);
    channel.on_progress(Box::new(move || {
        hook.fetch_add(1, Ordering::SeqCst);
    }));
    reader.release(next).expect("releasing works");
    assert!(told.load(Ordering::SeqCst) > 0, "whoever waits for room is told");
    assert_eq!(append(&*channel, &[&body]).first, next, "I2: the refused batch used no position");
}

fn a_release_ahead_is_refused(make: Make<'_>) {
    let channel = make();
    let reader = open(&*channel, "r");
    let end = append(&*channel, &[b"one"]).end();
    wait_synced(&*channel, end);
    assert!(reader.release(end + 1).is_err());
    assert_eq!(reader.released(), 0);
    reader.release(end).expect("releasing works");
    reader.release(0).expect("going back changes nothing");
    assert_eq!(reader.released(), end);
}

fn a_closed_channel_accepts_nothing(make: Make<'_>) {
    let channel = make();
    let end = append(&*channel, &[b"one"]).end();
    channel.close().expect("it closes");
    assert!(channel.synced_end() >= end, "closing syncs what was queued");
    let refused = channel.append(batch(&*channel, &[b"two"])).expect_err("it is closed");
    assert!(matches!(refused, AppendError::Closed) && !refused.retry_can_help());
    channel.close().expect("a second time does nothing");
}

fn progress_is_told(make: Make<'_>) {
    let channel: Arc<dyn Channel> = Arc::from(make());
    let (told, hears) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    channel.on_progress(Box::new(move || {
        // The test may be over.
        let _ = told.lock().map(|told| told.send(()));
    }));
    for n in 0..20 {
        let end = append(&*channel, &[&[n]]).end();
        while channel.synced_end() < end {
            hears.recv_timeout(Duration::from_secs(30)).expect("each group is told");
        }
    }
}

fn a_reader_may_go_back(make: Make<'_>) {
    let channel = make();
    let mut reader = open(&*channel, "r");
    let body = [9; 700];
    let end = (0..60).map(|_| append(&*channel, &[&body, &body]).end()).last().expect("sixty were appended");
    wait_synced(&*channel, end);
    for from in [119, 0, 61, 60, 2, 118, 33] {
        let item = reader.read(from).expect("it can be read").expect("it is there");
        assert!(
            matches!(item, Item::Frame { first, count: 2, .. } if first == from / 2 * 2),
            "{from}: {item:?}"
        );
    }
    assert!(reader.read(end).expect("it can be read").is_none());
}

fn a_cursor_reads_at_a_place_of_its_own(make: Make<'_>) {
    let channel = make();
    let mut reader = open(&*channel, "r");
    let end = (0..40).map(|n| append(&*channel, &[&[n; 900]]).end()).last().expect("forty were appended");
    wait_synced(&*channel, end);
    let mut cursor = reader.cursor();
    for ahead in 20..end {
        let seen = [reader.read(ahead), cursor.read(ahead - 20)].map(|item| match item {
            Ok(Some(Item::Frame { first, payload, .. })) => (first, payload[0]),
            other => panic!("no frame: {other:?}"),
        });
        assert_eq!(seen, [(ahead, ahead as u8), (ahead - 20, ahead as u8 - 20)]);
    }
}
