//! An inbox whose file or tables are gone ends the server, and one that cannot be written is not ready.

use std::fs;

use super::*;
use crate::testing::eventually;

async fn ends(inbox: &Inbox, reason: &str) {
    // Whatever comes next finds it.
    let refused = inbox.put(Notice::new("logs", "later"), "n".to_owned(), 1).await;
    assert!(refused.is_err(), "{refused:?}");
    inbox.failed().wait_for(|failed| *failed).await.unwrap();
    let failure = inbox.failure().unwrap().to_string();
    assert!(failure.starts_with("the inbox is gone: ") && failure.contains(reason), "{failure}");
    assert!(matches!(inbox.ready().await, Err(NotReady::Failed(InboxError::Poisoned(_)))));
}

#[tokio::test]
async fn an_inbox_whose_file_or_log_was_deleted_moved_or_replaced_takes_nothing_more_i8() {
    for name in [FILE, "inbox.sqlite-wal"] {
        for hand in ["deletes", "moves", "replaces"] {
            let dir = TempDir::new().unwrap();
            let inbox = inbox(&dir);
            put(&inbox, Notice::new("logs", "a")).await;
            let (path, aside) = (dir.path().join(name), dir.path().join("aside"));
            fs::rename(&path, &aside).unwrap();
            match hand {
                "deletes" => fs::remove_file(&aside).unwrap(),
                "replaces" => drop(fs::copy(&aside, &path).unwrap()),
                _ => {}
            }
            ends(&inbox, "was deleted, moved or replaced by somebody else").await;
        }
    }
}

pub(super) async fn an_inbox_whose_tables_are_gone_ends_and_one_of_a_handlers_own_does_not(home: Home) {
    let inbox = home.open().await;
    put(&inbox, Notice::new("logs", "a")).await;
    let own = inbox.write(|at, _| Ok(at.execute("UPDATE nowhere SET x = 1", &[])?)).await;
    assert!(own.is_err());
    put(&inbox, Notice::new("logs", "b")).await;
    inbox.ready().await.unwrap();
    inbox.write(|at, _| Ok(at.batch("DROP TABLE places; DROP TABLE objects")?)).await.unwrap();
    ends(&inbox, "objects").await;
}

pub(super) async fn an_inbox_is_ready_as_long_as_a_commit_is_answered_and_within_five_seconds_not(
    home: Home,
) {
    let inbox = Arc::new(home.open().await);
    inbox.ready().await.unwrap();
    put(&inbox, Notice::new("logs", "k")).await;
    let claim = claim(&inbox).await.unwrap();
    // The writer stands still, as it does behind a lock or a database that is frozen.
    let (hold, holding, let_go) = crate::testing::Hold::new();
    let finishing = tokio::spawn({
        let inbox = inbox.clone();
        let identity = Identity::of_object("logs", "k", None, Some("e"));
        async move { inbox.finish(&claim, report(identity), Box::new(hold)).await }
    });
    holding.await.unwrap();
    let asked = std::time::Instant::now();
    eventually("it is not ready", async || matches!(inbox.ready().await, Err(NotReady::Silent(_)))).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let_go.send(()).unwrap();
    finishing.await.unwrap().unwrap();
    eventually("it is ready again", async || inbox.ready().await.is_ok()).await;
}

#[tokio::test]
async fn an_inbox_that_cannot_be_written_is_not_ready_until_it_can() {
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    inbox.ready().await.unwrap();
    // Another program holds the file locked.
    let beside = Connection::open(dir.path().join(FILE)).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE").unwrap();
    eventually("it is not ready", async || inbox.ready().await.is_err()).await;
    assert!(inbox.put(Notice::new("logs", "a"), "n".to_owned(), 1).await.is_err());
    beside.execute_batch("COMMIT").unwrap();
    eventually("it is ready again", async || inbox.ready().await.is_ok()).await;
    put(&inbox, Notice::new("logs", "a")).await;
}

#[tokio::test]
async fn whichever_bit_of_the_log_is_flipped_no_row_is_lost_in_silence_i8() {
    const NOTICES: usize = 12;
    let dir = TempDir::new().unwrap();
    let inbox = inbox(&dir);
    for number in 0..NOTICES {
        put(&inbox, Notice::new("logs", format!("k{number}"))).await;
    }
    let [file, log, record] =
        [FILE, "inbox.sqlite-wal", "inbox.sqlite-commits"].map(|name| dir.path().join(name));
    let bytes = fs::read(&log).unwrap();
    let (mut lost, mut whole) = (0, 0);
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        let copy = TempDir::new().unwrap();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(copy.path().join("inbox.sqlite-wal"), flipped).unwrap();
        fs::copy(&file, copy.path().join(FILE)).unwrap();
        fs::copy(&record, copy.path().join("inbox.sqlite-commits")).unwrap();
        let opened = open(&copy, Arc::new(Metrics::new()));
        // Where the tables themselves are hit the inbox does not open, which is told as well.
        let Ok(again) = opened else { continue };
        let rows = again.list(Query { limit: 99, ..Query::default() }).await.unwrap().len();
        let loss = again.loss().await.unwrap();
        assert_eq!(loss.is_some(), rows < NOTICES, "bit {} of byte {at}: {rows} rows, {loss:?}", at % 8);
        let (few, all) = (u32::from(loss.is_some()), u32::from(loss.is_none()));
        (lost, whole) = (lost + few, whole + all);
        drop(again);
        let again = open(&copy, Arc::new(Metrics::new())).unwrap();
        assert_eq!(again.loss().await.unwrap(), loss, "the mark outlives a restart");
    }
    assert!(lost > 5, "{lost} losses, {whole} without");
}

