//! Each kind of answer of the store, through the whole sink.

use blob_store::{BlobStore as _, Body, ErrorKind, Fault, FaultPlan, Operation, PutOptions};
use contract::{ChannelId, CutId};
use ingest_agent::sink::s3::{FailPoints, S3SinkConfig, S3SinkError};

use super::rig::{Open, Store, audit, config, objects, sink_name, store, until};

fn calls(store: &Store, operation: Operation) -> usize {
    store
        .calls()
        .iter()
        .filter(|(called, key)| *called == operation && !key.starts_with(super::rig::CONTROL))
        .count()
}

/// Ships 20 events through `plan`, and returns the store and how often it was asked to put, look, begin, complete.
async fn ship(config: S3SinkConfig, plan: FaultPlan) -> (Store, [usize; 4]) {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append((0..20).map(|index| ("", format!("event {index}")))).await;
    // The claim is a put too: let it pass before the plan begins.
    let mut config = config;
    config.control_prefix = None;
    store.set_plan(plan);
    let running = open.start(config, &store, FailPoints::default());
    let report = running.flush().await;
    assert_eq!(report.keys.len(), 1);
    running.stop().await.unwrap();
    let lines = audit(&objects(&store).await);
    assert_eq!((lines.len(), lines.values().max()), (20, Some(&1)));
    assert_eq!(store.inner().list_uploads("").await.unwrap(), []);
    open.close();
    let asked = [Operation::Put, Operation::Head, Operation::CreateUpload, Operation::CompleteUpload];
    let counts = asked.map(|operation| calls(&store, operation));
    (store, counts)
}

fn script(operation: Operation, faults: &[Fault]) -> FaultPlan {
    FaultPlan::default().script(operation, faults.iter().copied().map(Some))
}

fn in_parts() -> S3SinkConfig {
    let mut config = config("");
    (config.put_limit_bytes, config.part_bytes) = (1, 50);
    config
}

