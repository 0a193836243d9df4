//! The two forms of a file, and what becomes of a file that was begun in the other one.

use super::*;
use crate::testing::metadata_of;

const FULL: Rotation = Rotation { bytes: Some(1), age: None };

/// What the objects of these tests hold, and what they are in each form.
const OBJECT: &str = "plain\n{\"n\": 1}\r\n\n\"said\"\nlast";

fn written_as(form: Form) -> &'static str {
    match form {
        Form::Lines => "plain\n{\"n\": 1}\r\n\n\"said\"\nlast\n",
        Form::Json => "\"plain\"\n{\"n\": 1}\n\"\"\n\"said\"\n\"last\"\n",
    }
}

async fn of_form(form: Form, rotation: Rotation) -> Bench {
    let store = Arc::new(MemoryStore::new("logs"));
    Bench::again(TempDir::new().unwrap(), store, output("out.ndjson", rotation, form)).await.unwrap()
}

/// A server's folder as a server of inbox version 3 left it: its `ndjson` handler has committed
/// 377 bytes of lines. And the text of its file.
async fn of_before(form: Form, rotation: Rotation) -> (Bench, String) {
    let dir = TempDir::new().unwrap();
    for name in ["inbox.sqlite", "events.ndjson"] {
        fs::copy(format!("tests/fixtures/v3/{name}"), dir.path().join(name)).unwrap();
    }
    let store = Arc::new(MemoryStore::new("logs"));
    let bench = Bench::again(dir, store, output("events.ndjson", rotation, form)).await.unwrap();
    let before = bench.files().remove(0).1;
    assert!(before.contains("\n  \"pretty\": {\n"), "its events are divided: {before}");
    (bench, before)
}

#[tokio::test]
async fn each_event_is_one_line_of_json_in_the_ndjson_file_and_itself_in_the_lines_file() {
    for form in [Form::Json, Form::Lines] {
        let bench = of_form(form, Rotation::default()).await;
        assert_eq!(bench.handler.name(), form.kind());
        bench.arrive("a", OBJECT).await;
        bench.arrive("b", "").await;
        bench.drain().await;
        assert_eq!(bench.written(), written_as(form));
    }
}

#[tokio::test]
async fn a_file_of_a_server_of_before_goes_on_in_lines_until_it_rotates_and_no_file_holds_both_forms() {
    // Not full yet: it goes on, whatever is asked for.
    for form in [Form::Json, Form::Lines] {
        let (bench, before) = of_before(form, Rotation::default()).await;
        bench.arrive("a", OBJECT).await;
        bench.drain().await;
        let bench = bench.reopen().await;
        assert_eq!(bench.files(), files(&[("events.ndjson", &(before + written_as(Form::Lines)))]));
    }
    // Full: the next file is JSON, whenever the server dies.
    let (bench, before) = of_before(Form::Json, FULL).await;
    bench.arrive("a", OBJECT).await;
    let everything = files(&[("events.ndjson", &before), ("events-000001.ndjson", written_as(Form::Json))]);
    let next = bench.dir.path().join("events-000001.ndjson");
    fs::write(&next, "").unwrap();
    let crashed = bench.crash().await;
    crashed.drain().await;
    assert_eq!(crashed.files(), everything, "died after the next file was made");
    fs::remove_file(next).unwrap();

    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let effect = bench.handle(&claim, &mut content).await.unwrap();
    assert_eq!(bench.files(), everything, "before the commit");
    for form in [Form::Json, Form::Lines] {
        // The next file was begun, and holds nothing that counts.
        let crashed = bench.crash().await.reopen_as(form).await;
        crashed.drain().await;
        let expected = [("events.ndjson", &*before), ("events-000001.ndjson", written_as(form))];
        assert_eq!(crashed.files(), files(&expected), "died before the commit");
    }
    bench.finish(&claim, &content, effect).await.unwrap();
    let bench = bench.crash().await.reopen_as(Form::Lines).await;
    bench.drain().await;
    assert_eq!(bench.files(), everything, "died after the commit");
}

