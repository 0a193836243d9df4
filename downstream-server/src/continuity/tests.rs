use std::collections::BTreeSet;

use blob_store::{BlobStore, Body, MemoryStore, PutOptions};
use contract::{CutKind, Notice, ObjectMetadata};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::reconcile::tests::{Bench, flags};
use crate::testing::{Site, config, get as request, handled, metadata_of, post_to};

async fn shown(site: &Site) -> Value {
    let (status, body) = site.ask(request("/v1/continuity")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn ranges(missing: &Value) -> Vec<(u64, u64)> {
    let gaps = missing.as_array().unwrap().iter();
    gaps.map(|gap| (gap["first"].as_u64().unwrap(), gap["last"].as_u64().unwrap())).collect()
}

/// The cuts of a channel as its agent seals them, of whatever kinds and sizes.
fn cuts() -> impl Strategy<Value = Vec<ObjectMetadata>> {
    prop::collection::vec((any::<bool>(), 1..50_u64), 1..24).prop_map(|sizes| {
        let (mut events, mut dead) = (0, 0);
        sizes
            .into_iter()
            .zip(1..)
            .map(|((is_dead, count), number)| {
                let (kind, set_aside) = if is_dead { (CutKind::Dead, count) } else { (CutKind::Events, 0) };
                if is_dead {
                    dead += count;
                } else {
                    events += count;
                }
                ObjectMetadata {
                    kind,
                    events: count,
                    set_aside,
                    total_events: events,
                    total_dead_lettered: dead,
                    ..metadata_of(number)
                }
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn cuts_done_in_any_order_are_told_as_contiguous_missing_and_adding_up(
        (cuts, order) in cuts().prop_flat_map(|cuts| {
            let numbers: Vec<usize> = (0..cuts.len()).collect();
            (Just(cuts), Just(numbers).prop_shuffle())
        }),
        kept in 1..24_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let site = Site::new(&config(&[]));
            let mut done = BTreeSet::new();
            for at in order.into_iter().take(kept) {
                handled(&site.app.inbox, cuts[at].clone(), 1).await;
                done.insert(at as u64 + 1);
                let shown = shown(&site).await;
                let sink = &shown["sinks"][0];
                let highest = *done.last().unwrap();
                let missing: Vec<u64> = (1..highest).filter(|number| !done.contains(number)).collect();
                let told: Vec<u64> =
                    ranges(&sink["missing"]).iter().flat_map(|&(first, last)| first..=last).collect();
                assert_eq!(told, missing);
                assert_eq!(sink["missing_cuts"], missing.len());
                assert_eq!(sink["contiguous_to"], missing.first().map_or(highest, |first| first - 1));
                assert_eq!((&sink["done"], &sink["highest"]), (&done.len().into(), &highest.into()));
                assert_eq!(sink["adds_up"], true, "{sink}");
                let last = &cuts[highest as usize - 1];
                assert_eq!(sink["totals"]["events"], last.total_events);
                assert_eq!(sink["totals"]["dead_lettered"], last.total_dead_lettered);
            }
        });
    }
}

#[tokio::test]
async fn an_object_that_lacks_events_differs_from_its_totals_until_the_damage_is_told() {
    let site = Site::new(&config(&[]));
    let inbox = &site.app.inbox;
    handled(inbox, metadata_of(1), 1).await;
    handled(inbox, ObjectMetadata { events: 7, ..metadata_of(2) }, 1).await;
    let sink = shown(&site).await["sinks"][0].clone();
    assert_eq!((&sink["adds_up"], &sink["totals"]["add_up"]), (&false.into(), &false.into()));
    assert_eq!((&sink["totals"]["events"], &sink["totals"]["told_events"]), (&17.into(), &20.into()));
    assert!(site.ask(request("/metrics")).await.1.contains("sluicegate_server_totals_differing 1"));
    let told = ObjectMetadata { total_events: 27, total_damaged: 3, ..metadata_of(3) };
    handled(inbox, told, 1).await;
    let sink = shown(&site).await["sinks"][0].clone();
    assert_eq!((&sink["adds_up"], &sink["totals"]["told_damaged"]), (&true.into(), &3.into()));
}

#[tokio::test]
async fn a_cut_that_is_missing_for_too_long_is_an_alarm_until_it_comes_or_is_written_off() {
    let site = Site::new(&config(&["--continuity-missing-alarm", "15m"]));
    let inbox = &site.app.inbox;
    let minutes_ago = |minutes: i64| now_ms() - minutes * 60_000;
    handled(inbox, metadata_of(1), minutes_ago(30)).await;
    handled(inbox, metadata_of(8), minutes_ago(20)).await;
    // A gap that is partly filled is as old as it was.
    handled(inbox, metadata_of(5), minutes_ago(1)).await;
    let now = shown(&site).await;
    assert_eq!(ranges(&now["sinks"][0]["missing"]), [(2, 4), (6, 7)]);
    for gap in now["sinks"][0]["missing"].as_array().unwrap() {
        assert!(gap["since_ms"].as_i64().unwrap() <= minutes_ago(20), "{gap}");
    }
    assert_eq!((&now["alarm"], &now["missing_cuts"]), (&true.into(), &5.into()));
    let scrape = site.ask(request("/metrics")).await.1;
    assert!(scrape.contains("sluicegate_server_missing_alarm 1"), "{scrape}");
    assert!(scrape.contains("sluicegate_server_cuts_missing 5"), "{scrape}");

    for number in [2, 3, 4] {
        handled(inbox, metadata_of(number), now_ms()).await;
    }
    assert_eq!(shown(&site).await["alarm"], true);
    let write_off = |first: u64, last: u64| {
        let body =
            json!({ "channel": metadata_of(1).cut.channel, "sink": "s3", "first": first, "last": last });
        post_to("/v1/continuity/write-off", body.to_string())
    };
    assert_eq!(site.ask(write_off(6, 20)).await, (StatusCode::OK, json!({ "written_off": 2 }).to_string()));
    let now = shown(&site).await;
    assert_eq!((&now["alarm"], &now["sinks"][0]["contiguous_to"]), (&false.into(), &8.into()));
    assert_eq!(
        site.ask(write_off(6, 20)).await.0,
        StatusCode::BAD_REQUEST,
        "nothing is missing above the highest"
    );
    handled(inbox, metadata_of(9), now_ms()).await;
}

#[tokio::test]
async fn a_missing_cut_says_whether_it_is_owed_dead_or_unknown_here() {
    let site = Site::new(&config(&[]));
    handled(&site.app.inbox, metadata_of(9), 1).await;
    let key = |number: u64| format!("events/{}.txt", metadata_of(number).cut);
    for number in [2, 3] {
        site.app.inbox.put(Notice::new("logs", key(number)), "n".to_owned(), 1).await.unwrap();
    }
    let claim = site.app.inbox.claim(1, 1).await.unwrap().claims.remove(0);
    site.app.inbox.fail(&claim, "no".to_owned(), crate::inbox::Next::Dead, 1).await.unwrap();
    let gap = shown(&site).await["sinks"][0]["missing"][0].clone();
    assert_eq!((&gap["first"], &gap["last"]), (&1.into(), &8.into()));
    assert_eq!((&gap["owed"], &gap["dead"], &gap["gone"]), (&1.into(), &1.into(), &0.into()));
}

#[tokio::test]
async fn cuts_from_before_a_new_inbox_are_missing_only_if_it_was_told_to_begin_with_the_oldest() {
    for (start, contiguous_to, missing) in [("oldest", 0, 499), ("newest", 501, 0)] {
        let site = Site::new(&config(&["--reconcile-start", start, "--continuity-missing-alarm", "1m"]));
        for number in [500, 501] {
            handled(&site.app.inbox, metadata_of(number), 1).await;
        }
        let now = shown(&site).await;
        let sink = &now["sinks"][0];
        assert_eq!((&sink["contiguous_to"], &sink["missing_cuts"]), (&contiguous_to.into(), &missing.into()));
        assert_eq!(now["missing_cuts"], missing);
        assert_eq!(now["alarm"], start == "oldest");
    }
}

#[tokio::test]
async fn channels_and_sinks_come_in_pages() {
    let site = Site::new(&config(&[]));
    for sink in ["a", "b", "c"] {
        let mut metadata = metadata_of(1);
        metadata.cut.sink = sink.parse().unwrap();
        handled(&site.app.inbox, metadata, 1).await;
    }
    let page = async |query: String| {
        let (_, body) = site.ask(request(&format!("/v1/continuity?limit=2{query}"))).await;
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let first = page(String::new()).await;
    let second = page(format!("&after={}", first["next"].as_str().unwrap())).await;
    let names = |page: &Value| {
        page["sinks"].as_array().unwrap().iter().map(|sink| sink["sink"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((names(&first), names(&second)), (vec!["a".into(), "b".into()], vec!["c".into()]));
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn another_content_of_a_done_cut_is_a_fork_and_a_copy_of_it_is_none() {
    let store = std::sync::Arc::new(MemoryStore::new("logs"));
    let bench = Bench::over(store.clone(), &flags(&[]));
    let cut = metadata_of(3).cut;
    let stored = async |key: &str, content: &str| {
        let crc32c = crc32c::crc32c(content.as_bytes());
        let metadata = ObjectMetadata { length: content.len() as u64, crc32c, ..metadata_of(3) };
        let put = PutOptions { metadata: metadata.to_pairs(), crc32c, ..PutOptions::default() };
        store.put_if_absent(key, Body::from(content.as_bytes().to_vec()), &put).await.unwrap();
        metadata
    };
    let metadata = stored(&format!("events/{cut}.txt"), "as it was").await;
    handled(&bench.site.app.inbox, metadata, now_ms()).await;
    stored(&format!("copy/{cut}.txt"), "as it was").await;
    stored(&format!("fork/{cut}.txt"), "something else").await;
    for place in ["copy", "fork", "fork"] {
        let notice = Notice::new("logs", format!("{place}/{cut}.txt"));
        bench.site.app.inbox.put(notice, "n".to_owned(), now_ms()).await.unwrap();
    }
    bench.round().await;
    let now = shown(&bench.site).await;
    let sink = &now["sinks"][0];
    assert_eq!((&now["forked_cuts"], &sink["forked_cuts"]), (&1.into(), &1.into()));
    let forked = sink["forked"].as_array().unwrap();
    assert_eq!((forked.len(), &forked[0]["number"]), (1, &3.into()));
    assert_eq!(forked[0]["key"], format!("fork/{cut}.txt"));
    assert_eq!((&forked[0]["bytes"], &forked[0]["done_bytes"]), (&14.into(), &9.into()));
    assert_eq!(bench.site.app.inbox.suspects(9).await.unwrap(), []);
    assert!(bench.site.ask(request("/metrics")).await.1.contains("sluicegate_server_cuts_forked 1"));
}
