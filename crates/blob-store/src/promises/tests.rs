use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::{Fault, FaultPlan, FaultyStore, Lacks, MemoryStore, Operation};

const KEY: &str = "_control/check";

#[tokio::test]
async fn what_a_store_lacks_is_found_and_found_again() {
    for bits in 0..16_u8 {
        let lacks = Lacks {
            conditions: bits & 1 > 0,
            whole_checksums: bits & 2 > 0,
            right_checksums: bits & 4 > 0,
            condition_header: bits & 8 > 0,
        };
        let store = MemoryStore::new("bucket").lacking(lacks);
        for _ in 0..2 {
            let found = promises(&store, KEY, &Once).await.unwrap();
            let conditions = !lacks.conditions && !lacks.condition_header;
            assert_eq!(
                (found.conditions, found.whole_checksums),
                (conditions, !lacks.whole_checksums),
                "{lacks:?}"
            );
            // Without a checksum of the whole a head gives none, and none is not wrong.
            let right = !lacks.right_checksums || lacks.whole_checksums;
            assert_eq!(found.right_checksums, right, "{lacks:?}");
        }
        assert_eq!(store.list_uploads("").await.unwrap(), []);
    }
}

/// Waits for nothing, and counts.
#[derive(Default)]
struct Counting(AtomicU32);

#[async_trait]
impl Patience for Counting {
    async fn wait(&self, _: &StoreError, failures: u32) -> bool {
        self.0.fetch_max(failures, Ordering::Relaxed);
        true
    }
}

#[tokio::test]
async fn each_request_is_sent_again_by_itself_and_what_is_learned_is_the_same() {
    for lacks in [Lacks::default(), Lacks { whole_checksums: true, ..Lacks::default() }] {
        let right = promises(&MemoryStore::new("bucket").lacking(lacks), KEY, &Once).await.unwrap();
        let asked = FaultyStore::new(MemoryStore::new("bucket").lacking(lacks), FaultPlan::default());
        promises(&asked, KEY, &Once).await.unwrap();
        let needed = asked.calls().len();
        for seed in 0..200 {
            let plan = FaultPlan::default().random(seed, 0.3);
            let store = FaultyStore::new(MemoryStore::new("bucket").lacking(lacks), plan);
            let patience = Counting::default();
            let found = promises(&store, KEY, &patience).await.unwrap();
            assert_eq!(found, right, "seed {seed}");
            // Nothing begins again: there are as many requests as are needed, and one more a failure.
            let most = needed as u64 + 2 * store.injected() + 4;
            assert!(store.calls().len() as u64 <= most, "seed {seed}: {} of {most}", store.calls().len());
            assert!(patience.0.into_inner() <= 8, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn uploads_that_were_left_when_an_earlier_time_was_killed_are_aborted_and_no_others() {
    let store = MemoryStore::new("bucket");
    let put = PutOptions::default();
    for key in ["_control/check-whole", "_control/check-parts", "_control/other"] {
        store.create_upload(key, &put).await.unwrap();
    }
    promises(&store, KEY, &Once).await.unwrap();
    let left = store.list_uploads("").await.unwrap();
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["_control/other"]);
}

#[tokio::test]
async fn one_put_that_is_taken_twice_costs_no_promise() {
    let store = FaultyStore::new(MemoryStore::new("bucket"), FaultPlan::default());
    // The first answer says stored, and nothing is.
    store.set_plan(FaultPlan::default().script(Operation::Put, [Some(Fault::Forget)]));
    assert_eq!(promises(&store, KEY, &Once).await.unwrap(), Promises::ALL);
}
