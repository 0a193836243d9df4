//! What servers that share one inbox promise each other.

use futures_util::future::join_all;

use super::*;
use crate::testing::Hold;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_share_an_inbox_never_make_one_attempt_twice() {
    const OBJECTS: usize = 200;
    let home = Home::postgres();
    let homes = [home.beside(), home.beside(), home];
    let mut servers = Vec::new();
    for home in &homes {
        servers.push(Arc::new(home.open().await));
    }
    let puts =
        (0..OBJECTS).map(|number| put(&servers[number % 3], Notice::new("logs", format!("k{number}"))));
    join_all(puts).await;
    let working = servers.iter().cloned().map(|inbox| {
        tokio::spawn(async move {
            let mut finished = 0;
            loop {
                let claims = inbox.claim(7, 1_000_000).await.unwrap().claims;
                if claims.is_empty() {
                    return finished;
                }
                for claim in claims {
                    assert_eq!(claim.attempt, 1);
                    let key = &claim.places[0].key;
                    let identity = Identity::of_object("logs", key, None, Some("e"));
                    assert_eq!(done(&inbox, &claim, identity).await, Finished::Done);
                    finished += 1;
                }
            }
        })
    });
    let finished: Vec<usize> = join_all(working).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(finished.iter().sum::<usize>(), OBJECTS, "{finished:?}");
    let totals = servers[0].recount().await.unwrap();
    assert_eq!((totals.done, totals.owed, totals.fetching), (OBJECTS as u64, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_share_an_inbox_finish_each_cut_once_and_keep_the_fewest_ranges() {
    const CUTS: u64 = 60;
    let home = Home::postgres();
    let homes = [home.beside(), home.beside(), home];
    let mut servers = Vec::new();
    for home in &homes {
        servers.push(Arc::new(home.open().await));
    }
    // Every server is told of every cut.
    let working = servers.iter().cloned().map(|inbox| {
        tokio::spawn(async move {
            for number in 1..=CUTS {
                put(&inbox, notice_of("logs", &metadata_of(number).cut)).await;
            }
            let mut finished = 0;
            while let Some(claim) = claim(&inbox).await {
                let cut: CutId = claim.identity.parse().unwrap();
                let identity = Identity::of_metadata(metadata_of(cut.number));
                assert_eq!(done(&inbox, &claim, identity).await, Finished::Done);
                finished += 1;
            }
            finished
        })
    });
    let finished: Vec<u64> = join_all(working).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(finished.iter().sum::<u64>(), CUTS, "{finished:?}");
    let sink = servers[0].continuity(Default::default(), 9, true).await.unwrap().remove(0);
    assert_eq!((sink.contiguous_to, sink.done, sink.missing_cuts, sink.adds_up), (CUTS, CUTS, 0, true));
    let rows = servers[0].list(Query { limit: 99, ..Query::default() }).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.repeats).sum::<u64>(), 2 * CUTS);
}

#[tokio::test]
async fn the_attempts_of_a_server_that_gives_no_sign_of_life_are_made_by_others() {
    let home = Home::postgres();
    let beside = home.beside();
    let (first, second) = (beside.open().await, home.open().await);
    put(&first, Notice::new("logs", "k")).await;
    let start_ms = 1_000_000;
    let slow = first.claim(1, start_ms).await.unwrap().claims.remove(0);
    assert_eq!(second.claim(1, start_ms + 59_000).await.unwrap().claims, []);
    // A sign of life makes it last.
    first.renew(start_ms + 50_000).await.unwrap();
    assert_eq!(second.claim(1, start_ms + 61_000).await.unwrap().claims, []);
    let taken_over = second.claim(1, start_ms + 111_000).await.unwrap().claims.remove(0);
    assert_eq!((slow.attempt, taken_over.attempt), (1, 2));
    let identity = || Identity::of_object("logs", "k", None, Some("e1"));
    assert_eq!(done(&first, &slow, identity()).await, Finished::Lost);
    assert_eq!(done(&second, &taken_over, identity()).await, Finished::Done);
}

#[tokio::test]
async fn each_server_that_shares_an_inbox_has_outputs_of_its_own() {
    let home = Home::postgres();
    let beside = home.beside();
    let (first, second) = (beside.open().await, home.open().await);
    for inbox in [&first, &second] {
        let name = inbox.output_name("ndjson out.ndjson");
        assert_eq!(inbox.output(&name).await.unwrap(), None);
        inbox.set_outputs(vec![(name, Some(Output { length: 0, form: 2 }))]).await.unwrap();
    }
    let name = second.output_name("ndjson out.ndjson");
    assert_ne!(first.output_name("ndjson out.ndjson"), name);
    drop(second);
    assert_eq!(home.open().await.output_name("ndjson out.ndjson"), name, "it finds its own again");
}

#[tokio::test]
async fn an_inbox_goes_on_after_its_connections_broke() {
    let home = Home::postgres();
    let beside = home.beside();
    let (inbox, other) = (home.open().await, beside.open().await);
    put(&inbox, Notice::new("logs", "a")).await;
    // All connections whose last word was about this test's tables, but the one that asks.
    let kill = "SELECT pg_terminate_backend(a.pid)::TEXT FROM pg_stat_activity a
                WHERE a.pid <> pg_backend_pid() AND a.pid IN
                    (SELECT pid FROM pg_stat_activity WHERE application_name = current_setting('application_name'))";
    other.write(move |at, _| Ok(at.query(kill, &[])?)).await.unwrap();
    // What was under way may have failed; what follows connects anew.
    while inbox.put(Notice::new("logs", "b"), "b".to_owned(), 1).await.is_err() {}
    while inbox.recount().await.is_err() {}
    assert_eq!(inbox.totals().owed, 2);
}

/// Waits until one of this test's connections waits for another one, or until `work` is over.
async fn until_it_waits<T>(work: &tokio::task::JoinHandle<T>, beside: &Inbox) {
    let waiting = "SELECT pid::TEXT FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                   AND application_name = current_setting('application_name')";
    while !work.is_finished() && beside.read(move |at| at.query(waiting, &[])).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn two_servers_that_finish_one_object_under_two_names_at_once_apply_one_effect() {
    let metadata = metadata_of(1);
    let ours = notice_of("logs", &metadata.cut);
    let with_etag = Notice { etag: Some("e".to_owned()), ..Notice::new("logs", "k") };
    for (identity, known, unknown) in [
        (Identity::of_metadata(metadata), ours, Notice::new("logs", "renamed.txt")),
        (Identity::of_object("logs", "k", None, Some("e")), with_etag, Notice::new("logs", "k")),
    ] {
        let home = Home::postgres();
        let beside = home.beside();
        let (first, second) = (Arc::new(home.open().await), Arc::new(beside.open().await));
        put(&first, known).await;
        let known = claim(&first).await.unwrap();
        put(&second, unknown).await;
        let unknown = claim(&second).await.unwrap();

        let (hold, holding, let_go) = Hold::new();
        let finishing = tokio::spawn({
            let (first, identity) = (first.clone(), identity.clone());
            async move { first.finish(&known, report(identity), Box::new(hold)).await.unwrap() }
        });
        holding.await.unwrap();
        let meanwhile = tokio::spawn({
            let second = second.clone();
            async move { done(&second, &unknown, identity).await }
        });
        until_it_waits(&meanwhile, &first).await;
        let_go.send(()).unwrap();
        assert_eq!(finishing.await.unwrap(), Finished::Done);
        assert_eq!(meanwhile.await.unwrap(), Finished::Repeat);
        let totals = first.recount().await.unwrap();
        assert_eq!((totals.done, totals.owed, totals.fetching), (1, 0, 0));
    }
}

#[tokio::test]
async fn a_start_waits_for_a_commit_of_the_start_before_that_is_still_under_way() {
    let home = Home::postgres();
    let beside = home.beside();
    let (inbox, database) = (home.open().await, beside.open().await);
    let name = inbox.output_name("ndjson out.ndjson");
    inbox.set_outputs(vec![(name.clone(), Some(Output { length: 0, form: 2 }))]).await.unwrap();
    put(&inbox, Notice::new("logs", "k")).await;
    claim(&inbox).await.unwrap();
    // Killed here: what it had asked the database to commit is committed after its end.
    drop(inbox);
    let (begun, has_begun) = oneshot::channel();
    let (let_go, until) = std::sync::mpsc::channel();
    let (mut begun, output) = (Some(begun), name.clone());
    let committing = database.write(move |at, _| {
        at.execute("UPDATE objects SET state = 'done'", &[])?;
        at.execute("UPDATE outputs SET length = 7 WHERE name = ?1", &[(&output).into()])?;
        begun.take().unwrap().send(()).unwrap();
        until.recv().unwrap();
        Ok(())
    });
    let starting = async {
        has_begun.await.unwrap();
        let starting = tokio::spawn(async move { home.open().await });
        until_it_waits(&starting, &database).await;
        let_go.send(()).unwrap();
        starting.await.unwrap()
    };
    let (committed, inbox) = tokio::join!(committing, starting);
    committed.unwrap();
    let committed = inbox.output(&name).await.unwrap().unwrap();
    assert_eq!(committed.length, 7, "or committed lines would be cut off");
    assert_eq!((inbox.totals().done, inbox.totals().owed), (1, 0));
}

#[tokio::test]
async fn what_is_answered_is_synced_and_seen_at_once_whatever_the_database_is_set_to_i8() {
    let home =
        Home::postgres().set("synchronous_commit=off").set("default_transaction_isolation=serializable");
    let inbox = home.open().await;
    let setting = |name: &'static str| {
        inbox.write(move |at, _| {
            let row = at.query_one("SELECT current_setting(?1)", &[name.into()])?;
            Ok(row.map(|row| row.text(0)).transpose()?)
        })
    };
    assert_eq!(setting("synchronous_commit").await.unwrap().as_deref(), Some("on"));
    assert_eq!(setting("transaction_isolation").await.unwrap().as_deref(), Some("read committed"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let columns = async |inbox: &Inbox, statement: &'static str| {
        let rows = inbox.read(move |at| at.query(statement, &[])).await.unwrap();
        rows.iter().map(|row| (row.text(0).unwrap(), row.text(1).unwrap())).collect::<Vec<_>>()
    };
    let (postgres, sqlite) = (Home::postgres(), Home::sqlite());
    let there = columns(
        &postgres.open().await,
        "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name <> 'inbox_version'
         ORDER BY table_name::TEXT COLLATE \"C\", column_name::TEXT COLLATE \"C\"",
    )
    .await;
    let here = columns(
        &sqlite.open().await,
        "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, 2",
    )
    .await;
    assert_eq!(there, here);
}
