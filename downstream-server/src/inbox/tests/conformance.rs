//! What an inbox promises, wherever it is kept: each test runs on every database.

use super::*;

pub(super) async fn a_done_cut_is_known_whatever_bucket_version_or_sequencer_a_notice_names_i8(home: Home) {
    let inbox = home.open().await;
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

pub(super) async fn a_foreign_object_is_its_version_or_its_etag_and_a_new_version_is_a_new_object(
    home: Home,
) {
    let inbox = home.open().await;
    let version = |id: &str| Notice { version_id: Some(id.to_owned()), ..Notice::new("logs", "k") };
    assert_eq!(put(&inbox, version("1")).await, Taken::New);
    assert_eq!(put(&inbox, version("1")).await, Taken::Repeated);
    assert_eq!(put(&inbox, version("2")).await, Taken::New);
    assert_eq!(put(&inbox, Notice::new("logs", "k")).await, Taken::New);
    assert_eq!(inbox.totals().owed, 3);
}

pub(super) async fn a_notice_of_the_key_alone_turns_out_as_a_repeat_once_the_object_was_seen(home: Home) {
    let inbox = home.open().await;
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

pub(super) async fn a_copy_of_a_cut_under_another_name_is_the_cut(home: Home) {
    let inbox = home.open().await;
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

pub(super) async fn a_notice_of_a_wrong_place_never_hides_a_cut(home: Home) {
    let inbox = home.open().await;
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

pub(super) async fn a_failed_attempt_is_due_again_at_its_time_and_says_why(home: Home) {
    let inbox = home.open().await;
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

pub(super) async fn a_crash_counts_the_attempt_and_a_release_does_not(home: Home) {
    let first = home.open().await;
    put(&first, Notice::new("logs", "k")).await;
    let given_back = claim(&first).await.unwrap();
    first.release(&given_back).await.unwrap();
    let cut_short = claim(&first).await.unwrap();
    assert_eq!(cut_short.attempt, 1);
    drop(first);
    let second = home.open().await;
    assert_eq!(second.totals().owed, 1);
    assert_eq!(claim(&second).await.unwrap().attempt, 2);
}

pub(super) async fn a_panicking_effect_undoes_its_object_and_the_inbox_goes_on(home: Home) {
    struct Panics(bool);
    impl Effect for Panics {
        fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError> {
            transaction.execute("INSERT INTO outputs (name, length) VALUES ('half', 1)", &[])?;
            assert!(!self.0, "an effect's own mistake");
            Ok(())
        }
        fn settle(self: Box<Self>, outcome: Outcome) {
            assert!(outcome == Outcome::Undone, "another mistake, after the commit");
        }
    }
    let inbox = home.open().await;
    put(&inbox, Notice::new("logs", "k")).await;
    let first = claim(&inbox).await.unwrap();
    let identity = || Identity::of_object("logs", "k", None, Some("e1"));
    let finish = inbox.finish(&first, report(identity()), Box::new(Panics(true)));
    let (failed, taken) = tokio::join!(finish, put(&inbox, Notice::new("logs", "other")));
    assert!(matches!(failed, Err(InboxError::Panicked)));
    assert_eq!(taken, Taken::New);
    assert_eq!(inbox.output("half").await.unwrap(), None);
    assert_eq!(inbox.totals(), Totals { fetching: 1, owed: 1, ..Totals::default() });
    // A panic after the commit takes nothing back, and every other job of the group is answered.
    let finish = inbox.finish(&first, report(identity()), Box::new(Panics(false)));
    let (_, taken) = tokio::join!(finish, put(&inbox, Notice::new("logs", "third")));
    assert_eq!(taken, Taken::New);
    assert_eq!(inbox.output("half").await.unwrap(), Some(Output { length: 1, form: 1 }));
    assert_eq!((inbox.totals().done, inbox.totals().owed), (1, 2));
}

pub(super) async fn objects_under_one_key_are_handed_out_in_the_order_of_their_sequencers(home: Home) {
    let inbox = home.open().await;
    let told = |version: &str, sequencer: &str| Notice {
        version_id: Some(version.to_owned()),
        sequencer: Some(sequencer.to_owned()),
        ..Notice::new("logs", "k")
    };
    // As S3 compares them: the shorter counts as if it went on in zeros.
    for (version, sequencer) in [("third", "0b00"), ("second", "0A01"), ("first", "0A")] {
        assert_eq!(put(&inbox, told(version, sequencer)).await, Taken::New);
    }
    put(&inbox, Notice::new("logs", "another")).await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let mut claims = inbox.claim(9, 1_000_000).await.unwrap().claims;
        claims.retain(|claim| claim.places[0].key == "k");
        assert_eq!(claims.len(), 1, "one at a time under one key");
        let claim = claims.remove(0);
        let version = claim.places[0].version_id.clone().unwrap();
        let identity = Identity::of_object("logs", "k", Some(&version), None);
        done(&inbox, &claim, identity).await;
        order.push(version);
    }
    assert_eq!(order, ["first", "second", "third"]);
}

pub(super) async fn an_attempt_whose_lease_has_ended_is_made_by_another_server_and_the_first_changes_nothing(
    home: Home,
) {
    let first = home.open().await;
    put(&first, Notice::new("logs", "k")).await;
    let slow = claim(&first).await.unwrap();
    first.close();
    let second = home.open().await;
    let taken_over = claim(&second).await.unwrap();
    assert_eq!((slow.attempt, taken_over.attempt), (1, 2));
    let identity = || Identity::of_object("logs", "k", None, Some("e1"));
    assert_eq!(done(&second, &slow, identity()).await, Finished::Lost);
    second.fail(&slow, "late".to_owned(), Next::Dead, 300).await.unwrap();
    second.release(&slow).await.unwrap();
    assert_eq!(second.totals().fetching, 1);
    assert_eq!(done(&second, &taken_over, identity()).await, Finished::Done);
}

pub(super) async fn rows_of_done_objects_are_dropped_by_age_and_number_and_stay_counted_and_known(
    home: Home,
) {
    let first = home.open().await;
    for (number, at_ms) in (1..=6).zip((1000..).step_by(1000)) {
        handled(&first, metadata_of(number), at_ms).await;
    }
    put(&first, Notice::new("logs", "owed")).await;
    assert!(!first.drop_done(Keep { after_ms: 2000, rows: 3 }).await.unwrap());
    let rows = async |inbox: &Inbox| inbox.list(Query { limit: 99, ..Query::default() }).await.unwrap().len();
    assert_eq!(rows(&first).await, 4, "those done last, and what is owed");
    assert!(!first.drop_done(Keep { after_ms: 5000, rows: 3 }).await.unwrap());
    assert_eq!(rows(&first).await, 2);
    let totals = Totals { owed: 1, done: 6, events: 60, bytes: 600, ..Totals::default() };
    assert_eq!(first.totals(), totals);
    drop(first);
    let second = home.open().await;
    assert_eq!(second.totals(), totals);
    for number in 1..=6 {
        assert_eq!(put(&second, notice_of("logs", &metadata_of(number).cut)).await, Taken::Repeated);
    }
    assert_eq!(claim(&second).await.unwrap().places[0].key, "owed");
}

pub(super) async fn what_is_dead_gone_or_done_is_handled_again_when_somebody_asks(home: Home) {
    let inbox = home.open().await;
    handled(&inbox, metadata_of(1), 1).await;
    for (key, next) in [("a/dead", Next::Dead), ("b/gone", Next::Gone)] {
        put(&inbox, Notice::new("logs", key)).await;
        let claim = claim(&inbox).await.unwrap();
        inbox.fail(&claim, "no".to_owned(), next, 2).await.unwrap();
    }
    let dead =
        inbox.list(Query { state: Some(State::Dead), limit: 1, ..Query::default() }).await.unwrap().remove(0);
    assert_eq!(inbox.replay(dead.id, 5).await.unwrap().map(|row| row.state), Some(State::Owed));
    assert_eq!(inbox.replay(99, 5).await.unwrap(), None);
    let again = claim(&inbox).await.unwrap();
    assert_eq!((again.id, again.attempt), (dead.id, 1));
    // The rest by what they are: a done cut is done again, and counts once.
    let states = vec![State::Done, State::Gone];
    let none =
        Selection { states: states.clone(), key_prefix: Some("c/".to_owned()), ..Selection::default() };
    assert_eq!(inbox.replay_matching(none, 6).await.unwrap(), Replayed::default());
    let early = Selection { states: states.clone(), until_ms: Some(1), ..Selection::default() };
    assert_eq!(inbox.replay_matching(early, 6).await.unwrap().objects, 0);
    let all = Selection { states, ..Selection::default() };
    assert_eq!(inbox.replay_matching(all, 6).await.unwrap(), Replayed { objects: 2, next: None });
    assert_eq!(inbox.totals(), Totals { owed: 2, fetching: 1, ..Totals::default() });
    let claims = inbox.claim(9, 7).await.unwrap().claims;
    let replayed = claims.iter().find(|claim| claim.identity == metadata_of(1).cut.to_string()).unwrap();
    assert_eq!(done(&inbox, replayed, Identity::of_metadata(metadata_of(1))).await, Finished::Done);
    assert_eq!(put(&inbox, notice_of("logs", &metadata_of(1).cut)).await, Taken::Repeated);
    let sink = inbox.continuity(Default::default(), 9, true).await.unwrap().remove(0);
    assert_eq!((sink.contiguous_to, sink.done, sink.adds_up), (1, 1, true));
}

pub(super) async fn a_number_that_no_agent_ever_reaches_is_no_cut_and_harms_nothing(home: Home) {
    let inbox = home.open().await;
    let absurd = cut(1, u64::MAX);
    assert_eq!(put(&inbox, notice_of("logs", &absurd)).await, Taken::New);
    assert_eq!(put(&inbox, notice_of("logs", &absurd)).await, Taken::Repeated);
    let claim = claim(&inbox).await.unwrap();
    assert_eq!(done(&inbox, &claim, Identity::of_cut(absurd)).await, Finished::Done);
    assert_eq!(inbox.continuity(Default::default(), 9, true).await.unwrap(), []);
}

pub(super) async fn a_failing_effect_undoes_its_object_and_leaves_the_others_of_the_group(home: Home) {
    struct Broken;
    impl Effect for Broken {
        fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError> {
            transaction.execute("INSERT INTO outputs (name, length) VALUES ('half', 1)", &[])?;
            transaction.execute("INSERT INTO nowhere DEFAULT VALUES", &[]).map(drop)
        }
        fn settle(self: Box<Self>, outcome: Outcome) {
            assert_eq!(outcome, Outcome::Undone);
        }
    }
    let inbox = home.open().await;
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
    assert_eq!(inbox.output("half").await.unwrap(), None);
}

pub(super) async fn a_closed_inbox_is_free_for_the_next_server_even_while_its_handle_is_held(home: Home) {
    let first = home.open().await;
    first.close();
    drop(home.open().await);
    assert!(matches!(first.claim(1, 0).await, Err(InboxError::Closed)));
}
