//! The netcat source, line by line and answer by answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use durable_channel::sim::SimDisk;
use durable_channel::{DurableChannel, MemoryChannel, Options};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::source::SourceKind;
use ingest_agent::source::netcat::NetcatConfig;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{
    Held, QUEUE_BYTES, Running, expect, memory_channel, read_to_end, runtime, soon, stored, write_pieces,
};

fn config() -> NetcatConfig {
    NetcatConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        max_line_bytes: 1 << 20,
        ack_every_event: true,
        emit_unterminated: false,
        max_connections: 100,
        idle_timeout: None,
        room_timeout: Duration::from_secs(5),
        max_unsynced_batches: 8,
    }
}

fn start(change: impl FnOnce(&mut NetcatConfig)) -> Running {
    Running::start(kind(change))
}

pub(super) fn kind(change: impl FnOnce(&mut NetcatConfig)) -> SourceKind {
    let mut config = config();
    change(&mut config);
    SourceKind::Netcat(config)
}

#[tokio::test]
async fn each_line_is_one_event_and_one_ok() {
    let source = start(|_| ());
    let mut stream = source.connect().await;
    stream.write_all(b"one\n").await.unwrap();
    expect(&mut stream, "OK\n").await;
    stream.write_all(b"two\nthree\r\n\n").await.unwrap();
    expect(&mut stream, "OK\nOK\nOK\n").await;
    assert_eq!(source.bodies(), ["one", "two", "three\r", ""]);
    assert_eq!(source.metrics.accepted_events.get(), 4);
    assert_eq!(source.metrics.accepted_bytes.get(), 12);
}

#[tokio::test]
async fn a_line_is_answered_ok_only_after_its_event_is_synced_i1() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let mut stream = source.connect().await;
    stream.write_all(b"one\n").await.unwrap();
    source.appended(1).await;
    // Reading goes on while the first batch waits for its sync.
    stream.write_all(b"two\n").await.unwrap();
    source.appended(2).await;
    let mut byte = [0];
    assert!(stream.try_read(&mut byte).is_err(), "nothing is answered before the sync");
    assert_eq!(source.metrics.accepted_events.get(), 0);
    channel.release();
    expect(&mut stream, "OK\nOK\n").await;
    assert_eq!(source.metrics.accepted_events.get(), 2);
}

#[tokio::test]
async fn no_more_batches_wait_for_their_sync_than_configured() {
    let channel = Held::new();
    let source = Running::start_on(kind(|config| config.max_unsynced_batches = 2), channel.clone());
    let mut stream = source.connect().await;
    for (line, appended) in [("one\n", 1), ("two\n", 2)] {
        stream.write_all(line.as_bytes()).await.unwrap();
        source.appended(appended).await;
    }
    stream.write_all(b"three\n").await.unwrap();
    // Another connection's line goes through the whole source, so the third line had its chance.
    let mut other = source.connect().await;
    other.write_all(b"other\n").await.unwrap();
    source.appended(3).await;
    assert_eq!(source.bodies(), ["one", "two", "other"]);
    channel.release();
    expect(&mut stream, "OK\nOK\nOK\n").await;
}

#[tokio::test]
async fn a_full_channel_is_answered_failed_line_by_line_and_the_connection_stays() {
    let channel = Arc::new(MemoryChannel::new(2, 2, 1 << 20).unwrap());
    let source = Running::start_on(kind(|config| config.ack_every_event = false), channel);
    let mut stream = source.connect().await;
    stream.write_all(b"one\n").await.unwrap();
    source.appended(1).await;
    let failed = "FAILED: channel full: 1 of 2 events used\n";
    // FAILED is sent even where OK is not.
    stream.write_all(b"two\nthree\n").await.unwrap();
    expect(&mut stream, &failed.repeat(2)).await;
    stream.write_all(b"four\n").await.unwrap();
    source.appended(2).await;
    assert_eq!(source.bodies(), ["one", "four"]);
    assert_eq!(source.metrics.refused_full.get(), 2);
}

#[tokio::test]
async fn more_lines_at_once_than_a_transaction_holds_are_several_batches() {
    let channel = Arc::new(MemoryChannel::new(10_000, 100, 1 << 20).unwrap());
    let source = Running::start_on(kind(|_| ()), channel);
    let lines: Vec<String> = (0..1_050).map(|number| number.to_string()).collect();
    assert_eq!(source.exchange((lines.join("\n") + "\n").as_bytes()).await, "OK\n".repeat(lines.len()));
    assert_eq!(source.bodies(), lines);
}

