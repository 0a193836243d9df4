//! The inbox's tests: one suite for every database, and what is SQLite's alone.

mod clock;
mod conformance;
mod gone;
mod model;
#[cfg(feature = "foreign-postgres")]
mod shared;
mod texts;

use contract::{ChannelId, CutId, ObjectMetadata};
use tempfile::TempDir;

use super::*;
use crate::handler::{NoEffect, Outcome};
use crate::reading::Reading;
use crate::telemetry::Moment;
use crate::testing::{Home, handled, inbox, metadata_of, on_each_database};
use clock::*;
use conformance::*;
use gone::*;
use texts::*;

on_each_database! {
    a_done_cut_is_known_whatever_bucket_version_or_sequencer_a_notice_names_i8,
    a_foreign_object_is_its_version_or_its_etag_and_a_new_version_is_a_new_object,
    a_notice_of_the_key_alone_turns_out_as_a_repeat_once_the_object_was_seen,
    a_copy_of_a_cut_under_another_name_is_the_cut,
    a_notice_of_a_wrong_place_never_hides_a_cut,
    a_failed_attempt_is_due_again_at_its_time_and_says_why,
    a_crash_counts_the_attempt_and_a_release_does_not,
    a_panicking_effect_undoes_its_object_and_the_inbox_goes_on,
    objects_under_one_key_are_handed_out_in_the_order_of_their_sequencers,
    an_attempt_whose_lease_has_ended_is_made_by_another_server_and_the_first_changes_nothing,
    rows_of_done_objects_are_dropped_by_age_and_number_and_stay_counted_and_known,
    what_is_dead_gone_or_done_is_handled_again_when_somebody_asks,
    a_number_that_no_agent_ever_reaches_is_no_cut_and_harms_nothing,
    a_failing_effect_undoes_its_object_and_leaves_the_others_of_the_group,
    a_closed_inbox_is_free_for_the_next_server_even_while_its_handle_is_held,
    what_waits_for_a_time_that_the_clock_has_left_is_due_at_once,
    a_lease_of_a_time_that_the_clock_has_left_does_not_last_until_then,
    a_listing_that_ended_in_the_future_is_due_at_once,
    a_version_that_is_longer_than_any_is_refused_and_the_longest_is_taken,
    an_inbox_whose_tables_are_gone_ends_and_one_of_a_handlers_own_does_not,
    an_inbox_is_ready_as_long_as_a_commit_is_answered_and_within_five_seconds_not,
    what_an_older_server_does_after_the_upgrade_is_read_as_it_read_it,
    an_inbox_of_version_3_goes_on_with_its_outputs_and_what_is_owed,
}

fn cut(channel: u8, number: u64) -> CutId {
    CutId { channel: ChannelId([channel; 16]), sink: "s3".parse().unwrap(), number }
}

fn notice_of(bucket: &str, cut: &CutId) -> Notice {
    Notice::new(bucket, format!("events/{cut}.txt"))
}

fn report(identity: Identity) -> Report {
    Report { identity, reader: Reading::BEFORE, events: 2, bytes: 10, now_ms: 500 }
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

fn open(dir: &TempDir, metrics: Arc<Metrics>) -> Result<Inbox, OpenError> {
    Inbox::open(dir.path(), &Location::File(None), Duration::from_secs(60), metrics)
}

#[tokio::test]
async fn two_servers_never_share_an_inbox() {
    let dir = TempDir::new().unwrap();
    let _first = inbox(&dir);
    let second = || open(&dir, Arc::new(Metrics::new()));
    assert!(matches!(second(), Err(OpenError::Locked(_))));
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    assert!(matches!(second(), Err(OpenError::Locked(_))), "whoever deletes the file lets nobody in");
}

#[tokio::test]
async fn an_inbox_of_a_newer_server_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(inbox(&dir));
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = open(&dir, Arc::new(Metrics::new())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the inbox has version 99, and this server knows versions up to 4; use the newer server"
    );
}

#[tokio::test]
async fn an_inbox_of_the_first_version_goes_on_with_all_that_it_knew() {
    let dir = TempDir::new().unwrap();
    std::fs::copy("tests/fixtures/inbox-v1.sqlite", dir.path().join(FILE)).unwrap();
    let inbox = inbox(&dir);
    let totals = Totals { owed: 2, done: 7, dead: 1, events: 14, bytes: 70, ..Totals::default() };
    assert_eq!(inbox.totals(), totals);
    // What was done is done, of ours and of others.
    for number in [1, 2, 3, 5, 6, 9] {
        assert_eq!(put(&inbox, notice_of("logs", &cut(0xab, number))).await, Taken::Repeated);
    }
    let foreign = Notice { etag: Some("e1".to_owned()), ..Notice::new("logs", "foreign/done.txt") };
    assert_eq!(put(&inbox, foreign).await, Taken::Repeated);
    let sink = inbox.continuity(Default::default(), 9, true).await.unwrap().remove(0);
    let missing: Vec<_> = sink.missing.iter().map(|gap| (gap.first, gap.last, gap.owed)).collect();
    assert_eq!((sink.contiguous_to, missing), (3, vec![(4, 4, 0), (7, 8, 1)]));
    assert_eq!((sink.totals, sink.adds_up), (None, true), "nothing was counted then");
    // What was owed is owed, an attempt that was cut short is counted, and all places are known.
    let mut claims = inbox.claim(9, 3_000_000).await.unwrap().claims;
    let cut_short = claims.pop().unwrap();
    assert_eq!((cut_short.attempt, cut_short.identity), (2, cut(0xab, 8).to_string()));
    assert_eq!(cut_short.places.len(), 2);
    assert_eq!(claims.pop().unwrap().attempt, 2);
    let output = inbox.output("ndjson out.ndjson").await.unwrap();
    assert_eq!(output, Some(Output { length: 42, form: 1 }));
    let rows = inbox.list(Query { state: Some(State::Done), limit: 99, ..Query::default() }).await.unwrap();
    let mut order: Vec<_> = rows.iter().filter_map(|row| row.done_order).collect();
    order.sort_unstable();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7]);
    // What is done from now on is counted.
    assert_eq!(
        handled(&inbox, ObjectMetadata { cut: cut(0xab, 4), ..metadata_of(4) }, 3_000_000).await,
        Finished::Done
    );
    let sink = inbox.continuity(Default::default(), 9, true).await.unwrap().remove(0);
    assert_eq!(sink.contiguous_to, 6);
}

