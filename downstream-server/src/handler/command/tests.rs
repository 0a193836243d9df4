use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::Arc;
use std::time::Duration;

use blob_store::{BlobStore as _, Body, MemoryStore, PutOptions};
use contract::{CutKind, ObjectMetadata};
use tempfile::TempDir;

use super::*;
use crate::config::HandlerConfig;
use crate::inbox::Place;
use crate::testing::config;

/// A shell line as a command, and a folder in which it runs and leaves what it found.
struct Bench {
    dir: TempDir,
    command: Command,
}

impl Bench {
    fn new(line: &str, flags: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let line = format!("cd {}; {line}", dir.path().display());
        let argv = serde_json::json!(["sh", "-c", line]).to_string();
        let command = Command::new(command_config(&argv, flags), dir.path().to_owned());
        Self { dir, command }
    }

    async fn deliver(&self, content: &str) -> Result<(), HandlerError> {
        self.deliver_as(&delivery(None), content.as_bytes(), &PutOptions::default()).await
    }

    async fn deliver_as(
        &self,
        delivery: &Delivery,
        content: &[u8],
        put: &PutOptions,
    ) -> Result<(), HandlerError> {
        let store = Arc::new(MemoryStore::new("logs"));
        let put = PutOptions { crc32c: crc32c::crc32c(content), ..put.clone() };
        store.put_if_absent("k", Body::from(content.to_vec()), &put).await.unwrap();
        let place = Place { bucket: "logs".to_owned(), key: "k".to_owned(), version_id: None };
        let mut content = Content::open(store, &place, &config(&[]).fetch).await.unwrap();
        self.command.handle(delivery, &mut content).await.map(drop)
    }

    fn found(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }
}

fn command_config(argv: &str, flags: &[&str]) -> CommandConfig {
    let flags = [&["--handler-kind", "command", "--handler-command", argv], flags].concat();
    match config(&flags).handler {
        HandlerConfig::Command(config) => config,
        other => panic!("{other:?}"),
    }
}

fn delivery(metadata: Option<ObjectMetadata>) -> Delivery {
    Delivery {
        id: "the-id".to_owned(),
        attempt: 3,
        notice_id: "the-notice".to_owned(),
        bucket: "logs".to_owned(),
        key: "a key/with \u{e4} $(touch run)".to_owned(),
        version_id: Some("v1".to_owned()),
        metadata,
    }
}

fn ours(kind: CutKind) -> ObjectMetadata {
    ObjectMetadata {
        version: 1,
        cut: format!("{}-s3-000000000007", "a".repeat(32)).parse().unwrap(),
        kind,
        events: 4,
        first: 100,
        last: 103,
        set_aside: 0,
        total_events: 104,
        total_dead_lettered: 0,
        total_damaged: 0,
        length: 8,
        crc32c: 0,
        format: "text".to_owned(),
        format_version: 1,
        rows: Some("events".to_owned()),
        codec: "none".to_owned(),
    }
}

#[tokio::test]
async fn a_command_is_given_the_whole_object_and_is_told_all_about_it_without_a_shell() {
    let bench = Bench::new("cat > got; env | grep ^SLUICEGATE_ | sort > told", &[]);
    let lines = "one\ntwo \u{1f30a}\nno newline";
    bench
        .deliver_as(&delivery(Some(ours(CutKind::Events))), lines.as_bytes(), &PutOptions::default())
        .await
        .unwrap();
    assert_eq!(bench.found("got"), lines);
    let told = bench.found("told");
    for variable in [
        "BUCKET=logs",
        "KEY=a key/with \u{e4} $(touch run)",
        "VERSION_ID=v1",
        "DELIVERY_ID=the-id",
        "ATTEMPT=3",
        "NOTICE_ID=the-notice",
        "CUT=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-s3-000000000007",
        "EVENTS=4",
        "FIRST=100",
        "LAST=103",
        "KIND=events",
    ] {
        assert!(
            told.lines().any(|line| line == format!("SLUICEGATE_{variable}")),
            "{variable} is not in {told}"
        );
    }

    let foreign =
        PutOptions { metadata: vec![("x-owner".to_owned(), "me".to_owned())], ..PutOptions::default() };
    bench.deliver_as(&delivery(None), b"", &foreign).await.unwrap();
    assert!(bench.found("told").contains("SLUICEGATE_META_X_OWNER=me\n"));
    assert!(!bench.found("told").contains("SLUICEGATE_CUT="));
    assert!(!bench.dir.path().join("run").exists(), "a shell read the key");
}

