use std::collections::{BTreeMap, BTreeSet};

use contract::{ChannelId, CutId};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::handler::NoEffect;
use crate::testing::inbox;

fn cut(channel: u8, number: u64) -> CutId {
    CutId { channel: ChannelId([channel; 16]), sink: "s3".parse().unwrap(), number }
}

fn notice_of(bucket: &str, cut: &CutId) -> Notice {
    Notice::new(bucket, format!("events/{cut}.txt"))
}

fn report(identity: Identity) -> Report {
    Report { identity, events: 2, bytes: 10, now_ms: 500 }
}

async fn put(inbox: &Inbox, notice: Notice) -> Taken {
    let id = notice.idempotency_id();
    inbox.put(notice, id, 100).await.unwrap()
}

async fn claim(inbox: &Inbox) -> Option<Claim> {
    inbox.claim(1, 1_000_000).await.unwrap().claims.pop()
}

async fn done(inbox: &Inbox, claim: &Claim, identity: Identity) -> Finished {
    inbox.finish(claim, report(identity), Box::new(NoEffect)).await.unwrap()
}

#[tokio::test]
async fn a_done_cut_is_known_whatever_bucket_version_or_sequencer_a_notice_names_i8() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    let cut = cut(1, 7);
    assert_eq!(put(&inbox, notice_of("logs", &cut)).await, Taken::New);
    let first = claim(&inbox).await.unwrap();
    assert_eq!(done(&inbox, &first, Identity::of_cut(cut.clone())).await, Finished::Done);
    for notice in [
        notice_of("logs", &cut),
        notice_of("copy", &cut),
        Notice { version_id: Some("v2".to_owned()), ..notice_of("logs", &cut) },
        Notice { sequencer: Some("00AB".to_owned()), ..notice_of("logs", &cut) },
        Notice::new("logs", format!("elsewhere/{cut}.txt.gz")),
    ] {
        assert_eq!(put(&inbox, notice).await, Taken::Repeated);
    }
    assert_eq!(claim(&inbox).await, None);
    assert_eq!(inbox.totals(), Totals { done: 1, events: 2, bytes: 10, ..Totals::default() });
    let row = inbox.list(Query { limit: 9, ..Query::default() }).await.unwrap().remove(0);
    assert_eq!((row.repeats, row.attempts, row.key), (5, 1, format!("events/{cut}.txt")));
}

#[tokio::test]
async fn a_foreign_object_is_its_version_or_its_etag_and_a_new_version_is_a_new_object() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    let version = |id: &str| Notice { version_id: Some(id.to_owned()), ..Notice::new("logs", "k") };
    assert_eq!(put(&inbox, version("1")).await, Taken::New);
    assert_eq!(put(&inbox, version("1")).await, Taken::Repeated);
    assert_eq!(put(&inbox, version("2")).await, Taken::New);
    assert_eq!(put(&inbox, Notice::new("logs", "k")).await, Taken::New);
    assert_eq!(inbox.totals().owed, 3);
}

#[tokio::test]
async fn a_notice_of_the_key_alone_turns_out_as_a_repeat_once_the_object_was_seen() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    let etag = |tag: &str| Identity::of_object("logs", "k", None, Some(tag));
    for (tag, expected) in [("e1", Finished::Done), ("e1", Finished::Repeat), ("e2", Finished::Done)] {
        assert_eq!(put(&inbox, Notice::new("logs", "k")).await, Taken::New);
        let claim = claim(&inbox).await.unwrap();
        assert_eq!(done(&inbox, &claim, etag(tag)).await, expected, "{tag}");
    }
    // The notice that names what was found meets it.
    let told = Notice { etag: Some("\"e1\"".to_owned()), ..Notice::new("logs", "k") };
    assert_eq!(put(&inbox, told).await, Taken::Repeated);
    assert_eq!(inbox.totals(), Totals { done: 2, events: 4, bytes: 20, ..Totals::default() });
}

#[tokio::test]
async fn a_copy_of_a_cut_under_another_name_is_the_cut() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    let cut = cut(1, 1);
    put(&inbox, notice_of("logs", &cut)).await;
    put(&inbox, Notice::new("logs", "renamed.txt")).await;
    let claims = inbox.claim(2, 1_000).await.unwrap().claims;
    // The copy is done first: the cut's own row goes, and its attempt changes nothing.
    assert_eq!(done(&inbox, &claims[1], Identity::of_cut(cut.clone())).await, Finished::Done);
    assert_eq!(done(&inbox, &claims[0], Identity::of_cut(cut.clone())).await, Finished::Repeat);
    assert_eq!(put(&inbox, notice_of("logs", &cut)).await, Taken::Repeated);
    assert_eq!(inbox.totals(), Totals { done: 1, events: 2, bytes: 10, ..Totals::default() });
}

#[tokio::test]
async fn a_notice_of_a_wrong_place_never_hides_a_cut() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    let cut = cut(3, 3);
    put(&inbox, notice_of("wrong", &cut)).await;
    assert_eq!(put(&inbox, notice_of("logs", &cut)).await, Taken::Repeated);
    let first = claim(&inbox).await.unwrap();
    assert_eq!(first.places.iter().map(|place| &*place.bucket).collect::<Vec<_>>(), ["wrong", "logs"]);
    inbox.fail(&first, "not there".to_owned(), Next::Dead, 200).await.unwrap();
    assert_eq!(put(&inbox, notice_of("logs", &cut)).await, Taken::Repeated);
    assert_eq!(claim(&inbox).await, None, "a dead letter stays dead for a place that is known");
    put(&inbox, notice_of("third", &cut)).await;
    let revived = claim(&inbox).await.unwrap();
    assert_eq!((revived.attempt, revived.places.len()), (1, 3));
}

