mod forms;
mod outsiders;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use blob_store::{BlobStore as _, Body, MemoryStore, PutOptions};
use contract::Notice;
use tempfile::TempDir;

use super::*;
use crate::fetch::FetchError;
use crate::inbox::{Claim, Finished, InboxError, Place, Report};
use crate::testing::{config, eventually, inbox};

/// A server's folder, its handler's file, and the store; without workers, so that a test can
/// stop between any two steps.
struct Bench {
    dir: TempDir,
    inbox: Arc<Inbox>,
    config: OutputConfig,
    handler: Ndjson,
    store: Arc<MemoryStore>,
}

/// The file that lines are appended to in most tests, and the setting of each.
fn output(file: &str, rotation: Rotation, form: Form) -> OutputConfig {
    OutputConfig { path: PathBuf::from(file), rotation, form, max_event_bytes: 1000 }
}

impl Bench {
    async fn new() -> Self {
        Self::rotating(Rotation::default()).await
    }

    async fn rotating(rotation: Rotation) -> Self {
        let store = Arc::new(MemoryStore::new("logs"));
        Self::again(TempDir::new().unwrap(), store, output("out.ndjson", rotation, Form::Lines))
            .await
            .unwrap()
    }

    async fn over(dir: TempDir, store: Arc<MemoryStore>) -> Result<Self, OutputError> {
        Self::again(dir, store, output("out.ndjson", Rotation::default(), Form::Lines)).await
    }

    async fn again(dir: TempDir, store: Arc<MemoryStore>, config: OutputConfig) -> Result<Self, OutputError> {
        let inbox = Arc::new(inbox(&dir));
        let here = OutputConfig { path: dir.path().join(&config.path), ..config.clone() };
        let handler = Ndjson::open(&here, &inbox).await?;
        Ok(Self { dir, inbox, config, handler, store })
    }

    async fn reopen(self) -> Self {
        let form = self.config.form;
        self.reopen_as(form).await
    }

    async fn reopen_as(self, form: Form) -> Self {
        let Self { dir, inbox, config, handler, store } = self;
        drop(handler);
        inbox.close();
        Self::again(dir, store, OutputConfig { form, ..config }).await.unwrap()
    }

    /// What a power cut at this moment would leave: the files as they are on the disk, in
    /// another folder.
    async fn crash(&self) -> Self {
        let copy = TempDir::new().unwrap();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name();
            // The shared-memory file is rebuilt from the log.
            if name.to_str().is_some_and(|name| !name.ends_with("-shm")) {
                fs::copy(self.dir.path().join(&name), copy.path().join(&name)).unwrap();
            }
        }
        Self::again(copy, self.store.clone(), self.config.clone()).await.unwrap()
    }

    async fn arrive(&self, key: &str, content: &str) {
        let put = PutOptions { crc32c: crc32c::crc32c(content.as_bytes()), ..PutOptions::default() };
        self.store.put_if_absent(key, Body::from(content.as_bytes().to_vec()), &put).await.unwrap();
        self.inbox.put(Notice::new("logs", key), key.to_owned(), 0).await.unwrap();
    }

    async fn claim(&self) -> Option<Claim> {
        self.inbox.claim(1, 1_000).await.unwrap().claims.pop()
    }

    async fn open(&self, claim: &Claim) -> Content {
        let limits = config(&["--fetch-read-ahead-bytes", "8"]).fetch;
        Content::open(self.store.clone(), &claim.places[0], &limits).await.unwrap()
    }

    async fn handle(&self, claim: &Claim, content: &mut Content) -> Result<Box<dyn Effect>, HandlerError> {
        let Place { bucket, key, .. } = claim.places[0].clone();
        let delivery = Delivery {
            id: claim.identity.clone(),
            attempt: claim.attempt,
            notice_id: claim.notice_id.clone(),
            bucket,
            key,
            version_id: None,
            metadata: content.metadata().cloned(),
        };
        self.handler.handle(&delivery, content).await
    }

    async fn finish(
        &self,
        claim: &Claim,
        content: &Content,
        effect: Box<dyn Effect>,
    ) -> Result<Finished, InboxError> {
        self.inbox.finish(claim, Report::of(content, 1_000), effect).await
    }

    /// Works off all that is owed.
    async fn drain(&self) {
        while let Some(claim) = self.claim().await {
            let mut content = self.open(&claim).await;
            let effect = self.handle(&claim, &mut content).await.unwrap();
            self.finish(&claim, &content, effect).await.unwrap();
        }
    }

    /// The files, in the order of their numbers.
    fn files(&self) -> Vec<(String, String)> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> =
            names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".ndjson")).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        let read = |name: String| {
            let bytes = fs::read(self.dir.path().join(&name)).unwrap();
            (name, String::from_utf8_lossy(&bytes).into_owned())
        };
        names.into_iter().map(read).collect()
    }

    fn written(&self) -> String {
        fs::read_to_string(self.dir.path().join("out.ndjson")).unwrap()
    }
}

