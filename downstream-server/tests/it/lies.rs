//! A store that lies, through the whole server: every wrong answer to every request about an object. No lie makes an object
//! handled with wrong bytes, given up or gone; none that keeps it from being handled is silent; and once the truth is told
//! each object is handled once.

use std::sync::Arc;
use std::time::Duration;

use blob_store::{
    BlobStore, Body, Credentials, LyingStore, Operation, PutOptions, S3Options, S3Store, Wrong, lies,
};
use local_cloud::{CloudOptions, LocalCloud};
use serde_json::Value;
use tempfile::TempDir;

use crate::notices::metadata;
use crate::site::{Site, store};

/// How often each lie is told.
const TIMES: u64 = 2;

async fn connect(url: &str, patience: Duration) -> S3Store {
    let options = S3Options {
        endpoint: Some(url.to_owned()),
        path_style: true,
        credentials: Credentials::Static {
            access_key_id: "local".to_owned(),
            secret_access_key: "local-secret".to_owned(),
            session_token: None,
        },
        read_timeout: patience,
        operation_timeout: patience,
        ..S3Options::new("logs")
    };
    S3Store::connect(options).await.unwrap()
}

/// An object that the store is lied about.
struct Told {
    name: String,
    key: String,
    content: String,
    /// The answer was wrong, or not whole, so that it has to be asked again.
    fails: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_of_the_store_makes_an_object_handled_wrongly_or_given_up_and_none_is_silent() {
    let dir = TempDir::new().unwrap();
    let options = CloudOptions { sync: false, ..CloudOptions::new(dir.path().join("cloud")) };
    let cloud = LocalCloud::start(options).await.unwrap();
    cloud.create_bucket("logs").await.unwrap();
    let truth = connect(&cloud.s3_url(), Duration::from_secs(30)).await;
    let lying = LyingStore::before(&cloud.s3_url()).await.unwrap();
    let lied_to = connect(lying.url(), Duration::from_millis(500)).await;

    let mut objects = Vec::new();
    for (operation, lie) in [Operation::Get, Operation::Head]
        .into_iter()
        .flat_map(|o| lies(o).into_iter().map(move |lie| (o, lie)))
    {
        // An agent's object tells its checksum itself; of any other the store is asked for one.
        let kinds: &[bool] = if operation == Operation::Get { &[true, false] } else { &[false] };
        for ours in kinds {
            let number = objects.len() as u64 + 1;
            let name = format!(
                "{operation:?} answered by {:?}, {}",
                lie.name,
                if *ours { "ours" } else { "foreign" }
            );
            let (key, content) = if *ours {
                let metadata = metadata(number);
                let content = crate::notices::line(number);
                let key = format!("events/{}.txt", metadata.cut);
                let put = PutOptions {
                    metadata: metadata.to_pairs(),
                    crc32c: metadata.crc32c,
                    ..PutOptions::default()
                };
                truth.put_if_absent(&key, Body::from(content.clone().into_bytes()), &put).await.unwrap();
                (key, content)
            } else {
                let (key, content) = (format!("foreign/{number}.txt"), format!("a line of {number}\n"));
                store(&truth, &key, &content).await;
                (key, content)
            };
            // A body that breaks off is taken up where it ended, within the attempt; a head only tells a checksum.
            let fails =
                operation == Operation::Get && !matches!(lie.answer, Wrong::Late(_) | Wrong::Short(_));
            lying.tell(operation, &key, lie.clone(), TIMES);
            objects.push(Told { name, key, content, fails });
        }
    }

    let out = dir.path().join("out.ndjson");
    let flags = [
        "--handler-kind",
        "lines",
        "--handler-path",
        out.to_str().unwrap(),
        "--fetch-concurrency",
        "16",
        "--reconcile-interval",
        "off",
    ];
    let site = Site::start(&dir.path().join("server"), Arc::new(lied_to), None, &flags).await;
    for object in &objects {
        assert_eq!(site.notify(&object.key).await, 202);
    }
    site.eventually("every object has its end", async || {
        let totals = site.get("/v1/summary").await["totals"].clone();
        (totals["owed"] == 0 && totals["fetching"] == 0).then_some(())
    })
    .await;

    let rows = site.get("/v1/objects?limit=500").await["objects"].as_array().unwrap().clone();
    let row = |key: &str| rows.iter().find(|row| row["key"] == key).cloned().unwrap_or(Value::Null);
    for Told { name, key, fails, .. } in &objects {
        let row = row(key);
        assert_eq!(row["state"], "done", "{name}: {row}");
        let attempts = row["attempts"].as_u64().unwrap();
        assert!(!fails || attempts > TIMES, "{name} was believed: {row}");
    }
    let written = std::fs::read_to_string(&out).unwrap();
    let mut found: Vec<_> = written.split_inclusive('\n').collect();
    let mut expected: Vec<_> = objects.iter().map(|object| &*object.content).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(lying.told() > objects.len() as u64, "{} lies", lying.told());
    site.stop().await;
    cloud.shutdown().await;
}
