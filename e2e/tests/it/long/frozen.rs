//! A part that is stopped for two minutes, as a debugger, a hypervisor or a sleeping machine does it:
//! longer than every time-out between the parts.

use std::time::Duration;

use e2e::pipeline::{PARTS, Pipeline, signal};
use e2e::producer;
use rustix::process::Signal;

use crate::kills::{assert_exactly_once, produce_during};

const FOR: Duration = Duration::from_secs(120);

/// Of a producer after each answer: it is not about how much.
const REST: Duration = Duration::from_millis(100);

/// Stops these parts at once, and lets them go on.
async fn frozen(parts: &[&str]) {
    let mut pipeline = Pipeline::start().await;
    let record = produce_during("", REST, &mut pipeline, async |pipeline| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pids: Vec<u32> = parts.iter().filter_map(|part| pipeline.child_pid(part)).collect();
        assert_eq!(pids.len(), parts.len());
        for pid in &pids {
            signal(*pid, Signal::STOP);
        }
        tokio::time::sleep(FOR).await;
        let now: Vec<u32> = parts.iter().filter_map(|part| pipeline.child_pid(part)).collect();
        assert_eq!(now, pids, "a part that only stood still was given up");
        for pid in &pids {
            signal(*pid, Signal::CONT);
        }
    })
    .await;
    // What an operator does with notices that Lambda has given up meanwhile.
    let client = producer::client();
    let redrive = pipeline.url("lambda", "/failed-invocations/redrive");
    let delivered = assert_exactly_once(&pipeline, &record);
    let redriven = async {
        loop {
            let _ = client.post(&redrive).send().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = delivered => {}
        () = redriven => {}
    }
}

#[tokio::test]
async fn an_agent_that_stood_still_for_two_minutes_goes_on_and_loses_and_doubles_nothing() {
    frozen(&["agent"]).await;
}

#[tokio::test]
async fn a_server_that_stood_still_for_two_minutes_goes_on_and_loses_and_doubles_nothing() {
    frozen(&["server"]).await;
}

#[tokio::test]
async fn a_notifier_that_stood_still_for_two_minutes_goes_on_and_loses_and_doubles_nothing() {
    frozen(&["notifier"]).await;
}

#[tokio::test]
async fn a_store_that_stood_still_for_two_minutes_costs_no_event_and_doubles_none() {
    frozen(&["cloud"]).await;
}

#[tokio::test]
async fn all_parts_that_stood_still_together_go_on_together() {
    frozen(&PARTS).await;
}