#[tokio::test]
async fn without_acks_nothing_is_written_for_what_is_stored() {
    let source = start(|config| config.ack_every_event = false);
    assert_eq!(source.exchange(b"one\ntwo\n").await, "");
    assert_eq!(source.bodies(), ["one", "two"]);
}

#[tokio::test]
async fn a_line_at_the_limit_passes_and_one_beyond_it_ends_the_connection_with_flumes_words() {
    let source = start(|config| config.max_line_bytes = 512);
    let fits = "x".repeat(511);
    assert_eq!(source.exchange(format!("{fits}\n").as_bytes()).await, "OK\n");
    let too_long = "FAILED: Event exceeds the maximum length (512 chars, including newline)\n";
    for beyond in [format!("{fits}x\n"), format!("{fits}x"), format!("{}\nafter\n", "y".repeat(100_000))] {
        let sent = format!("before\n{beyond}");
        assert_eq!(
            source.exchange(sent.as_bytes()).await,
            format!("OK\n{too_long}"),
            "lines before it are stored"
        );
    }
    assert_eq!(source.bodies(), [&*fits, "before", "before", "before"]);
    assert_eq!(source.metrics.refused_too_large.get(), 3);
}

#[tokio::test]
async fn the_answer_to_a_line_without_end_arrives_while_its_sender_still_sends() {
    let source = start(|config| config.max_line_bytes = 512);
    let mut stream = source.connect().await;
    stream.write_all(&vec![b'x'; 4 << 20]).await.unwrap();
    let expected = "FAILED: Event exceeds the maximum length (512 chars, including newline)\n";
    assert_eq!(read_to_end(&mut stream).await, expected);
}

#[tokio::test]
async fn bytes_that_are_not_text_are_kept_as_they_are() {
    let source = start(|_| ());
    assert_eq!(source.exchange(b"\xff\xfe\0\x80\n").await, "OK\n");
    assert_eq!(source.stored()[0].body, b"\xff\xfe\0\x80");
}

#[tokio::test]
async fn text_after_the_last_newline_is_lost_as_in_flume_unless_configured() {
    let source = start(|_| ());
    assert_eq!(source.exchange(b"one\nhalf a li").await, "OK\n");
    assert_eq!(source.bodies(), ["one"]);
    let source = start(|config| config.emit_unterminated = true);
    assert_eq!(source.exchange(b"one\nthe last").await, "OK\nOK\n");
    assert_eq!(source.exchange(b"one\n").await, "OK\n");
    assert_eq!(source.bodies(), ["one", "the last", "one"]);
}

#[tokio::test]
async fn a_sender_that_closed_its_side_still_gets_its_answers() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let mut stream = source.connect().await;
    stream.write_all(b"one\ntwo\n").await.unwrap();
    stream.shutdown().await.unwrap();
    source.appended(2).await;
    channel.release();
    assert_eq!(read_to_end(&mut stream).await, "OK\nOK\n");
}

#[tokio::test]
async fn a_sender_may_pour_in_everything_before_it_reads_an_answer() {
    let source = start(|_| ());
    let mut stream = source.connect().await;
    let lines = 2_000_000;
    soon(stream.write_all(&b"x\n".repeat(lines))).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "OK\n".repeat(lines));
    assert_eq!(source.channel.stats().next, lines as u64);
}

