//! `kill -9` of any part or of the whole, at any moment: nothing that was answered is missing,
//! and nothing that was sent once is twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::pipeline::{PARTS, Pipeline};
use e2e::producer::{self, Pace, Record};
use e2e::{oracle, until};

/// Three producers send while `fault` does its worst; the record of what they were told.
pub(crate) async fn produce_during(
    round: &str,
    rest: Duration,
    pipeline: &mut Pipeline,
    fault: impl AsyncFnOnce(&mut Pipeline),
) -> Record {
    let stop = AtomicBool::new(false);
    let (url, netcat) = (pipeline.url("http", "/v1/events"), pipeline.addr("netcat"));
    let name = |producer: &str| format!("{producer} {round}");
    let (http_name, netcat_name, single_name) = (name("http"), name("netcat"), name("one by one"));
    let (mut record, netcat_record, single, ()) = tokio::join!(
        producer::http(&url, &http_name, Pace { lines: 50, rest }, &stop),
        producer::netcat(netcat, &netcat_name, Pace { lines: 200, rest }, &stop),
        producer::netcat(netcat, &single_name, Pace { lines: 1, rest }, &stop),
        async {
            fault(pipeline).await;
            // Whoever was killed is back: producers go on for a moment, so that work follows the fault.
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.store(true, Ordering::Relaxed);
        }
    );
    record.merge(netcat_record);
    record.merge(single);
    record
}

/// Waits until nothing more is owed, then asks the oracle.
pub(crate) async fn assert_exactly_once(pipeline: &Pipeline, record: &Record) {
    assert!(record.answered.len() > 500, "only {} lines were answered: no test", record.answered.len());
    let client = producer::client();
    until("the flush", Duration::from_secs(60), async || {
        let answer = client.post(pipeline.url("admin", "/v1/flush")).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    // The flush has put everything into S3; from there on only notices are owed.
    until("the arrival of every answered line", Duration::from_secs(60), async || {
        let verdict = oracle::verdict(record, &pipeline.output());
        (!verdict.contains("missing")).then_some(())
    })
    .await;
    assert_eq!(oracle::verdict(record, &pipeline.output()), "");
    assert_eq!(oracle::verdict(record, &objects(pipeline)), "", "in the objects");
}

/// Every object of the bucket, one after the other.
fn objects(pipeline: &Pipeline) -> Vec<u8> {
    let mut found = Vec::new();
    let mut folders = vec![pipeline.data().join("s3/events/data")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("objects lie in folders").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.extend(std::fs::read(entry.path()).expect("an object can be read"));
            }
        }
    }
    found
}

#[tokio::test]
async fn killing_each_part_in_turn_loses_nothing_and_doubles_nothing() {
    let mut pipeline = Pipeline::start().await;
    let record = produce_during("", Duration::ZERO, &mut pipeline, async |pipeline| {
        for pause in [130, 370, 610, 290] {
            for part in PARTS {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let before = pipeline.child_pid(part);
                pipeline.kill_child(part);
                until("the part's return", Duration::from_secs(20), async || {
                    pipeline.child_pid(part).filter(|pid| Some(*pid) != before)
                })
                .await;
            }
        }
    })
    .await;
    assert_exactly_once(&pipeline, &record).await;
}

#[tokio::test]
async fn a_part_that_ends_because_another_does_is_never_given_up() {
    let mut pipeline = Pipeline::start().await;
    // The notifier has ended nearly as often as it may; then it ends with its Lambda, until that is back.
    for part in std::iter::repeat_n("notifier", 6).chain(std::iter::repeat_n("cloud", 5)) {
        let before = pipeline.child_pid(part);
        pipeline.kill_child(part);
        for back in [part, "notifier"] {
            until("the part's return", Duration::from_secs(20), async || {
                pipeline.child_pid(back).filter(|pid| Some(*pid) != before)
            })
            .await;
        }
    }
    let record = produce_during("", Duration::ZERO, &mut pipeline, async |_| {}).await;
    assert_exactly_once(&pipeline, &record).await;
}

#[tokio::test]
async fn killing_the_whole_loses_nothing_and_doubles_nothing() {
    let mut pipeline = Pipeline::start().await;
    let mut record = Record::default();
    for round in 0..4 {
        let told = produce_during(&round.to_string(), Duration::ZERO, &mut pipeline, async |pipeline| {
            tokio::time::sleep(Duration::from_millis(200 + 170 * round)).await;
            pipeline.kill().await;
        })
        .await;
        record.merge(told);
        pipeline.start_again().await;
    }
    assert_exactly_once(&pipeline, &record).await;
}
