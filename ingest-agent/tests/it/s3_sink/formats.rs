//! One event in, one event out: what the sink makes of bodies of every kind, and what it says of its rows (I10).

use blob_store::{BlobStore as _, ErrorKind, Fault, FaultPlan, Operation};
use contract::ObjectMetadata;
use ingest_agent::event::{Draft, Known};
use ingest_agent::sink::s3::{FailPoints, RollConfig, S3SinkConfig};
use object_format::{Codec, Layout};

use super::rig::{Open, Store, config, store, until};

const NEVER: RollConfig =
    RollConfig { bytes: None, uncompressed_bytes: None, events: None, age: None, idle: None };

/// Bodies that are one line each, and what `ndjson` makes of them.
const LINES: [(&[u8], &str); 6] = [
    (b"a line", r#"{"message":"a line"}"#),
    (b"", r#"{"message":""}"#),
    (b"\xff\xfe", r#"{"message_base64":"//4="}"#),
    (br#"{"a": 1.50}"#, r#"{"a": 1.50}"#),
    (br#"{"_meta":1}"#, r#"{"message":"{\"_meta\":1}"}"#),
    (b"ends in \r", r#"{"message":"ends in \r"}"#),
];

/// Bodies with newlines.
const BROKEN: [(&[u8], &str); 2] = [
    (b"{\n  \"pretty\": [1,\r\n 2]\n}", r#"{  "pretty": [1, 2]}"#),
    (b"Error: x\n\tat y", r#"{"message":"Error: x\n\tat y"}"#),
];

fn settings(layout: Layout, codec: Codec) -> S3SinkConfig {
    let mut config = config("");
    config.layout = layout;
    config.codec = codec;
    config.roll = NEVER;
    config
}

/// Appends bodies of which `known` is known.
async fn append(open: &Open, bodies: impl IntoIterator<Item = &'static [u8]>, known: Known) {
    let mut draft = Draft::new(open.channel.batch());
    bodies.into_iter().for_each(|body| draft.push_known(body, known));
    open.channel.append(draft.into_batch()).await.unwrap();
}

/// The one object of the store: what it says of itself, and its bytes.
async fn object(store: &Store) -> (ObjectMetadata, Vec<u8>) {
    let store = store.inner();
    let contents = store.contents();
    let mut objects = contents.iter().filter(|(key, _)| key.starts_with("logs/"));
    let (key, bytes) = objects.next().unwrap();
    assert!(objects.next().is_none());
    let info = store.head(key, None).await.unwrap();
    let metadata = ObjectMetadata::from_pairs(|name| info.metadata.get(name).map(String::as_str)).unwrap();
    let bytes = match &*metadata.codec {
        "none" => bytes.to_vec(),
        _ => zstd::decode_all(&bytes[..]).unwrap(),
    };
    (metadata, bytes)
}

async fn shipped(config: S3SinkConfig, bodies: &[&'static [u8]], known: Known) -> (ObjectMetadata, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (store, open) = (store(), Open::at(dir.path()).await);
    append(&open, bodies.iter().copied(), known).await;
    let running = open.start(config, &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    object(&store).await
}

#[tokio::test]
async fn ndjson_is_one_valid_object_a_line_whatever_comes() {
    let cases: Vec<_> = LINES.into_iter().chain(BROKEN).collect();
    let bodies: Vec<_> = cases.iter().map(|(body, _)| *body).collect();
    let expected: String = cases.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
    for codec in [Codec::None, Codec::Zstd(1)] {
        let (metadata, bytes) = shipped(settings(Layout::default(), codec), &bodies, Known::NOTHING).await;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert_eq!((metadata.format.as_str(), metadata.rows.as_deref()), ("ndjson", Some("events")));
        assert_eq!((metadata.format_version, metadata.events), (1, cases.len() as u64));
    }
}

#[tokio::test]
async fn text_says_that_its_lines_are_no_events_as_soon_as_one_body_holds_a_newline() {
    let lines: Vec<_> = LINES.iter().map(|(body, _)| *body).collect();
    let broken: Vec<_> = LINES.iter().chain(&BROKEN).map(|(body, _)| *body).collect();
    for codec in [Codec::None, Codec::Zstd(1)] {
        for (bodies, known, rows) in [
            (&lines, Known::NOTHING, "events"),
            (&lines, Known::ONE_LINE, "events"),
            (&broken, Known::NOTHING, "lines"),
        ] {
            let (metadata, bytes) = shipped(settings(Layout::Text, codec), bodies, known).await;
            assert_eq!(bytes, bodies.iter().flat_map(|body| [body, &b"\n"[..]]).collect::<Vec<_>>().concat());
            assert_eq!((metadata.format.as_str(), metadata.rows.as_deref()), ("text", Some(rows)));
        }
    }
    let (metadata, bytes) = shipped(settings(Layout::Raw, Codec::None), &lines, Known::NOTHING).await;
    assert_eq!((bytes, metadata.rows.as_deref()), (lines.concat(), Some("lines")));
    let (metadata, _) = shipped(settings(Layout::JsonLines, Codec::None), &broken, Known::NOTHING).await;
    assert_eq!((metadata.format.as_str(), metadata.rows.as_deref()), ("json_lines", Some("events")));
}

#[tokio::test]
async fn what_a_cut_says_of_its_rows_outlives_a_crash_and_a_change_of_format() {
    for codec in [Codec::None, Codec::Zstd(1)] {
        let dir = tempfile::tempdir().unwrap();
        let store = store();
        let open = Open::at(dir.path()).await;
        append(&open, BROKEN.iter().map(|(body, _)| *body), Known::NOTHING).await;
        let mut before = settings(Layout::Text, codec);
        before.roll.events = Some(2);
        before.retry.base = std::time::Duration::from_secs(3600);
        before.retry.max = before.retry.base;
        let refused = [None, Some(Fault::Before(ErrorKind::Connection))];
        store.set_plan(FaultPlan::default().script(Operation::Put, refused));
        let running = open.start(before, &store, FailPoints::default());
        until(|| store.calls().iter().filter(|(operation, _)| *operation == Operation::Put).count() == 2)
            .await;
        running.crash().await;
        open.close();

        store.set_plan(FaultPlan::default());
        let open = Open::at(dir.path()).await;
        let running = open.start(settings(Layout::default(), Codec::None), &store, FailPoints::default());
        running.flush().await;
        running.stop().await.unwrap();
        open.close();
        let (metadata, bytes) = object(&store).await;
        assert_eq!((metadata.format.as_str(), metadata.rows.as_deref()), ("text", Some("lines")));
        assert_eq!(bytes, b"{\n  \"pretty\": [1,\r\n 2]\n}\nError: x\n\tat y\n");
    }
}