#[tokio::test]
async fn a_failed_attempt_is_due_again_at_its_time_and_says_why() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    put(&inbox, Notice::new("logs", "k")).await;
    let first = claim(&inbox).await.unwrap();
    inbox.fail(&first, "no connection".to_owned(), Next::At(2_000_000), 300).await.unwrap();
    let early = inbox.claim(1, 1_999_999).await.unwrap();
    assert_eq!((early.claims.len(), early.next_due_ms), (0, Some(2_000_000)));
    let again = inbox.claim(1, 2_000_000).await.unwrap();
    assert_eq!(again.claims[0].attempt, 2);
    let row = inbox.list(Query { limit: 9, ..Query::default() }).await.unwrap().remove(0);
    assert_eq!(row.last_error.as_deref(), Some("no connection"));
}

#[tokio::test]
async fn a_crash_counts_the_attempt_and_a_release_does_not() {
    let dir = TempDir::new().unwrap();
    let first = inbox(&dir);
    put(&first, Notice::new("logs", "k")).await;
    let given_back = claim(&first).await.unwrap();
    first.release(&given_back).await.unwrap();
    let cut_short = claim(&first).await.unwrap();
    assert_eq!(cut_short.attempt, 1);
    drop(first);
    let second = inbox(&dir);
    assert_eq!(second.totals().owed, 1);
    assert_eq!(claim(&second).await.unwrap().attempt, 2);
}

#[tokio::test]
async fn two_servers_never_share_an_inbox() {
    let dir = TempDir::new().unwrap();
    let _first = inbox(&dir);
    let second = Inbox::open(dir.path(), Arc::new(Metrics::new()));
    assert!(matches!(second, Err(OpenError::Locked(_))));
}

#[tokio::test]
async fn an_inbox_of_a_newer_server_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(inbox(&dir));
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Inbox::open(dir.path(), Arc::new(Metrics::new())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the inbox has version 99, and this server knows versions up to 2; use the newer server"
    );
}

#[tokio::test]
async fn a_failing_effect_undoes_its_object_and_leaves_the_others_of_the_group() {
    struct Broken;
    impl Effect for Broken {
        fn apply(&mut self, transaction: &Connection) -> rusqlite::Result<()> {
            transaction.execute("INSERT INTO outputs (name, length) VALUES ('half', 1)", [])?;
            transaction.execute("INSERT INTO nowhere DEFAULT VALUES", []).map(drop)
        }
        fn settle(self: Box<Self>, outcome: Outcome) {
            assert_eq!(outcome, Outcome::Undone);
        }
    }
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    put(&inbox, Notice::new("logs", "k")).await;
    let claim = claim(&inbox).await.unwrap();
    // The same object under its full name would go in favour of the claimed row, and stays.
    put(&inbox, Notice { etag: Some("e1".to_owned()), ..Notice::new("logs", "k") }).await;
    let identity = Identity::of_object("logs", "k", None, Some("e1"));
    let finish = inbox.finish(&claim, report(identity), Box::new(Broken));
    let (failed, taken) = tokio::join!(finish, put(&inbox, Notice::new("logs", "other")));
    assert!(matches!(failed, Err(InboxError::Storage(_))));
    assert_eq!(taken, Taken::New);
    assert_eq!(inbox.totals(), Totals { fetching: 1, owed: 2, ..Totals::default() });
    assert_eq!(inbox.output_length("half").await.unwrap(), None);
}

#[tokio::test]
async fn many_notices_at_once_share_commits() {
    let dir = TempDir::new().unwrap();
    let metrics = Arc::new(Metrics::new());
    let inbox = Inbox::open(dir.path(), metrics.clone()).unwrap();
    let puts = (0..1000).map(|number| put(&inbox, Notice::new("logs", format!("k{number}"))));
    let taken = futures_util::future::join_all(puts).await;
    assert!(taken.iter().all(|taken| *taken == Taken::New));
    let scrape = metrics.scrape(inbox.totals(), 0.0);
    let commits =
        scrape.lines().find_map(|line| line.strip_prefix("sluicegate_server_inbox_commit_seconds_count "));
    let commits: u64 = commits.unwrap().parse().unwrap();
    assert!(commits <= 100, "{commits} commits for 1000 notices that came at once");
}

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
        runtime.block_on(check(steps));
    }
}

async fn check(steps: Vec<Step>) {
    let dir = TempDir::new().unwrap();
    let mut real = inbox(&dir);
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
                real = inbox(&dir);
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
    check_ranges(&dir, &finished);
}

/// The done cuts are kept as the fewest ranges that hold them.
fn check_ranges(dir: &TempDir, finished: &BTreeSet<u64>) {
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    let mut statement = connection.prepare("SELECT first, last FROM done_cuts ORDER BY first").unwrap();
    let stored: Vec<(u64, u64)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut expected: Vec<(u64, u64)> = Vec::new();
    for number in finished {
        match expected.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => expected.push((*number, *number)),
        }
    }
    assert_eq!(stored, expected);
}