#[tokio::test]
async fn a_file_that_holds_nothing_takes_the_form_that_is_asked_for_and_any_other_keeps_its_own() {
    for [first, second] in [[Form::Lines, Form::Json], [Form::Json, Form::Lines]] {
        let bench = of_form(first, Rotation::default()).await;
        bench.arrive("a", OBJECT).await;
        let claim = bench.claim().await.unwrap();
        let mut content = bench.open(&claim).await;
        let effect = bench.handle(&claim, &mut content).await.unwrap();
        // Died with bytes in the file that do not count.
        let crashed = bench.crash().await.reopen_as(second).await;
        crashed.drain().await;
        assert_eq!(crashed.written(), written_as(second));

        bench.finish(&claim, &content, effect).await.unwrap();
        let bench = bench.crash().await.reopen_as(second).await;
        bench.arrive("b", OBJECT).await;
        bench.drain().await;
        assert_eq!(bench.written(), written_as(first).repeat(2));
        let bench = bench.reopen().await;
        assert_eq!(bench.written(), written_as(first).repeat(2));
    }
}

#[tokio::test]
async fn an_event_beyond_the_limit_is_a_dead_letter_that_names_the_limit_and_leaves_nothing_behind() {
    let bench = of_form(Form::Json, Rotation::default()).await;
    let long = format!("short\n{}\n", "x".repeat(1001));
    bench.arrive("a", &long).await;
    let claim = bench.claim().await.unwrap();
    let mut content = bench.open(&claim).await;
    let Err(HandlerError::Never(error)) = bench.handle(&claim, &mut content).await else {
        panic!("it was taken");
    };
    assert_eq!(
        error.to_string(),
        "event 1 of the object, counted from 0, is larger than handler.max_event_bytes, which is 1000; \
         raise it and replay the object"
    );
    assert_eq!(bench.written(), "");
    // As it is in the object it has no limit.
    let bench = of_form(Form::Lines, Rotation::default()).await;
    bench.arrive("a", &long).await;
    bench.drain().await;
    assert_eq!(bench.written(), long);
}

#[tokio::test]
async fn a_form_that_only_a_later_server_knows_is_refused_and_the_file_left_as_it_is() {
    let bench = of_form(Form::Json, Rotation::default()).await;
    bench.arrive("a", "a1\n").await;
    bench.drain().await;
    let later = crate::inbox::Output { length: 5, form: 3 };
    bench.inbox.set_outputs(vec![("ndjson out.ndjson".to_owned(), Some(later))]).await.unwrap();
    let Bench { dir, inbox, config, handler, store } = bench;
    drop(handler);
    inbox.close();
    let file = dir.path().join("out.ndjson");
    let config = OutputConfig { path: file.clone(), ..config };
    let inbox = Arc::new(super::inbox(&dir));
    let error = Ndjson::open(&config, &inbox).await.expect_err("a later server's file");
    assert!(error.to_string().contains("form 3, which this server does not know"), "{error}");
    assert_eq!(crate::RunError::from(error).exit_code(), contract::exit::DATA);
    assert_eq!(fs::read_to_string(file).unwrap(), "\"a1\"\n");
    drop(store);
}

#[tokio::test]
async fn an_object_of_a_format_to_come_is_no_lines_and_its_reason_says_what_to_do() {
    for form in [Form::Json, Form::Lines] {
        let bench = of_form(form, Rotation::default()).await;
        let content = b"PAR1\nsomething";
        let metadata = contract::ObjectMetadata {
            format: "parquet".to_owned(),
            rows: Some("events".to_owned()),
            length: content.len() as u64,
            crc32c: crc32c::crc32c(content),
            ..metadata_of(1)
        };
        let key = format!("events/{}.parquet", metadata.cut);
        let put =
            PutOptions { metadata: metadata.to_pairs(), crc32c: metadata.crc32c, ..PutOptions::default() };
        bench.store.put_if_absent(&key, Body::from(content.to_vec()), &put).await.unwrap();
        bench.inbox.put(Notice::new("logs", &key), key.clone(), 0).await.unwrap();
        let claim = bench.claim().await.unwrap();
        let mut content = bench.open(&claim).await;
        let Err(HandlerError::Fetch(error)) = bench.handle(&claim, &mut content).await else {
            panic!("it was taken");
        };
        assert_eq!(
            error.to_string(),
            "the object is of parquet/1, which this server cannot take apart: replay it with a newer one"
        );
        assert_eq!(bench.written(), "");
    }
}
