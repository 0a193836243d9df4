//! An S3 that kills the agent when it hears from it: before it does what it is asked, or after.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blob_store::BlobStore as _;
use e2e::front::{Fault, Front};
use e2e::parts::{Agent, Cloud, PREFIX, Tuning, keys, object};
use e2e::random::{Random, seed};
use e2e::{producer, until};
use hyper::Method;

/// Small and soon, so that every life of the agent ships something; what is large goes in parts.
fn tuning() -> Tuning {
    Tuning {
        sink: "format = \"text\"\nput_limit = \"5MiB\"\npart = \"5MiB\"\nretry_base = \"5ms\"\nretry_max = \"50ms\"".to_owned(),
        roll: "age = \"100ms\"".to_owned(),
        ..Tuning::default()
    }
}

type Killer = Box<dyn Fn() -> bool + Send + Sync>;

/// A line's number and length: all that there is to one.
fn shape(line: &str) -> (u64, usize) {
    let (id, _) = line.split_once('-').expect("a line has its number");
    (id.parse().expect("it is a number"), line.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_at_requests_leave_one_object_a_cut_and_every_position_once_i3_i4_i5() {
    const KILLS: u64 = 100;
    let seed = seed();
    let home = tempfile::tempdir().expect("a temporary folder can be made");
    let cloud = Cloud::new(&home.path().join("cloud"));
    let _cloud = cloud.program().start().await;

    let killer: Arc<Mutex<Option<Killer>>> = Arc::default();
    let kills = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let random = Mutex::new(Random::new(seed, 0));
    let front = {
        let (killer, kills) = (killer.clone(), kills.clone());
        Front::start(cloud.s3, move |request| {
            // Every kind of request, but more often those that change something.
            let changes = request.method != Method::GET && request.method != Method::HEAD;
            let mut random = random.lock().expect("no thread panics with it");
            let number = kills.iter().map(|kills| kills.load(Ordering::SeqCst)).sum::<u64>();
            if number >= KILLS || !random.per_mille(if changes { 500 } else { 100 }) {
                return Fault::Pass;
            }
            let (killer, kills) = (killer.clone(), kills.clone());
            let kill = move |after: usize| {
                if killer.lock().expect("no thread panics with it").as_ref().is_some_and(|kill| kill()) {
                    kills[after].fetch_add(1, Ordering::SeqCst);
                }
            };
            if random.per_mille(400) {
                kill(0);
                Fault::Break
            } else {
                Fault::Then(Box::new(move || kill(1)))
            }
        })
        .await
    };
    let agent = Agent::new(&home.path().join("agent"), &front.url(), tuning());
    let kept = agent.program().keep();
    *killer.lock().expect("no thread panics with it") = Some(Box::new(kept.killer()));
    kept.ready().await;

    // Each line is sent once; after each life of the agent it goes on with the next lines.
    let client = producer::client();
    let (mut round, mut answered) = (0_u64, Vec::new());
    while kills.iter().map(|kills| kills.load(Ordering::SeqCst)).sum::<u64>() < KILLS {
        // Now and then three requests at a time that make one object that is sent in parts.
        let padding = if round % 16 == 3 { 600_000 } else { 10 };
        let bodies = (0..3).map(|request| {
            let ids = (0..5).map(move |line| round * 15 + request * 5 + line);
            ids.map(|id| format!("{id}-{}\n", "x".repeat(padding))).collect::<Vec<_>>().concat()
        });
        let send = async |body: String| {
            let request = client.post(agent.events_url()).header("content-type", "text/plain");
            let answer = request.body(body.clone()).send().await;
            answer.is_ok_and(|answer| answer.status() == 200).then_some(body)
        };
        let told = futures_util::future::join_all(bodies.map(send)).await;
        if told.iter().any(Option::is_none) {
            // It was killed, and is started again.
            kept.ready().await;
        }
        answered.extend(told.iter().flatten().flat_map(|body| body.lines().map(shape)));
        round += 1;
    }
    kept.ready().await;
    until("the flush", Duration::from_secs(30), async || {
        let answer = client.post(agent.admin_url("/v1/flush")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    assert!(kept.ended().is_empty(), "it ended by itself: {:?} {}", kept.ended(), agent.program().said());
    let [before, after] = [0, 1].map(|at| kills[at].load(Ordering::SeqCst));
    println!(
        "{before} kills before and {after} after the store had done it; {} lines answered",
        answered.len()
    );
    assert!(before > 10 && after > 10, "{before} and {after} kills");

    let bucket = cloud.bucket().await;
    let (mut next, mut number, mut in_parts) = (0, 1, 0);
    let mut stored = BTreeSet::new();
    for key in keys(&bucket, PREFIX).await {
        let (metadata, bytes) = object(&bucket, &key).await;
        // Keys of one sink sort as its cuts do: each cut is there, each once, and they touch.
        assert_eq!(metadata.cut.number, number, "{key}");
        assert_eq!((metadata.first, metadata.last), (next, next + metadata.events - 1), "{key}");
        number += 1;
        next = metadata.last + 1;
        assert_eq!(metadata.total_events, next, "{key}");
        in_parts += u64::from(bytes.len() > 5 << 20);
        let text = String::from_utf8(bytes).expect("lines are text");
        assert_eq!(text.lines().count() as u64, metadata.events, "{key}");
        for line in text.lines().map(shape) {
            assert!(stored.insert(line), "{line:?} is there twice");
        }
    }
    assert!(in_parts > 0, "no object was large enough to go in parts: no test");
    for line in &answered {
        assert!(stored.contains(line), "{line:?} was answered and is missing");
    }
    assert_eq!(bucket.list_uploads("").await.expect("S3 lists uploads"), []);
    let others = keys(&bucket, "").await.into_iter().filter(|key| !key.starts_with(PREFIX));
    for key in others {
        assert!(key.starts_with("_sluicegate/"), "{key} is neither an object nor a claim");
    }
}