#[tokio::test]
async fn lines_are_written_byte_for_byte_and_a_missing_last_newline_is_added() {
    let bench = Bench::new().await;
    bench.arrive("a", "{\"n\": 1}\r\n\n\tsecond \u{1f30a}\n").await;
    bench.arrive("b", "no newline").await;
    bench.arrive("c", "").await;
    bench.arrive("d", "last\n").await;
    bench.drain().await;
    assert_eq!(bench.written(), "{\"n\": 1}\r\n\n\tsecond \u{1f30a}\nno newline\nlast\n");
}

#[tokio::test]
async fn whenever_the_server_dies_each_object_is_in_the_file_once_after_the_restart() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\na2\n").await;
    bench.arrive("b", "b1\nb2\n").await;
    let everything = "a1\na2\nb1\nb2\n";

    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let crashed = bench.crash().await;
    crashed.drain().await;
    assert_eq!(crashed.written(), everything, "died before the object");

    let effect = bench.handle(&claim, &mut content).await.unwrap();
    assert_eq!(bench.written(), "a1\na2\n");
    let crashed = bench.crash().await;
    assert_eq!(crashed.written(), "", "lines that were never committed are cut off at start");
    crashed.drain().await;
    assert_eq!(crashed.written(), everything, "died after the file's sync and before the commit");

    bench.finish(&claim, &content, effect).await.unwrap();
    let crashed = bench.crash().await;
    assert_eq!(crashed.written(), "a1\na2\n");
    crashed.drain().await;
    assert_eq!(crashed.written(), everything, "died after the commit");

    let bench = bench.reopen().await;
    bench.drain().await;
    assert_eq!(bench.written(), everything, "stopped in order");
}

#[tokio::test]
async fn an_object_that_turns_out_broken_or_cancelled_leaves_nothing_behind() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    let broken = PutOptions {
        content_encoding: Some("gzip".to_owned()),
        crc32c: crc32c::crc32c(b"no gzip"),
        ..PutOptions::default()
    };
    bench.store.put_if_absent("b", Body::from(b"no gzip".to_vec()), &broken).await.unwrap();
    bench.inbox.put(Notice::new("logs", "b"), "b".to_owned(), 0).await.unwrap();
    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let Err(HandlerError::Fetch(FetchError::Decode(_))) = bench.handle(&claim, &mut content).await else {
        panic!("broken gzip was taken");
    };
    assert_eq!(bench.written(), "a1\n");

    bench.arrive("c", "c1\n").await;
    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let effect = bench.handle(&claim, &mut content).await.unwrap();
    assert_eq!(bench.written(), "a1\nc1\n");
    drop(effect);
    assert_eq!(bench.written(), "a1\n");
}

#[tokio::test]
async fn a_repeat_that_only_the_fetch_could_tell_is_taken_back() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    bench.inbox.put(Notice::new("logs", "a"), "again".to_owned(), 0).await.unwrap();
    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let effect = bench.handle(&claim, &mut content).await.unwrap();
    assert_eq!(bench.finish(&claim, &content, effect).await.unwrap(), Finished::Repeat);
    assert_eq!(bench.written(), "a1\n");
}

#[tokio::test]
async fn a_file_that_lost_committed_lines_stops_the_start() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    let Bench { dir, inbox, handler, store, .. } = bench;
    drop((inbox, handler));
    fs::write(dir.path().join("out.ndjson"), "a").unwrap();
    let error = Bench::over(dir, store).await.err().expect("the start was stopped").to_string();
    assert!(error.contains("holds 1 bytes, and 3 are committed"), "{error}");
}

#[tokio::test]
async fn a_folder_that_was_moved_with_its_file_goes_on() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    bench.arrive("b", "b1\n").await;
    let Bench { dir, inbox, handler, store, .. } = bench;
    drop((inbox, handler));
    let elsewhere = TempDir::new().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), elsewhere.path().join(entry.file_name())).unwrap();
    }
    let moved = Bench::over(elsewhere, store).await.unwrap();
    assert_eq!(moved.written(), "a1\n");
    moved.drain().await;
    assert_eq!(moved.written(), "a1\nb1\n");
}

#[tokio::test]
async fn a_file_that_the_inbox_does_not_know_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    let inbox = Arc::new(inbox(&dir));
    let path = elsewhere.path().join("out.ndjson");
    fs::write(&path, "theirs\n").unwrap();
    let config = OutputConfig { path: path.clone(), ..output("", Rotation::default(), Form::Lines) };
    // The second start must not take the first one's question for an answer.
    for _ in 0..2 {
        let error = Ndjson::open(&config, &inbox).await.unwrap_err();
        assert!(matches!(error, OutputError::NotOurs { found: 7, .. }), "{error}");
        assert_eq!(crate::RunError::from(error).exit_code(), contract::exit::DATA);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs\n");
    }
    fs::remove_file(&path).unwrap();
    Ndjson::open(&config, &inbox).await.unwrap();
}