/// What happens to PostgreSQL itself, in a server of the test's own.
#[cfg(feature = "foreign-postgres")]
mod postgres {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What may become of a database that is elsewhere.
    #[derive(Clone, Copy, PartialEq)]
    enum Wire {
        Whole,
        /// It takes everything and says nothing.
        Frozen,
        /// Nobody is there.
        Cut,
    }

    /// A way to the server of the tests that may be frozen or cut, at this port.
    async fn wire() -> (u16, watch::Sender<Wire>) {
        let server = std::env::var("SLUICEGATE_TEST_POSTGRES").unwrap();
        let address = server.rsplit('@').next().unwrap().split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, told) = watch::channel(Wire::Whole);
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                if *told.borrow() == Wire::Cut {
                    continue;
                }
                let far = TcpStream::connect(&address).await.unwrap();
                let (near, far) = (near.into_split(), far.into_split());
                for (from, to) in [(near.0, far.1), (far.0, near.1)] {
                    tokio::spawn(carry(from, to, told.clone()));
                }
            }
        });
        (port, state)
    }

    async fn carry(
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        mut told: watch::Receiver<Wire>,
    ) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = vec![0; 64 << 10];
        let mut cut = told.clone();
        let carrying = async {
            while let Ok(read) = from.read(&mut buffer).await
                && read > 0
            {
                told.wait_for(|wire| *wire != Wire::Frozen).await.unwrap();
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = carrying => {}
            _ = cut.wait_for(|wire| *wire == Wire::Cut) => {}
        }
    }

    #[tokio::test]
    async fn a_database_that_is_frozen_or_away_is_not_ready_within_five_seconds_and_goes_on_when_it_is_back_i8()
     {
        let (port, state) = wire().await;
        let home = Home::postgres().by_way_of(port);
        let inbox = home.open().await;
        inbox.ready().await.unwrap();
        for wire in [Wire::Frozen, Wire::Cut] {
            state.send_replace(wire);
            let since = std::time::Instant::now();
            eventually("it is not ready", async || inbox.ready().await.is_err()).await;
            assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
            state.send_replace(Wire::Whole);
            eventually("it is ready again", async || inbox.ready().await.is_ok()).await;
            assert!(inbox.failure().is_none());
        }
        put(&inbox, Notice::new("logs", "a")).await;
    }

    #[tokio::test]
    async fn a_database_that_is_read_only_or_locked_is_not_ready_and_a_restored_one_is_told() {
        let home = Home::postgres();
        let beside = home.beside();
        let (inbox, other) = (home.open().await, beside.open().await);
        inbox.ready().await.unwrap();
        let lock = other.write(|at, _| {
            at.batch("LOCK TABLE objects IN ACCESS EXCLUSIVE MODE")?;
            std::thread::sleep(Duration::from_secs(4));
            Ok(())
        });
        let looking = async {
            eventually("it is not ready", async || matches!(inbox.ready().await, Err(NotReady::Silent(_))))
                .await;
        };
        let (locked, ()) = tokio::join!(lock, looking);
        locked.unwrap();
        eventually("it is ready again", async || inbox.ready().await.is_ok()).await;

        let set = |setting: &'static str| inbox.write(move |at, _| Ok(at.batch(setting)?));
        set("SET default_transaction_read_only = on").await.unwrap();
        eventually("it is not ready", async || matches!(inbox.ready().await, Err(NotReady::Failed(_)))).await;
        drop(inbox);
        let inbox = home.open().await;
        inbox.ready().await.unwrap();

        // As a backup would that was made before the last commits.
        assert_eq!(inbox.loss().await.unwrap(), None);
        let name = inbox.commits.clone();
        other
            .write(move |at, _| {
                Ok(at.execute("UPDATE counters SET value = value - 2 WHERE name = ?1", &[(&name).into()])?)
            })
            .await
            .unwrap();
        put(&inbox, Notice::new("logs", "a")).await;
        assert_eq!(inbox.loss().await.unwrap().map(|loss| loss.commits), Some(2));
    }
}
