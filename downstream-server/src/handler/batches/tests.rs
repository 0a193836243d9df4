use std::sync::Arc;

use blob_store::{BlobStore as _, Body, MemoryStore, PutOptions};
use proptest::prelude::*;

use super::*;
use crate::inbox::Place;
use crate::testing::config;

async fn content(text: &[u8]) -> Content {
    let store = Arc::new(MemoryStore::new("logs"));
    let put = PutOptions { crc32c: crc32c::crc32c(text), ..PutOptions::default() };
    store.put_if_absent("k", Body::from(text.to_vec()), &put).await.unwrap();
    let place = Place { bucket: "logs".to_owned(), key: "k".to_owned(), version_id: None };
    Content::open(store, &place, &config(&["--fetch-read-ahead-bytes", "1"]).fetch).await.unwrap()
}

async fn batches(text: &[u8], limits: BatchLimits) -> Result<Vec<Batch>, HandlerError> {
    let mut content = content(text).await;
    let mut batches = Batches::new(&mut content, limits)?;
    let mut all = Vec::new();
    while let Some(batch) = batches.next().await? {
        all.push(batch);
    }
    Ok(all)
}

fn limits(events: usize, bytes: usize) -> BatchLimits {
    BatchLimits { events, bytes, event_bytes: 100 }
}

proptest! {
    #[test]
    fn batches_are_the_objects_lines_in_order_within_their_limits(
        lines in proptest::collection::vec("[a-z]{0,9}", 0..40),
        ends in any::<bool>(),
        events in 1_usize..8,
        bytes in 1_usize..40,
    ) {
        let mut text = lines.join("\n");
        if ends && !lines.is_empty() {
            text.push('\n');
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let all = runtime.block_on(batches(text.as_bytes(), limits(events, bytes))).unwrap();
        let joined: Vec<u8> = all.iter().flat_map(|batch| batch.bytes.to_vec()).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        prop_assert_eq!(joined, text.as_bytes());
        let mut first = 0;
        for (number, batch) in all.iter().enumerate() {
            let count = memchr::memchr_iter(b'\n', &batch.bytes).count();
            prop_assert_eq!(batch.count, count as u64);
            prop_assert_eq!(batch.first, first);
            prop_assert_eq!(batch.is_last, number + 1 == all.len());
            prop_assert!(count == 1 || (count <= events && batch.bytes.len() <= bytes));
            first = batch.end();
        }
    }
}

#[tokio::test]
async fn an_event_beyond_the_limit_is_named_and_never_held_in_memory() {
    let text = format!("short\n{}", "x".repeat(1 << 20));
    let Err(HandlerError::Never(error)) = batches(text.as_bytes(), limits(10, 1000)).await else {
        panic!("it was taken");
    };
    assert_eq!(
        error.to_string(),
        "event 1 of the object, counted from 0, is larger than handler.max_event_bytes, which is 100; raise it and \
         replay the object"
    );
}
