use bytes::Bytes;

use super::*;
use crate::MemoryStore;

fn options(bytes: &[u8]) -> PutOptions {
    PutOptions { crc32c: crc32c::crc32c(bytes), conditional: true, ..PutOptions::default() }
}

async fn put(store: &FaultyStore<MemoryStore>, key: &str) -> Result<(), ErrorKind> {
    let put = store.put_if_absent(key, Body::from(Bytes::from_static(b"x")), &options(b"x")).await;
    put.map(drop).map_err(|error| error.kind)
}

fn faulty(plan: FaultPlan) -> FaultyStore<MemoryStore> {
    FaultyStore::new(MemoryStore::new("b"), plan)
}

#[tokio::test]
async fn a_fault_before_stores_nothing_and_a_fault_after_stores_all() {
    let faults = [
        Some(Fault::Before(ErrorKind::Timeout)),
        None,
        Some(Fault::After(ErrorKind::Timeout)),
        Some(Fault::After(ErrorKind::Timeout)),
    ];
    let store = faulty(FaultPlan::default().script(Operation::Put, faults));
    assert_eq!(put(&store, "a").await, Err(ErrorKind::Timeout));
    assert!(store.inner().contents().is_empty());
    assert_eq!(put(&store, "a").await, Ok(()));
    assert_eq!(put(&store, "b").await, Err(ErrorKind::Timeout));
    assert_eq!(store.inner().contents().len(), 2);
    // The answer that is lost to the last fault is a refusal, and a refusal is not lost.
    assert_eq!(put(&store, "b").await, Err(ErrorKind::PreconditionFailed));
    assert_eq!((store.injected(), store.calls().len()), (3, 4));
}

#[tokio::test]
async fn a_get_breaks_off_within_its_bytes() {
    let plan = FaultPlan::default().script(Operation::Get, [Some(Fault::After(ErrorKind::Connection))]);
    let store = faulty(plan);
    put(&store, "a").await.unwrap();
    let object = store.get("a", None, None).await.unwrap();
    assert!(Body::from_stream(1, object.body).collect().await.is_err());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
    let outcomes = async |seed| {
        let store = faulty(FaultPlan::default().random(seed, 0.3));
        let mut outcomes = Vec::new();
        for n in 0..200 {
            outcomes.push(put(&store, &n.to_string()).await);
        }
        (outcomes, store.injected())
    };
    let (one, injected) = outcomes(1).await;
    assert_eq!(one, outcomes(1).await.0);
    assert_ne!(one, outcomes(2).await.0);
    assert!((30..90).contains(&injected), "{injected} of 200");
}