#[tokio::test]
async fn the_exit_code_decides_and_the_end_of_standard_error_is_the_reason() {
    let ends = async |line: &str, flags: &[&str]| Bench::new(line, flags).deliver("x\n").await;
    ends("exit 0", &[]).await.unwrap();
    assert!(matches!(ends("exit 75", &[]).await, Err(HandlerError::Later { after: None, .. })));
    assert!(matches!(ends("exit 65", &[]).await, Err(HandlerError::Never(_))));
    assert!(matches!(ends("exit 1", &[]).await, Err(HandlerError::Retry(_))));
    let codes = ["--handler-later-codes", "1,2", "--handler-dead-codes", "3"];
    assert!(matches!(ends("exit 2", &codes).await, Err(HandlerError::Later { .. })));
    assert!(matches!(ends("exit 3", &codes).await, Err(HandlerError::Never(_))));
    assert!(matches!(ends("exit 75", &codes).await, Err(HandlerError::Retry(_))));

    let error = ends("echo no table >&2; exit 4", &[]).await.unwrap_err().to_string();
    assert_eq!(error, "handling the object: the command ended with exit code 4; it said: no table");
    let error = ends("kill -9 $$", &[]).await.unwrap_err().to_string();
    assert_eq!(error, "handling the object: the command was ended by signal 9");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_tried_again_later_and_uses_no_attempt_up() {
    let dir = TempDir::new().unwrap();
    let bench =
        Bench { command: Command::new(command_config("/not/there", &[]), dir.path().to_owned()), dir };
    let error = bench.deliver("x\n").await.unwrap_err();
    assert!(matches!(error, HandlerError::Later { .. }), "{error}");
    assert!(error.to_string().contains("starting /not/there: "), "{error}");
}

#[tokio::test]
async fn input_that_is_left_unread_and_output_without_end_do_no_harm() {
    let large = "x".repeat(4 << 20);
    Bench::new("exec true", &[]).deliver(&large).await.unwrap();
    let bench = Bench::new("yes | head -c 4000000; yes complaint | head -c 4000000 >&2; exit 1", &[]);
    let error = bench.deliver("x\n").await.unwrap_err().to_string();
    assert!(error.ends_with("complaint complaint") && error.len() < 1200, "{error}");
}

/// A pipe that a command has open: when it was written to, and when the last process has ended
/// that could write more.
struct Pipe {
    written: tokio::sync::oneshot::Receiver<()>,
    ended: std::thread::JoinHandle<String>,
}

fn pipe(bench: &Bench) -> Pipe {
    let path = bench.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (sender, written) = tokio::sync::oneshot::channel();
    let ended = std::thread::spawn(move || {
        let mut pipe = BufReader::new(std::fs::File::open(path).unwrap());
        let mut text = String::new();
        pipe.read_line(&mut text).unwrap();
        // Not every test waits for this.
        let _ = sender.send(());
        pipe.read_to_string(&mut text).unwrap();
        text
    });
    Pipe { written, ended }
}

#[tokio::test]
async fn the_time_out_ends_the_command_and_all_that_it_started() {
    let bench =
        Bench::new("(echo started; exec sleep 1000) > pipe & sleep 1000", &["--handler-timeout", "300ms"]);
    let alive = pipe(&bench);
    let error = bench.deliver("x\n").await.unwrap_err();
    assert!(matches!(error, HandlerError::Retry(_)));
    assert!(error.to_string().contains("did not end within 0.3 s (handler.timeout)"), "{error}");
    assert_eq!(alive.ended.join().unwrap(), "started\n", "and its child has ended");
}

#[tokio::test]
async fn what_an_ended_command_left_running_does_not_hold_the_object_up() {
    let bench = Bench::new("(echo started > pipe; exec sleep 1000 2> pipe) & exit 0", &[]);
    let alive = pipe(&bench);
    bench.deliver("x\n").await.unwrap();
    assert_eq!(alive.ended.join().unwrap(), "started\n");
}

#[tokio::test]
async fn a_delivery_that_is_cancelled_ends_its_command() {
    let bench = Bench::new("exec > pipe; echo started; exec sleep 1000", &[]);
    let Pipe { written, ended } = pipe(&bench);
    tokio::select! {
        _ = bench.deliver("x\n") => panic!("it ended by itself"),
        written = written => written.unwrap(),
    }
    assert_eq!(ended.join().unwrap(), "started\n");
}

#[tokio::test]
async fn batches_and_events_come_in_order_with_their_numbers_and_a_failure_ends_the_attempt() {
    let line = "echo $SLUICEGATE_BATCH_FIRST $SLUICEGATE_BATCH_EVENTS $SLUICEGATE_BATCH_IS_LAST \
                $SLUICEGATE_BATCH_POSITION: $(tr '\\n' ,) >> got; [ $SLUICEGATE_BATCH_FIRST != $FAIL_AT ]";
    let batches = ["--handler-feed", "batch", "--handler-batch-events", "2"];
    let bench = Bench::new(&line.replace("$FAIL_AT", "none"), &batches);
    bench
        .deliver_as(&delivery(Some(ours(CutKind::Events))), b"a\nb\nc\nd\n", &PutOptions::default())
        .await
        .unwrap();
    assert_eq!(bench.found("got"), "0 2 false 100: a,b,\n2 2 true 102: c,d,\n");

    let bench = Bench::new(&line.replace("$FAIL_AT", "1"), &["--handler-feed", "event"]);
    assert!(matches!(bench.deliver("a\nb\nc").await, Err(HandlerError::Retry(_))));
    assert_eq!(bench.found("got"), "0 1 false : a,\n1 1 false : b,\n");
}

#[tokio::test]
async fn what_is_no_event_is_called_a_line_to_a_command_i10() {
    let line = "echo ${SLUICEGATE_BATCH_EVENTS-none} $SLUICEGATE_BATCH_LINES ${SLUICEGATE_BATCH_POSITION-none} \
                $SLUICEGATE_BATCH_FIRST: $(cat) >> got";
    let bench = Bench::new(line, &["--handler-feed", "event"]);
    let text = b"an exception\n\tat a line\n";
    let metadata = ObjectMetadata {
        rows: Some("lines".to_owned()),
        length: text.len() as u64,
        crc32c: crc32c::crc32c(text),
        ..ours(CutKind::Events)
    };
    let put = PutOptions { metadata: metadata.to_pairs(), ..PutOptions::default() };
    bench.deliver_as(&delivery(Some(metadata)), text, &put).await.unwrap();
    assert_eq!(bench.found("got"), "none 1 none 0: an exception\nnone 1 none 1: at a line\n");
}

#[tokio::test]
async fn a_command_never_starts_for_an_object_that_turns_out_broken() {
    let bench = Bench::new("touch started", &[]);
    let gzip = PutOptions { content_encoding: Some("gzip".to_owned()), ..PutOptions::default() };
    let error = bench.deliver_as(&delivery(None), b"no gzip", &gzip).await.unwrap_err();
    assert!(matches!(error, HandlerError::Fetch(_)), "{error}");
    assert!(!bench.dir.path().join("started").exists());
}

#[tokio::test]
async fn events_that_were_set_aside_are_handed_over_only_if_asked_for() {
    let dead = delivery(Some(ours(CutKind::Dead)));
    for (flags, expected) in [(&[][..], ""), (&["--handler-set-aside", "deliver"], "dead\n")] {
        let bench = Bench::new("echo $SLUICEGATE_KIND > got", flags);
        bench.deliver_as(&dead, b"12345678", &PutOptions::default()).await.unwrap();
        assert_eq!(bench.found("got"), expected);
    }
}

#[test]
fn the_servers_own_settings_are_kept_from_the_command() {
    let inherited = ["SLUICEGATE_SERVER_NOTICES_SECRETS", "PATH", "AWS_REGION"].map(OsString::from);
    let given = vec![("SLUICEGATE_KEY".into(), "k".into())];
    let input = tempfile::tempfile().unwrap();
    let command = run::command(&command_config("env", &[]), given, input, inherited.into_iter()).unwrap();
    let variables: Vec<_> = command.as_std().get_envs().collect();
    assert_eq!(
        variables,
        [
            ("SLUICEGATE_KEY".as_ref(), Some("k".as_ref())),
            ("SLUICEGATE_SERVER_NOTICES_SECRETS".as_ref(), None)
        ]
    );
}

#[test]
fn a_limit_on_time_is_five_minutes_unless_told_otherwise() {
    assert_eq!(command_config("true", &[]).timeout, Duration::from_mins(5));
}
