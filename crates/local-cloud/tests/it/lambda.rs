//! Asynchronous invocation: three tries, then the failure queue (I7); and the APIs around it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use local_cloud::CloudOptions;

use crate::support::{Fixture, Runtime, object_of};

#[tokio::test]
async fn a_runtime_is_told_what_lambda_tells() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let given = cloud.runtime().next().await;
    let header = |name| given.headers[name].to_str().unwrap();
    assert_eq!(
        header("lambda-runtime-invoked-function-arn"),
        "arn:aws:lambda:us-east-1:000000000000:function:sluicegate-notifier"
    );
    assert!(header("lambda-runtime-trace-id").starts_with("Root=1-"));
    let deadline = UNIX_EPOCH + Duration::from_millis(header("lambda-runtime-deadline-ms").parse().unwrap());
    let left = deadline.duration_since(SystemTime::now()).unwrap();
    assert!(left <= cloud.options.function_timeout);
    assert_eq!(given.id.len(), 36);
}

#[tokio::test]
async fn a_runtime_that_waits_is_given_the_next_event_as_it_comes() {
    let cloud = Fixture::new().await;
    let runtime = cloud.runtime();
    let waiting = tokio::spawn(async move { runtime.next().await });
    // Give the poll the chance to be there first; the test holds either way.
    tokio::task::yield_now().await;
    cloud.put("k", "x").await;
    assert_eq!(object_of(&waiting.await.unwrap().event)["key"], "k");
}

#[tokio::test]
async fn a_failing_event_is_tried_three_times_with_one_request_id_then_lies_in_the_failure_queue() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let runtime = cloud.runtime();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let given = runtime.next().await;
        assert_eq!(runtime.fail(&given.id).await, 202);
        ids.push(given.id);
    }
    cloud.cloud.settled().await.unwrap();
    assert!(ids.iter().all(|id| *id == ids[0]));
    let failed = cloud.cloud.failed_invocations().await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].tries, 3);
    assert_eq!(failed[0].request_id, ids[0]);
    assert_eq!(failed[0].error, "Unavailable: the server is away");
    let file = std::fs::read_to_string(cloud.options.dir.join("failed_invocations.jsonl")).unwrap();
    assert_eq!(file.lines().count(), 1);
    assert!(file.contains("\"key\":\"k\""));

    // After a restart it is still there; redriven, it is invoked again.
    let cloud = cloud.restart().await;
    assert_eq!(cloud.cloud.redrive().await.unwrap(), 1);
    assert!(!cloud.options.dir.join("failed_invocations.jsonl").exists());
    let runtime = cloud.runtime();
    let given = runtime.next().await;
    assert_eq!(object_of(&given.event)["key"], "k");
    runtime.succeed(&given.id).await;
    cloud.cloud.settled().await.unwrap();
    assert!(cloud.cloud.failed_invocations().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_try_that_waits_for_a_time_which_the_clock_has_left_is_made_after_its_pause() {
    let delays = [Duration::from_millis(50); 2];
    let cloud = Fixture::with(|options: &mut CloudOptions| options.retry_delays = delays).await;
    cloud.put("k", "x").await;
    let runtime = cloud.runtime();
    let given = runtime.next().await;
    runtime.fail(&given.id).await;
    // As if the clock had shown the day after tomorrow then.
    let catalog = rusqlite::Connection::open(cloud.options.dir.join(".cloud/catalog.sqlite")).unwrap();
    catalog.busy_timeout(Duration::from_secs(10)).unwrap();
    let moved = catalog.execute("UPDATE invocations SET due_ms = due_ms + 172800000", []).unwrap();
    assert_eq!(moved, 1);
    let again = tokio::time::timeout(Duration::from_secs(20), runtime.next()).await.unwrap();
    assert_eq!(again.id, given.id);
    runtime.succeed(&again.id).await;
}

#[tokio::test]
async fn the_failure_queue_can_be_read_and_redriven_over_http() {
    let cloud = Fixture::with(|options: &mut CloudOptions| options.retry_delays = [Duration::ZERO; 2]).await;
    cloud.put("k", "x").await;
    let runtime = cloud.runtime();
    for _ in 0..3 {
        let given = runtime.next().await;
        runtime.fail(&given.id).await;
    }
    let url = format!("http://{}/failed-invocations", cloud.cloud.lambda_url());
    let lines = reqwest::get(&url).await.unwrap().text().await.unwrap();
    let line: local_cloud::FailedInvocation = serde_json::from_str(lines.trim()).unwrap();
    assert!(line.payload.get().contains("ObjectCreated:Put"));
    assert_eq!(runtime.post("/failed-invocations/redrive", "").await, 200);
    assert_eq!(object_of(&runtime.next().await.event)["key"], "k");
}

#[tokio::test]
async fn an_answer_after_the_timeout_is_refused_and_the_event_tried_again() {
    let cloud =
        Fixture::with(|options: &mut CloudOptions| options.function_timeout = Duration::from_millis(50))
            .await;
    cloud.put("k", "x").await;
    let slow = cloud.runtime();
    let first = slow.next().await;
    // The next runtime gets it when the first one's time is over.
    let other = cloud.runtime();
    let second = other.next().await;
    assert_eq!(second.id, first.id);
    assert_eq!(other.succeed(&second.id).await, 202);
    assert_eq!(slow.succeed(&first.id).await, 400);
    cloud.cloud.settled().await.unwrap();
}

#[tokio::test]
async fn an_event_held_by_a_runtime_that_died_goes_to_its_successor_before_the_timeout() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let dying = cloud.runtime();
    let held = dying.next().await;
    drop(dying);
    // Each start of a runtime looks for what dead ones held; the closed connection may show a moment later.
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let successor = cloud.runtime();
            if let Ok(again) = tokio::time::timeout(Duration::from_millis(200), successor.next()).await {
                successor.succeed(&again.id).await;
                break again;
            }
        }
    });
    let again = again.await.expect("the timeout of 30 s is not waited for");
    assert_eq!(again.id, held.id);
    cloud.cloud.settled().await.unwrap();
}