#[tokio::test]
async fn a_source_listens_on_ipv6_too() {
    let source = start(|config| config.listen = "[::1]:0".parse().unwrap());
    assert_eq!(source.exchange(b"one\n").await, "OK\n");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let source = start(|_| ());
    let error = ingest_agent::source::bind(kind(|config| config.listen = source.address)).unwrap_err();
    assert_eq!(error.to_string(), format!("listening on {}", source.address));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let source = start(|config| config.max_connections = 1);
    let mut first = source.connect().await;
    first.write_all(b"one\n").await.unwrap();
    expect(&mut first, "OK\n").await;
    let mut second = source.connect().await;
    second.write_all(b"two\n").await.unwrap();
    first.write_all(b"three\n").await.unwrap();
    expect(&mut first, "OK\n").await;
    assert_eq!(source.bodies(), ["one", "three"]);
    assert_eq!(source.metrics.connections.get(), 1);
    drop(first);
    expect(&mut second, "OK\n").await;
    assert_eq!(source.metrics.connections_opened.get(), 2);
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_its_time_but_not_while_answers_are_owed() {
    let channel = Held::new();
    let idle = Duration::from_millis(50);
    let source = Running::start_on(kind(|config| config.idle_timeout = Some(idle)), channel.clone());
    let mut owed = source.connect().await;
    owed.write_all(b"one\n").await.unwrap();
    source.appended(1).await;
    // This one is owed nothing: its end shows that the time has passed for both.
    assert_eq!(read_to_end(&mut source.connect().await).await, "");
    channel.release();
    assert_eq!(read_to_end(&mut owed).await, "OK\n");
}

#[tokio::test]
async fn at_shutdown_lines_that_were_taken_are_answered_and_the_source_returns() {
    let channel = Held::new();
    let source = Running::start_on(kind(|_| ()), channel.clone());
    let (mut stream, mut idle) = (source.connect().await, source.connect().await);
    stream.write_all(b"one\nhalf").await.unwrap();
    source.appended(1).await;
    source.shutdown.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert!(!source.task.is_finished(), "an answer is owed");
    channel.release();
    assert_eq!(read_to_end(&mut stream).await, "OK\n");
    drop((stream, idle));
    source.stop().await;
    assert_eq!(stored(&*channel).len(), 1);
}

#[tokio::test]
async fn with_several_channels_a_line_is_ok_only_when_all_have_synced_it_i1() {
    let (slow, fast) = (Held::new(), Arc::new(memory_channel()));
    let handles = vec![
        ChannelHandle::new("slow", slow.clone(), QUEUE_BYTES),
        ChannelHandle::new("fast", fast.clone(), QUEUE_BYTES),
    ];
    let source = Running::start_with(kind(|_| ()), slow.clone(), handles);
    let mut stream = source.connect().await;
    stream.write_all(b"one\n\ntwo\n").await.unwrap();
    source.appended(3).await;
    assert!(stream.try_read(&mut [0]).is_err());
    slow.release();
    expect(&mut stream, "OK\nOK\nOK\n").await;
    assert_eq!(source.stored(), stored(&*fast));
    assert_eq!(source.bodies(), ["one", "", "two"]);
}

#[tokio::test]
async fn lines_on_a_durable_channel_are_there_after_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, max_frame_bytes: 1 << 19, ..Options::default() };
    let (channel, _) = DurableChannel::open(dir.path(), &options).unwrap();
    let source = Running::start_on(kind(|_| ()), Arc::new(channel));
    let lines: Vec<String> = (0..10_000).map(|number| format!("line {number}")).collect();
    let answers = source.exchange((lines.join("\n") + "\n").as_bytes()).await;
    assert_eq!(answers, "OK\n".repeat(lines.len()));
    let channel = Arc::clone(&source.channel);
    source.stop().await;
    channel.close().unwrap();
    drop(channel);
    let (channel, _) = DurableChannel::open(dir.path(), &options).unwrap();
    let bodies: Vec<_> =
        stored(&channel).into_iter().map(|event| String::from_utf8(event.body).unwrap()).collect();
    assert_eq!(bodies, lines);
}

/// A queue that few long lines fill.
const SMALL_QUEUE_BYTES: usize = 256 << 10;

const NO_ROOM: &str = "FAILED: no memory for so long a line now, try again later\n";