#[tokio::test]
async fn after_a_commit_of_unknown_outcome_no_turn_touches_the_file_before_a_restart() {
    let bench = Bench::new().await;
    bench.arrive("a", "a1\n").await;
    bench.arrive("b", "b1\n").await;
    let (first, second) = (bench.claim().await.unwrap(), bench.claim().await.unwrap());
    let mut content = bench.open(&first).await;
    let effect = bench.handle(&first, &mut content).await.unwrap();
    let mut content = bench.open(&second).await;
    // The second object waits for its turn while the first one's outcome becomes unknown.
    let (refused, ()) =
        tokio::join!(bench.handle(&second, &mut content), async { effect.settle(Outcome::Unknown) });
    assert!(matches!(refused, Err(HandlerError::Later { .. })));
    drop(refused);
    assert_eq!(bench.written(), "a1\n");
    let bench = bench.reopen().await;
    bench.drain().await;
    assert_eq!(bench.written(), "a1\nb1\n", "the restart found out that nothing was committed");
}

fn files(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[tokio::test]
async fn a_full_file_is_left_for_the_next_one_and_whenever_the_server_dies_each_line_is_in_one_of_them() {
    let bench = Bench::rotating(Rotation { bytes: Some(4), age: None }).await;
    for (key, text) in [("a", "a1\na2\n"), ("b", "b1\n"), ("c", "c1\n"), ("d", "d1\n")] {
        bench.arrive(key, text).await;
    }
    let everything = files(&[
        ("out.ndjson", "a1\na2\n"),
        ("out-000001.ndjson", "b1\nc1\n"),
        ("out-000002.ndjson", "d1\n"),
    ]);
    let first = bench.claim().await.unwrap();
    let mut content = bench.open(&first).await;
    let effect = bench.handle(&first, &mut content).await.unwrap();
    bench.finish(&first, &content, effect).await.unwrap();

    // Died after the next file was made, and before its number was committed.
    let made = bench.dir.path().join("out-000001.ndjson");
    fs::write(&made, "").unwrap();
    let crashed = bench.crash().await;
    assert_eq!(crashed.files(), files(&[("out.ndjson", "a1\na2\n"), ("out-000001.ndjson", "")]));
    crashed.drain().await;
    assert_eq!(crashed.files(), everything);
    fs::remove_file(made).unwrap();

    // Died after the number was committed and with lines that were not.
    let second = bench.claim().await.unwrap();
    let mut content = bench.open(&second).await;
    let effect = bench.handle(&second, &mut content).await.unwrap();
    let crashed = bench.crash().await;
    assert_eq!(crashed.files(), files(&[("out.ndjson", "a1\na2\n"), ("out-000001.ndjson", "")]));
    crashed.drain().await;
    assert_eq!(crashed.files(), everything);

    bench.finish(&second, &content, effect).await.unwrap();
    let bench = bench.crash().await.reopen().await;
    bench.drain().await;
    assert_eq!(bench.files(), everything);
}

#[tokio::test]
async fn a_file_with_a_successor_is_its_readers_to_take_and_a_strange_next_file_is_left_as_it_is() {
    let bench = Bench::rotating(Rotation { bytes: Some(1), age: None }).await;
    bench.arrive("a", "a1\n").await;
    bench.arrive("b", "b1\n").await;
    bench.drain().await;
    fs::remove_file(bench.dir.path().join("out.ndjson")).unwrap();
    let bench = bench.reopen().await;
    let strange = bench.dir.path().join("out-000002.ndjson");
    fs::write(&strange, "theirs\n").unwrap();
    bench.arrive("c", "c1\n").await;
    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let Err(HandlerError::Later { source, .. }) = bench.handle(&claim, &mut content).await else {
        panic!("somebody else's file was written to");
    };
    assert!(source.to_string().contains("move it away"), "{source}");
    assert_eq!(fs::read_to_string(&strange).unwrap(), "theirs\n");
    fs::remove_file(strange).unwrap();
    let effect = bench.handle(&claim, &mut content).await.unwrap();
    bench.finish(&claim, &content, effect).await.unwrap();
    assert_eq!(bench.files(), files(&[("out-000001.ndjson", "b1\n"), ("out-000002.ndjson", "c1\n")]));
}

#[tokio::test]
async fn an_old_file_is_left_while_nothing_arrives_and_an_empty_one_stays() {
    let bench = Bench::rotating(Rotation { bytes: None, age: Some(Duration::from_millis(50)) }).await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    let expected = files(&[("out.ndjson", "a1\n"), ("out-000001.ndjson", "")]);
    eventually("the old file was left", async || bench.files() == expected).await;
    let bench = bench.reopen().await;
    bench.arrive("b", "b1\n").await;
    bench.drain().await;
    assert_eq!(
        bench.files()[1],
        ("out-000001.ndjson".to_owned(), "b1\n".to_owned()),
        "it was empty till now"
    );
}