#[tokio::test]
async fn a_runtime_that_asks_again_without_an_answer_has_failed() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let runtime = cloud.runtime();
    let first = runtime.next().await;
    let second = runtime.next().await;
    assert_eq!(first.id, second.id);
    runtime.succeed(&second.id).await;
    cloud.cloud.settled().await.unwrap();
}

#[tokio::test]
async fn several_runtimes_share_the_events_and_none_gets_one_that_another_holds() {
    let cloud = Fixture::new().await;
    for number in 0..30 {
        cloud.put(&format!("k{number}"), "x").await;
    }
    let runtimes = (0..3).map(|_| {
        let runtime = cloud.runtime();
        tokio::spawn(async move {
            let mut keys = Vec::new();
            for _ in 0..10 {
                let given = runtime.next().await;
                keys.push(object_of(&given.event)["key"].as_str().unwrap().to_owned());
                assert_eq!(runtime.succeed(&given.id).await, 202);
            }
            keys
        })
    });
    let mut all = Vec::new();
    for runtime in runtimes.collect::<Vec<_>>() {
        all.extend(runtime.await.unwrap());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 30);
}

#[tokio::test]
async fn anybody_can_invoke_and_wait_or_queue() {
    let cloud = Fixture::new().await;
    let (runtime, caller) = (cloud.runtime(), Runtime::new(&cloud.cloud.lambda_url()));
    let waiting = tokio::spawn(async move { (caller.invoke("RequestResponse", "{\"n\":1}").await, caller) });
    let given = runtime.next().await;
    assert_eq!(given.event["n"], 1);
    runtime.succeed(&given.id).await;
    let (answer, caller) = waiting.await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (200, "\"done\"".to_owned()));

    let waiting = tokio::spawn(async move { (caller.invoke("RequestResponse", "{}").await, caller) });
    let given = runtime.next().await;
    runtime.fail(&given.id).await;
    let (answer, caller) = waiting.await.unwrap();
    assert_eq!(answer.headers()["x-amz-function-error"], "Unhandled");
    assert!(answer.text().await.unwrap().contains("the server is away"));

    assert_eq!(caller.invoke("Event", "{\"n\":2}").await.status(), 202);
    assert_eq!(runtime.next().await.event["n"], 2);
    assert_eq!(caller.invoke("DryRun", "{}").await.status(), 204);
    assert_eq!(caller.invoke("Event", "no json").await.status(), 400);
    let path = "/2015-03-31/functions/other/invocations";
    assert_eq!(caller.post(path, "{}").await, 404);
}

#[tokio::test]
async fn a_runtime_that_cannot_start_is_heard_and_the_event_stays() {
    let cloud = Fixture::new().await;
    cloud.put("k", "x").await;
    let runtime = cloud.runtime();
    let error = r#"{"errorType":"Runtime.Config","errorMessage":"no url"}"#;
    assert_eq!(runtime.post("/2018-06-01/runtime/init/error", error).await, 202);
    assert_eq!(cloud.cloud.invocations_owed().await.unwrap(), 1);
}