/// Sends the beginning of a line and waits until it holds room.
async fn begin_long_line(source: &Running, handle: &ChannelHandle, holding_bytes: usize) -> TcpStream {
    let begun_bytes = 20 << 10;
    let mut stream = source.connect().await;
    soon(stream.write_all(&vec![b'x'; begun_bytes])).await.unwrap();
    let beyond = SMALL_QUEUE_BYTES / 2 - holding_bytes - begun_bytes + 1;
    soon(async {
        while handle.try_reserve_patient(beyond).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stream
}

#[tokio::test]
async fn lines_that_never_end_leave_room_for_other_senders_and_for_http() {
    let channel = Arc::new(memory_channel());
    let handle = ChannelHandle::new("c", channel.clone(), SMALL_QUEUE_BYTES as u32);
    let source = Running::start_with(kind(|_| ()), channel.clone(), vec![handle.clone()]);
    let http = Running::start_with(super::http::kind(|_| ()), channel, vec![handle.clone()]);
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = source.connect().await;
        soon(stream.write_all(&vec![b'x'; 20 << 10])).await.unwrap();
        streams.push(stream);
    }
    // Each that holds room holds more than 16 KiB of the 128 KiB that they may have together.
    soon(async {
        while source.metrics.refused_full.get() < 32 - 7 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(source.exchange(b"one\n").await, "OK\n");
    let posted = super::http::post("/v1/events", "text/plain", b"two\n");
    assert_eq!(super::http::ask(&http, &posted).await.status, 200);
    let mut refused = 0;
    for mut stream in streams {
        stream.shutdown().await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(["", NO_ROOM].contains(&answer.as_str()), "{answer:?}");
        refused += u64::from(answer == NO_ROOM);
    }
    assert_eq!(refused, source.metrics.refused_full.get());
    assert!(refused < 32, "some had room");
    let long = "y".repeat(100 << 10);
    assert_eq!(source.exchange(format!("{long}\n").as_bytes()).await, "OK\n");
    assert_eq!(source.bodies(), ["one", "two", &*long]);
}

#[tokio::test]
async fn whoever_has_room_for_a_long_line_never_waits_for_more_and_ends_without_any() {
    let channel = Arc::new(memory_channel());
    let handle = ChannelHandle::new("c", channel.clone(), SMALL_QUEUE_BYTES as u32);
    let source = Running::start_with(kind(|_| ()), channel, vec![handle.clone()]);
    let mut ending = begin_long_line(&source, &handle, 0).await;
    let mut growing = begin_long_line(&source, &handle, 20 << 10).await;
    let all_else: Vec<_> = std::iter::from_fn(|| handle.try_reserve(1)).collect();
    soon(growing.write_all(&vec![b'x'; 100 << 10])).await.unwrap();
    assert_eq!(read_to_end(&mut growing).await, NO_ROOM);
    let freed: Vec<_> = std::iter::from_fn(|| handle.try_reserve(1)).collect();
    assert!(freed.len() >= 20 << 10, "a refused line gives its room back");
    ending.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut ending).await, "");
    assert!(handle.try_reserve_patient(20 << 10).is_some(), "and so does one whose sender ended");
    drop((all_else, freed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wherever_segments_end_the_events_and_the_answers_are_the_same(
        lines in proptest::collection::vec("[a-z\r]{0,12}", 0..20),
        rest in "[a-z]{0,12}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let limit = 10;
        let mut sent: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        sent.push_str(&rest);
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();

        let stored = lines.iter().take_while(|line| line.len() < limit).count();
        let overflows = stored < lines.len() || rest.len() >= limit;
        let mut answers = "OK\n".repeat(stored);
        if overflows {
            answers.push_str("FAILED: Event exceeds the maximum length (10 chars, including newline)\n");
        }

        runtime().block_on(async {
            let source = start(|config| config.max_line_bytes = limit);
            let mut stream = source.connect().await;
            write_pieces(&mut stream, sent.as_bytes(), &cuts).await;
            stream.shutdown().await.unwrap();
            let mut found = String::new();
            soon(stream.read_to_string(&mut found)).await.unwrap();
            assert_eq!(found, answers);
            assert_eq!(source.bodies(), lines[..stored]);
        });
    }
}

#[tokio::test]
async fn a_line_that_waits_for_what_has_run_out_is_failed_within_room_timeout() {
    let disk = SimDisk::new();
    let options = Options {
        segment_bytes: 64 << 10,
        max_frame_bytes: 16 << 10,
        free_disk_floor_bytes: 0,
        ..Options::default()
    };
    let dir = Path::new("/state/channel");
    let (channel, _) = DurableChannel::open_on(Arc::new(disk.clone()), dir, &options).unwrap();
    let room_timeout = Duration::from_millis(50);
    let source = Running::start_on(kind(|config| config.room_timeout = room_timeout), Arc::new(channel));
    disk.set_descriptors(false);
    let mut stream = source.connect().await;
    let line = format!("{}\n", "x".repeat(8_000));
    let (ok, reason) = ("OK\n", "the file descriptors are used up");
    let failed = soon(async {
        loop {
            stream.write_all(line.as_bytes()).await.unwrap();
            let answer = read_line(&mut stream).await;
            if answer != ok {
                break answer;
            }
        }
    })
    .await;
    assert!(failed.starts_with("FAILED: ") && failed.contains(reason), "{failed}");
    assert!(failed.contains("it may still be stored"), "{failed}");
    disk.set_descriptors(true);
    soon(async {
        loop {
            stream.write_all(b"again\n").await.unwrap();
            if read_line(&mut stream).await == ok {
                break;
            }
        }
    })
    .await;
}

/// One answer, with its newline.
async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap()
}
