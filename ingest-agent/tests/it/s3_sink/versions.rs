//! Cuts that an earlier version sealed: they become the objects that it would have made.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use blob_store::BlobStore as _;
use durable_channel::Journal;
use ingest_agent::sink::s3::{RollConfig, S3SinkConfig};
use object_format::{Codec, DEFAULT_MAX_ZSTD_WINDOW, Decoder, Event, Known, Layout};

use super::fixture;
use super::rig::{Open, Store, config, seams, start_as, store};

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// A copy, since opening writes.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// An object and all that was said of it.
struct Object {
    bytes: Vec<u8>,
    said: BTreeMap<String, String>,
}

/// What the program of version 1 made of the sealed cuts of `sink`, by number.
fn expected(sink: &str) -> Vec<Object> {
    let dir = tree().join("objects").join(sink);
    let object = |number: u64| {
        let said = std::fs::read_to_string(dir.join(format!("{number}.metadata"))).unwrap();
        let pairs = said.lines().map(|line| line.split_once('=').unwrap());
        Object {
            bytes: std::fs::read(dir.join(format!("{number}.object"))).unwrap(),
            said: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    };
    (1..=fixture::cuts(sink).1).map(object).collect()
}

/// The object under a key of the store.
async fn found(store: &Store, key: &str) -> Object {
    let store = store.inner();
    let info = store.head(key, None).await.unwrap();
    let mut said: BTreeMap<String, String> = info.metadata.into_iter().collect();
    said.insert("key".to_owned(), key.to_owned());
    said.insert("content-type".to_owned(), info.content_type.unwrap_or_default());
    said.insert("content-encoding".to_owned(), info.content_encoding.unwrap_or_default());
    Object { bytes: store.contents()[key].clone().into(), said }
}

fn decoded(object: &Object) -> Vec<u8> {
    let coding = object.said["sluicegate-codec"].parse().unwrap();
    let mut decoder = Decoder::new(coding, DEFAULT_MAX_ZSTD_WINDOW).unwrap();
    decoder.feed(object.bytes.clone().into());
    let mut decoded = Vec::new();
    while let Some(piece) = decoder.piece().unwrap() {
        decoded.extend_from_slice(&piece);
    }
    decoded.extend_from_slice(&decoder.finish().unwrap());
    decoded
}

/// The events of the fixture at these positions, as `layout` writes them.
fn written(layout: &Layout, positions: Range<u64>) -> Vec<u8> {
    let mut out = Vec::new();
    for position in positions {
        let (headers, timestamp_ms, body) = fixture::event(position);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (arrival_ms, known) = (0, Known::NOTHING);
        layout.write(&Event { timestamp_ms, arrival_ms, headers, body: &body, known }, &mut out);
    }
    out
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Settings that have nothing in common with those under which the cuts were sealed.
fn other_settings() -> S3SinkConfig {
    let mut config = config("elsewhere/%{p}");
    config.layout = Layout::default();
    config.codec = Codec::Zstd(7);
    "changed/".clone_into(&mut config.prefix);
    config.roll = RollConfig { bytes: None, ..config.roll };
    config.control_prefix = None;
    config
}

/// The names of all sinks, none of which may be missing.
fn sinks() -> [&'static str; fixture::SINKS.len()] {
    fixture::SINKS.map(|(sink, ..)| sink)
}

/// Ships the channel in `dir` with `settings`, and gives what the store holds then.
async fn ship(dir: &Path, sink: &str, settings: S3SinkConfig) -> Store {
    let store = store();
    let open = Open::of(dir, fixture::options(), &sinks()).await;
    let running = start_as(&open.channel, sink, settings, seams(&store));
    running.flush().await;
    running.stop().await.unwrap();
    open.close();
    store
}

#[tokio::test]
async fn cuts_that_version_1_sealed_become_the_objects_that_it_would_have_made() {
    for (sink, ..) in fixture::SINKS {
        let dir = tempfile::tempdir().unwrap();
        copy(&tree().join("channel"), dir.path());
        let store = ship(dir.path(), sink, other_settings()).await;
        for expected in expected(sink) {
            let key = &expected.said["key"];
            let mut found = found(&store, key).await;
            assert_eq!(found.bytes, expected.bytes, "{key}");
            // What is said beside it is an addition.
            found.said.retain(|name, _| expected.said.contains_key(name));
            assert_eq!(found.said, expected.said, "{key}");
        }
        // What no cut held goes by the new settings.
        let (events, cuts) = fixture::cuts(sink);
        let contents = store.inner().contents();
        let changed: Vec<_> = contents.keys().filter(|key| key.starts_with("changed/")).collect();
        assert!(changed.iter().all(|key| key.ends_with(".ndjson.zst")), "{changed:?}");
        let mut open = Vec::new();
        for key in &changed {
            let object = found(&store, key).await;
            assert_eq!(object.said["sluicegate-encoder"], "ndjson");
            assert_eq!(object.said["sluicegate-rows"], "events");
            open.extend(lines(&decoded(&object)));
        }
        open.sort_unstable();
        // Whose cuts are of one partition holds its events in order.
        let mut rest = match sink {
            "dead" => open.clone(),
            _ => lines(&written(&Layout::default(), events * cuts..fixture::EVENTS)),
        };
        rest.sort_unstable();
        assert_eq!((open.len() as u64, &open), (fixture::EVENTS - events * cuts, &rest), "{sink}");
    }
}

#[test]
fn the_objects_of_version_1_hold_the_events_of_the_fixture() {
    for (sink, format, ..) in fixture::SINKS.into_iter().filter(|(_, format, ..)| *format != "json_lines") {
        let (events, cuts) = fixture::cuts(sink);
        if sink != "dead" {
            let all: Vec<u8> = expected(sink).iter().flat_map(decoded).collect();
            assert_eq!(all, written(&fixture::layout(format), 0..events * cuts), "{sink}");
        }
    }
}

#[tokio::test]
async fn cuts_that_version_1_sealed_are_made_again_as_it_would_have_made_them() {
    for (sink, format, codec, level) in fixture::SINKS {
        let dir = tempfile::tempdir().unwrap();
        copy(&tree().join("channel"), dir.path());
        for entry in std::fs::read_dir(dir.path().join("readers").join(sink)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("staging-") {
                std::fs::remove_file(path).unwrap();
            }
        }
        let mut settings = other_settings();
        // Its level was that of the configuration, and still is where there is one.
        settings.codec = fixture::codec(codec, level);
        let store = ship(dir.path(), sink, settings).await;
        for expected in expected(sink) {
            let found = found(&store, &expected.said["key"]).await;
            assert_eq!(
                found.said["sluicegate-encoder"], expected.said["sluicegate-encoder"],
                "{sink} {format}"
            );
            assert_eq!(decoded(&found), decoded(&expected), "{sink}");
        }
    }
}

/// The program of version 1 refuses records of any other version, by their first byte: it would misread a cut of today.
#[tokio::test]
async fn a_journal_of_today_is_refused_by_version_1_and_not_misread() {
    let dir = tempfile::tempdir().unwrap();
    copy(&tree().join("channel"), dir.path());
    let journal = |dir: &Path| Journal::look(&dir.join("readers/text_none"), "cuts").unwrap().records;
    let versions = |records: &[Vec<u8>]| records.iter().map(|record| record[0]).collect::<Vec<_>>();
    assert!(versions(&journal(dir.path())).iter().all(|version| *version == 1));

    let store = store();
    let open = Open::of(dir.path(), fixture::options(), &sinks()).await;
    let running = start_as(&open.channel, "text_none", other_settings(), seams(&store));
    running.flush().await;
    running.crash().await;
    let records = journal(dir.path());
    assert!(versions(&records).contains(&2), "{:?}", versions(&records));
    let after = versions(&records).into_iter().skip_while(|version| *version == 1);
    assert!(after.into_iter().all(|version| version == 2), "all that this program wrote");
    open.close();
}
