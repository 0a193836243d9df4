//! Any order of notices, attempts and restarts, against a plain model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What may happen to an inbox, for the model below.
#[derive(Debug, Clone)]
enum Step {
    Put { cut: u64, bucket: bool },
    Claim,
    Finish,
    Fail,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..12_u64, any::<bool>()).prop_map(|(cut, bucket)| Step::Put { cut, bucket }),
        3 => Just(Step::Claim),
        3 => Just(Step::Finish),
        1 => Just(Step::Fail),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn each_cut_is_finished_once_over_any_order_of_notices_attempts_and_restarts(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(Home::sqlite(), steps));
    }
}

async fn check(home: Home, steps: Vec<Step>) {
    let mut real = home.open().await;
    let mut owed = BTreeSet::new();
    let mut finished = BTreeSet::new();
    let mut repeats: BTreeMap<u64, u64> = BTreeMap::new();
    let mut claims: Vec<Claim> = Vec::new();
    for step in steps {
        match step {
            Step::Put { cut: number, bucket } => {
                let bucket = if bucket { "logs" } else { "copy" };
                let known = owed.contains(&number) || finished.contains(&number);
                let expected = if known { Taken::Repeated } else { Taken::New };
                assert_eq!(put(&real, notice_of(bucket, &cut(1, number))).await, expected);
                if known {
                    *repeats.entry(number).or_default() += 1;
                } else {
                    owed.insert(number);
                }
            }
            Step::Claim => claims.extend(claim(&real).await),
            Step::Finish => {
                let Some(claim) = claims.pop() else { continue };
                let id: CutId = claim.identity.parse().unwrap();
                assert_eq!(done(&real, &claim, Identity::of_cut(id.clone())).await, Finished::Done);
                assert!(owed.remove(&id.number) && finished.insert(id.number));
            }
            Step::Fail => {
                let Some(claim) = claims.pop() else { continue };
                real.fail(&claim, "failed".to_owned(), Next::At(0), 0).await.unwrap();
            }
            Step::Reopen => {
                drop(real);
                real = home.open().await;
                claims.clear();
            }
        }
        let totals = real.totals();
        assert_eq!(
            (totals.owed + totals.fetching, totals.fetching),
            (owed.len() as u64, claims.len() as u64)
        );
        assert_eq!((totals.done, totals.events), (finished.len() as u64, 2 * finished.len() as u64));
    }
    for row in real.list(Query { limit: 100, ..Query::default() }).await.unwrap() {
        let id: CutId = row.identity.parse().unwrap();
        assert_eq!(row.repeats, repeats.get(&id.number).copied().unwrap_or_default());
    }
    check_ranges(&real, &finished).await;
}

/// The done cuts are kept as the fewest ranges that hold them.
async fn check_ranges(inbox: &Inbox, finished: &BTreeSet<u64>) {
    let stored = inbox.read(|at| {
        let rows = at.query("SELECT first, last FROM ranges ORDER BY first", &[])?;
        rows.iter().map(|row| Ok((row.count(0)?, row.count(1)?))).collect::<Result<Vec<_>, _>>()
    });
    let mut expected: Vec<(u64, u64)> = Vec::new();
    for number in finished {
        match expected.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => expected.push((*number, *number)),
        }
    }
    assert_eq!(stored.await.unwrap(), expected);
}

#[cfg(feature = "foreign-postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn in_postgres_each_cut_is_finished_once_over_any_order_of_notices_attempts_and_restarts(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(Home::postgres(), steps));
    }
}
