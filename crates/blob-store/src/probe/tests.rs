use super::*;
use crate::{Fault, FaultPlan, FaultyStore, MemoryStore};

const KEY: &str = "control/probe";

fn denying(operations: &[Operation]) -> FaultyStore<MemoryStore> {
    let deny = |plan: FaultPlan, &operation: &Operation| {
        plan.script(operation, [Some(Fault::Before(ErrorKind::AccessDenied)); 2])
    };
    FaultyStore::new(MemoryStore::new("b"), operations.iter().fold(FaultPlan::default(), deny))
}

#[tokio::test]
async fn a_good_store_passes_and_passes_again() {
    let store = MemoryStore::new("b");
    for _ in 0..2 {
        let probe = probe(&store, KEY).await;
        assert_eq!(probe.failures().count(), 0, "{probe}");
        assert_eq!(probe.honours_conditions(), Some(true));
    }
    assert_eq!(store.contents().len(), 2);
    assert!(store.list_uploads("").await.unwrap().is_empty());
}

#[tokio::test]
async fn one_run_names_every_missing_permission_with_its_action_and_resource() {
    let store = denying(&[Operation::Check, Operation::Put, Operation::ListUploads, Operation::AbortUpload]);
    let text = probe(&store, KEY).await.to_string();
    let wanted = ["s3:ListBucket on arn:aws:s3:::b", "s3:PutObject on arn:aws:s3:::b/*"];
    for line in wanted.into_iter().chain(["s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload"]) {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn an_unreachable_store_is_asked_once() {
    let plan = FaultPlan::default().script(Operation::Check, [Some(Fault::Before(ErrorKind::Connection))]);
    let store = FaultyStore::new(MemoryStore::new("b"), plan);
    let probe = probe(&store, KEY).await;
    assert_eq!(probe.failures().map(|(step, _)| step).collect::<Vec<_>>(), [Step::Bucket]);
    assert_eq!(store.calls().len(), 1);
}

#[tokio::test]
async fn a_store_without_checksums_of_whole_uploads_is_told_what_to_set() {
    let plan = FaultPlan::default()
        .script(Operation::CompleteUpload, [Some(Fault::Before(ErrorKind::ChecksumMismatch))]);
    let store = FaultyStore::new(MemoryStore::new("b"), plan);
    let text = probe(&store, KEY).await.to_string();
    assert!(text.contains("try `composite`"), "{text}");
    assert!(store.list_uploads("").await.unwrap().is_empty());
}
