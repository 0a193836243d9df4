//! Listings of a store that lies.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lie_about_a_listing_hides_an_object_from_it_and_none_is_silent() {
    let cloud = Cloud::new().await;
    let lying = blob_store::LyingStore::before(&cloud.server.s3_url()).await.unwrap();
    let patience = Duration::from_millis(500);
    let options =
        S3Options { read_timeout: patience, operation_timeout: patience, ..at(lying.url().to_owned()) };
    let bench = Bench::over(
        Arc::new(S3Store::connect(options).await.unwrap()),
        &flags(&["--reconcile-interval", "off"]),
    );
    let lies = blob_store::lies(Operation::List);
    for (number, lie) in lies.iter().enumerate() {
        put(&*cloud.store, &our_key(number as u64 + 1)).await;
        let errors = bench.site.app.metrics.reconcile_errors.get();
        lying.tell(Operation::List, "", lie.clone(), 2);
        bench.inbox().ask_listing("logs", "", now_ms()).await.unwrap();
        bench.round().await;
        let listing = bench.inbox().listings().await.unwrap().remove(0);
        let told = bench.site.app.metrics.reconcile_errors.get() > errors;
        let is_true = matches!(lie.answer, blob_store::Wrong::Late(_));
        assert_eq!(
            told,
            !is_true && listing.last_error.is_some(),
            "{:?}: {:?}",
            lie.name,
            listing.last_error
        );
        // The truth again.
        lying.repent();
        bench.inbox().ask_listing("logs", "", now_ms()).await.unwrap();
        bench.round().await;
        let found = bench.rows().await.len();
        assert_eq!(found, number + 1, "after {:?}", lie.name);
    }
    assert!(lying.told() > lies.len() as u64);
}