async fn an_inbox_of_version_3_goes_on_with_its_outputs_and_what_is_owed(home: Home) {
    let (home, _) = home.of_version_3();
    let inbox = home.open().await;
    let totals = inbox.totals();
    assert_eq!((totals.done, totals.events), (5, 17));
    let names = ["events.ndjson", "out.ndjson"].map(|file| inbox.output_name(&format!("ndjson {file}")));
    let mut outputs = Vec::new();
    for name in &names {
        outputs.extend(inbox.output(name).await.unwrap());
    }
    assert_eq!(outputs, [Output { length: 377, form: 1 }], "lines, as they were written then");
    // A cut that was done is done, and what is owed, if anything, is handed out.
    let done = inbox.list(Query { state: Some(State::Done), limit: 9, ..Query::default() }).await.unwrap();
    for row in &done {
        let told = Notice { etag: row.etag.clone(), ..Notice::new(&row.bucket, &row.key) };
        assert_eq!(put(&inbox, told).await, Taken::Repeated, "{}", row.key);
    }
    let claims = inbox.claim(9, i64::MAX / 2).await.unwrap().claims;
    assert_eq!(claims.len() as u64, totals.owed);
}

/// What an older server that runs on beside the first upgraded one does to a row: the statements of version 3,
/// which know no reader.
async fn as_version_3_does(inbox: &Inbox, id: i64, statement: &'static str) {
    inbox.write(move |at, _| Ok(at.execute(statement, &[id.into()])?)).await.unwrap();
}

async fn what_an_older_server_does_after_the_upgrade_is_read_as_it_read_it(home: Home) {
    const CLAIM: &str = "UPDATE objects SET state = 'fetching', attempts = attempts + 1, lease_owner = 'older/1' WHERE id = ?1";
    const FINISH: &str = "UPDATE objects SET state = 'done', events = 1, replaying = 0, lease_owner = NULL,
                              done_order = (SELECT max(value) + 1 FROM counters WHERE name = 'done_order')
                          WHERE id = ?1";
    let inbox = home.open().await;
    put(&inbox, Notice::new("logs", "k")).await;
    let row = inbox.list(Query { limit: 1, ..Query::default() }).await.unwrap().remove(0);
    as_version_3_does(&inbox, row.id, CLAIM).await;
    as_version_3_does(&inbox, row.id, FINISH).await;
    let row = inbox.row(row.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.reader), (State::Done, None), "nothing recorded is read as before");

    // Replayed by a server of today it forgets its reader, so whoever finishes it records its own or none.
    let row = inbox.replay(row.id, 1).await.unwrap().unwrap();
    let again = claim(&inbox).await.unwrap();
    let identity = Identity::of_object("logs", "k", None, Some("e1"));
    let reader = Reading::Rows(object_format::Rows::Lines);
    let finished = Report { reader: reader.clone(), ..report(identity) };
    inbox.finish(&again, finished, Box::new(NoEffect)).await.unwrap();
    assert_eq!(inbox.row(row.id).await.unwrap().unwrap().reader, Some(reader));
    let row = inbox.replay(row.id, 1).await.unwrap().unwrap();
    assert_eq!(row.reader, None);
    as_version_3_does(&inbox, row.id, CLAIM).await;
    as_version_3_does(&inbox, row.id, FINISH).await;
    assert_eq!(inbox.row(row.id).await.unwrap().unwrap().reader, None);
}

#[tokio::test]
async fn many_notices_at_once_share_commits() {
    let dir = TempDir::new().unwrap();
    let metrics = Arc::new(Metrics::new());
    let inbox = open(&dir, metrics.clone()).unwrap();
    let puts = (0..1000).map(|number| put(&inbox, Notice::new("logs", format!("k{number}"))));
    let taken = futures_util::future::join_all(puts).await;
    assert!(taken.iter().all(|taken| *taken == Taken::New));
    let scrape = metrics.scrape(&Moment { totals: inbox.totals(), ..Moment::default() });
    let commits =
        scrape.lines().find_map(|line| line.strip_prefix("sluicegate_server_inbox_commit_seconds_count "));
    let commits: u64 = commits.unwrap().parse().unwrap();
    assert!(commits <= 100, "{commits} commits for 1000 notices that came at once");
}