#[tokio::test]
async fn a_put_without_faults_is_one_request() {
    assert_eq!(ship(config(""), FaultPlan::default()).await.1, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_lost_answer_to_a_put_is_found_by_a_412_and_a_look() {
    for kind in [ErrorKind::Timeout, ErrorKind::Connection, ErrorKind::Server] {
        let plan = script(Operation::Put, &[Fault::After(kind)]);
        assert_eq!(ship(config(""), plan).await.1, [2, 1, 0, 0], "{kind}");
    }
}

#[tokio::test]
async fn what_passes_is_put_again() {
    use ErrorKind::{AccessDenied, ConditionalConflict, CredentialsExpired, NoSuchBucket, Server, Throttled};
    let faults = [ConditionalConflict, Throttled, Server, AccessDenied, CredentialsExpired, NoSuchBucket];
    let plan = script(Operation::Put, &faults.map(Fault::Before));
    assert_eq!(ship(config(""), plan).await.1, [7, 0, 0, 0]);
}

#[tokio::test]
async fn a_look_that_is_refused_is_asked_again_and_never_taken_for_absence() {
    let plan = script(Operation::Put, &[Fault::After(ErrorKind::Timeout)])
        .script(Operation::Head, [Some(Fault::Before(ErrorKind::AccessDenied)); 3]);
    assert_eq!(ship(config(""), plan).await.1, [2, 4, 0, 0]);
}

#[tokio::test]
async fn a_completion_that_says_error_in_its_200_is_looked_at_before_it_is_sent_again() {
    let stored = script(Operation::CompleteUpload, &[Fault::After(ErrorKind::ErrorIn200)]);
    let (_, [puts, heads, creates, completes]) = ship(in_parts(), stored).await;
    assert_eq!((puts, creates, completes), (0, 1, 1), "stored after all");
    assert!(heads >= 1);
    let failed = script(Operation::CompleteUpload, &[Fault::Before(ErrorKind::ErrorIn200)]);
    assert_eq!(ship(in_parts(), failed).await.1, [0, 1, 1, 2]);
}

#[tokio::test]
async fn a_completion_whose_answer_is_lost_is_done_and_one_that_came_to_nothing_is_a_new_upload() {
    use ErrorKind::{ConditionalConflict, NoSuchUpload, PreconditionFailed, Timeout};
    let (_, asked) = ship(in_parts(), script(Operation::CompleteUpload, &[Fault::After(Timeout)])).await;
    assert_eq!((asked[2], asked[3]), (1, 1));
    for kind in [Timeout, NoSuchUpload, ConditionalConflict, PreconditionFailed] {
        let (_, asked) = ship(in_parts(), script(Operation::CompleteUpload, &[Fault::Before(kind)])).await;
        assert_eq!((asked[2], asked[3]), (2, 2), "{kind}: a new upload of the same cut");
    }
}

#[tokio::test]
async fn an_upload_that_somebody_aborted_begins_anew() {
    let plan = script(Operation::UploadPart, &[Fault::Before(ErrorKind::NoSuchUpload)]);
    let (_, asked) = ship(in_parts(), plan).await;
    assert_eq!((asked[2], asked[3]), (2, 1));
}

#[tokio::test]
async fn bytes_that_changed_on_the_way_are_sent_again() {
    let plan =
        script(Operation::Put, &[Fault::Before(ErrorKind::ChecksumMismatch), Fault::Before(ErrorKind::Body)]);
    assert_eq!(ship(config(""), plan).await.1, [3, 0, 0, 0]);
}

#[tokio::test]
async fn a_store_without_conditional_puts_is_looked_at_before_each() {
    let mut weak = config("");
    weak.conditional = Some(false);
    let plan = script(Operation::Put, &[Fault::After(ErrorKind::Timeout)]);
    assert_eq!(ship(weak, plan).await.1, [1, 2, 0, 0]);
}

#[tokio::test]
async fn another_object_under_the_key_is_a_fork_that_stops_the_sink_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append([("", "one".to_owned())]).await;
    let cut = CutId { channel: ChannelId(open.channel.channel().id()), sink: sink_name(), number: 1 };
    let key = format!("logs/{cut}.txt");
    let foreign = b"somebody else's".to_vec();
    let put = PutOptions { crc32c: crc32c::crc32c(&foreign), ..PutOptions::default() };
    store.inner().put_if_absent(&key, Body::from(foreign), &put).await.unwrap();

    for start in 0..2 {
        let running = open.start(config(""), &store, FailPoints::default());
        running.flush_or_end().await;
        let totals = running.metrics.totals();
        let error = running.ended().await.unwrap_err();
        assert!(matches!(&error, S3SinkError::Fork { key: at, .. } if *at == key), "start {start}: {error}");
        assert_eq!(totals.settled, 0, "the event is still in the channel");
        assert_eq!(open.channel.channel().readers()[0].released, 0, "I6");
    }
    assert_eq!(store.inner().contents()[&key].as_ref(), b"somebody else's");
    open.close();
}

#[tokio::test]
async fn uploads_left_by_an_earlier_run_are_aborted_and_neighbours_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let ours = ChannelId(open.channel.channel().id());
    let cut = |channel, sink: &str| CutId { channel, sink: sink.parse().unwrap(), number: 7 };
    let left = format!("logs/a/b/{}.txt", cut(ours, "s3"));
    let neighbours = [
        format!("logs/a/b/{}.txt", cut(ours, "other")),
        format!("logs/a/b/{}.txt", cut(ChannelId([9; 16]), "s3")),
        "logs/a/b/video.mp4".to_owned(),
        format!("elsewhere/{}.txt", cut(ours, "s3")),
    ];
    for key in neighbours.iter().chain([&left]) {
        store.inner().create_upload(key, &PutOptions::default()).await.unwrap();
    }
    let running = open.start(config(""), &store, FailPoints::default());
    running.flush().await;
    running.stop().await.unwrap();
    let mut still: Vec<_> =
        store.inner().list_uploads("").await.unwrap().into_iter().map(|upload| upload.key).collect();
    still.sort();
    let mut expected = neighbours.to_vec();
    expected.sort();
    assert_eq!(still, expected);
    open.close();
}

#[tokio::test]
async fn no_request_is_sent_for_a_cut_that_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    let mut config = config("");
    config.control_prefix = None;
    let points = FailPoints::new(|name| name == "before_seal");
    let running = open.start(config, &store, points);
    open.append((0..200).map(|index| ("", format!("{index} {}", "x".repeat(100))))).await;
    assert!(matches!(running.ended().await, Err(S3SinkError::FailPoint("before_seal"))));
    let asked: Vec<_> = store.calls().into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(asked, [Operation::ListUploads], "I3: only leftovers were looked for");
    open.close();
}

#[tokio::test]
async fn a_refused_store_raises_the_alarm_until_it_answers_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store();
    let open = Open::at(dir.path()).await;
    open.append([("", "one".to_owned())]).await;
    let mut config = config("");
    config.control_prefix = None;
    config.roll.events = Some(1);
    store.set_plan(
        FaultPlan::default().script(Operation::Put, [Some(Fault::Before(ErrorKind::AccessDenied)); 5000]),
    );
    let running = open.start(config, &store, FailPoints::default());
    until(|| running.metrics.alarm.get() == 1).await;
    store.set_plan(FaultPlan::default());
    running.flush().await;
    assert_eq!(running.metrics.alarm.get(), 0);
    running.stop().await.unwrap();
    open.close();
}
