use super::*;
use crate::{Fault, FaultPlan, FaultyStore, Lacks, MemoryStore};

const KEY: &str = "control/probe";
const ALL: Wanted = Wanted { conditional: Some(true), composite: Some(false) };

fn denying(operations: &[Operation]) -> FaultyStore<MemoryStore> {
    let deny = |plan: FaultPlan, &operation: &Operation| {
        plan.script(operation, [Some(Fault::Before(ErrorKind::AccessDenied)); 4])
    };
    FaultyStore::new(MemoryStore::new("b"), operations.iter().fold(FaultPlan::default(), deny))
}

#[tokio::test]
async fn a_good_store_passes_and_passes_again_and_nothing_stays() {
    let store = MemoryStore::new("b");
    for _ in 0..2 {
        let probe = probe(&store, KEY, ALL).await;
        assert_eq!(probe.failures().count(), 0, "{probe}");
        assert_eq!(probe.honours_conditions(), Some(true));
    }
    assert!(store.contents().is_empty());
    assert!(store.list_uploads("").await.unwrap().is_empty());
}

#[tokio::test]
async fn where_nothing_may_be_removed_that_is_said_and_the_next_run_passes_too() {
    let store = denying(&[Operation::Discard]);
    for _ in 0..2 {
        let probe = probe(&store, KEY, ALL).await;
        assert_eq!(probe.failures().count(), 0, "{probe}");
        assert_eq!(store.inner().contents().len(), 2);
        assert!(probe.to_string().contains("small objects stay at control/probe*"), "{probe}");
    }
}

#[tokio::test]
async fn one_run_names_every_missing_permission_with_its_action_and_resource() {
    let operations =
        [Operation::Check, Operation::List, Operation::Put, Operation::ListUploads, Operation::AbortUpload];
    let text = probe(&denying(&operations), KEY, ALL).await.to_string();
    let wanted = ["s3:ListBucket on arn:aws:s3:::b", "s3:PutObject on arn:aws:s3:::b/*"];
    for line in wanted.into_iter().chain(["s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload"]) {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
}

#[tokio::test]
async fn an_unreachable_store_is_asked_once() {
    let plan = FaultPlan::default().script(Operation::Check, [Some(Fault::Before(ErrorKind::Connection))]);
    let store = FaultyStore::new(MemoryStore::new("b"), plan);
    let probe = probe(&store, KEY, ALL).await;
    assert_eq!(probe.failures().map(|(step, _)| step).collect::<Vec<_>>(), [Step::Bucket]);
    assert_eq!(store.calls().len(), 1);
}

#[tokio::test]
async fn a_bucket_whose_head_says_no_without_a_word_is_asked_in_a_way_that_gets_one() {
    let plan = FaultPlan::default()
        .script(Operation::Check, [Some(Fault::Before(ErrorKind::Rejected))])
        .script(Operation::List, [Some(Fault::Before(ErrorKind::CredentialsExpired))]);
    let probe = probe(&FaultyStore::new(MemoryStore::new("b"), plan), KEY, ALL).await;
    let (_, error) = probe.failures().next().unwrap();
    assert_eq!(error.kind, ErrorKind::CredentialsExpired);
    assert!(probe.to_string().contains("renew the credentials"), "{probe}");
}

#[tokio::test]
async fn a_store_without_checksums_of_whole_uploads_is_told_what_to_set() {
    let plan = FaultPlan::default()
        .script(Operation::CompleteUpload, [Some(Fault::Before(ErrorKind::ChecksumMismatch))]);
    let store = FaultyStore::new(MemoryStore::new("b"), plan);
    let text = probe(&store, KEY, ALL).await.to_string();
    assert!(text.contains("try `composite`"), "{text}");
    assert!(store.list_uploads("").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_store_lacks_fails_where_it_is_wanted_and_is_lived_with_where_it_is_not() {
    let (ignores, refuses) = (
        Lacks { conditions: true, ..Lacks::default() },
        Lacks { condition_header: true, ..Lacks::default() },
    );
    let parts_only = Lacks { whole_checksums: true, ..Lacks::default() };
    let none = Wanted::default();
    for (lacks, wanted, failed, weaker) in [
        (ignores, none, vec![], vec![Step::ConditionalPut]),
        (refuses, none, vec![], vec![Step::ConditionalPut]),
        (parts_only, none, vec![], vec![Step::CompleteUpload]),
        (ignores, ALL, vec![Step::ConditionalPut], vec![]),
        (refuses, ALL, vec![Step::Put, Step::CompleteUpload], vec![]),
        (parts_only, ALL, vec![Step::CompleteUpload], vec![]),
        (ignores, Wanted { conditional: Some(false), ..none }, vec![], vec![]),
        (refuses, Wanted { conditional: Some(false), ..none }, vec![], vec![]),
        (parts_only, Wanted { composite: Some(true), ..none }, vec![], vec![]),
    ] {
        let store = MemoryStore::new("b").lacking(lacks);
        let probe = probe(&store, KEY, wanted).await;
        assert_eq!(
            probe.failures().map(|(step, _)| step).collect::<Vec<_>>(),
            failed,
            "{lacks:?} {wanted:?}\n{probe}"
        );
        let lived_with =
            probe.findings.iter().filter(|finding| matches!(finding.outcome, Outcome::Weaker(_)));
        assert_eq!(
            lived_with.map(|finding| finding.step).collect::<Vec<_>>(),
            weaker,
            "{lacks:?} {wanted:?}"
        );
        assert!(store.contents().is_empty() && store.list_uploads("").await.unwrap().is_empty(), "{lacks:?}");
    }
}
