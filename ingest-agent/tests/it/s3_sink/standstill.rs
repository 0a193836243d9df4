//! States that repeat for ever: each is an alarm, and ends with what caused it.

use std::time::Duration;

use blob_store::{ErrorKind, Fault, FaultPlan, Operation};
use ingest_agent::sink::s3::FailPoints;

use super::rig::{Open, audit, config, objects, store, until};

fn for_ever(plan: FaultPlan, operation: Operation, fault: Fault) -> FaultPlan {
    plan.script(operation, std::iter::repeat_n(Some(fault), 200_000))
}

#[tokio::test]
async fn whatever_repeats_for_ever_is_an_alarm_after_a_time_though_each_answer_alone_is_none() {
    let put = |kind| for_ever(FaultPlan::default(), Operation::Put, Fault::Before(kind));
    let complete = |kind| for_ever(FaultPlan::default(), Operation::CompleteUpload, Fault::Before(kind));
    for (parts, plan) in [
        // The put says that the key is taken, and the look that there is nothing.
        (false, put(ErrorKind::PreconditionFailed)),
        (false, put(ErrorKind::ConditionalConflict)),
        (false, put(ErrorKind::Server)),
        (false, put(ErrorKind::ChecksumMismatch)),
        // Every upload begins well and is gone at its end.
        (true, complete(ErrorKind::NoSuchUpload)),
        (true, complete(ErrorKind::PreconditionFailed)),
        (true, complete(ErrorKind::ErrorIn200)),
        (true, for_ever(FaultPlan::default(), Operation::UploadPart, Fault::Before(ErrorKind::Timeout))),
    ] {
        for alarm_after in [Duration::from_millis(30), Duration::from_secs(3600)] {
            let dir = tempfile::tempdir().unwrap();
            let (store, open) = (store(), Open::at(dir.path()).await);
            open.append((0..20).map(|index| ("", format!("event {index}")))).await;
            let mut config = config("");
            config.control_prefix = None;
            config.alarm_after = alarm_after;
            config.roll.events = Some(20);
            if parts {
                (config.put_limit_bytes, config.part_bytes) = (1, 50);
            }
            let what = format!("{plan:?}").chars().take(120).collect::<String>();
            store.set_plan(plan.clone());
            let running = open.start(config, &store, FailPoints::default());
            if alarm_after < Duration::from_secs(1) {
                until(|| running.metrics.alarm.get() == 1).await;
            } else {
                until(|| running.metrics.retries.get() >= 5).await;
                assert_eq!(running.metrics.alarm.get(), 0, "{what}: time may help");
            }
            assert_eq!(running.metrics.totals().settled, 0, "{what}");
            store.set_plan(FaultPlan::default());
            running.flush().await;
            assert_eq!(running.metrics.alarm.get(), 0, "{what}");
            running.stop().await.unwrap();
            let lines = audit(&objects(&store).await);
            assert_eq!((lines.len(), lines.values().max()), (20, Some(&1)), "{what}");
            open.close();
        }
    }
}

#[tokio::test]
async fn one_cut_in_trouble_is_an_alarm_though_others_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, open) = (store(), Open::at(dir.path()).await);
    let mut config = config("");
    config.control_prefix = None;
    config.roll.events = Some(1);
    config.upload_concurrency = 2;
    // Every second put: there are two at a time.
    let faults = (0..200_000).map(|index| (index % 2 == 0).then_some(Fault::Before(ErrorKind::AccessDenied)));
    store.set_plan(FaultPlan::default().script(Operation::Put, faults));
    let running = open.start(config, &store, FailPoints::default());
    open.append((0..2).map(|index| ("", format!("event {index}")))).await;
    until(|| running.metrics.totals().shipped + running.metrics.alarm.get() as u64 >= 2).await;
    store.set_plan(FaultPlan::default());
    running.flush().await;
    assert_eq!(running.metrics.alarm.get(), 0);
    running.stop().await.unwrap();
    open.close();
}
