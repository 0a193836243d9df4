use contract::Notice;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::handler::Log;
use crate::inbox::{FILE, Totals};
use crate::testing::{config, inbox};

/// Workers that hold one attempt, over an inbox that does not take its failure.
struct Bench {
    dir: TempDir,
    workers: Workers,
    claim: Claim,
    stop: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let inbox = Arc::new(inbox(&dir));
        inbox.put(Notice::new("logs", "a"), "a".to_owned(), 0).await.unwrap();
        let claim = inbox.claim(1, 1_000).await.unwrap().claims.remove(0);
        let config = config(&[]);
        let live = Arc::new(Live::new(inbox.totals()));
        let workers = Workers {
            inbox,
            stores: Stores::new(),
            handler: Arc::new(Log),
            fetch: config.fetch,
            retry: config.retry,
            live,
            metrics: Arc::new(Metrics::new()),
        };
        let bench = Self { dir, workers, claim, stop: CancellationToken::new() };
        bench.beside(
            "CREATE TRIGGER refuse BEFORE UPDATE ON objects WHEN OLD.state = 'fetching'
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
        );
        bench
    }

    /// Works on the inbox's file beside the inbox.
    fn beside(&self, statement: &str) {
        Connection::open(self.dir.path().join(FILE)).unwrap().execute_batch(statement).unwrap();
    }

    async fn failed(&self) {
        let error = HandlerError::retry("no connection").into();
        self.workers.failed(&self.claim, &error, &self.stop).await;
    }

    /// Returns once the inbox has refused: it takes one job after the other.
    async fn refused(&self) {
        self.workers.inbox.put(Notice::new("logs", "b"), "b".to_owned(), 0).await.unwrap();
        assert_eq!(self.totals(), Totals { owed: 1, fetching: 1, ..Totals::default() });
    }

    fn totals(&self) -> Totals {
        self.workers.inbox.totals()
    }
}

#[tokio::test]
async fn a_failure_that_the_inbox_refuses_is_entered_once_it_takes_it() {
    let bench = Bench::new().await;
    tokio::join!(bench.failed(), async {
        bench.refused().await;
        bench.beside("DROP TRIGGER refuse");
    });
    assert_eq!(bench.totals(), Totals { owed: 2, ..Totals::default() });
}

#[tokio::test]
async fn a_stop_or_a_closed_inbox_ends_the_wait_to_enter_a_failure() {
    let bench = Bench::new().await;
    tokio::join!(bench.failed(), async {
        bench.refused().await;
        bench.stop.cancel();
    });
    let bench = Bench::new().await;
    bench.workers.inbox.close();
    bench.failed().await;
}

#[tokio::test]
async fn a_handler_that_panics_has_failed_and_its_object_is_tried_again() {
    struct Panics;
    #[async_trait::async_trait]
    impl Handler for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        async fn handle(
            &self,
            delivery: &Delivery,
            _: &mut Content,
        ) -> Result<Box<dyn Effect>, HandlerError> {
            panic!("attempt {} is too much", delivery.attempt)
        }
    }
    let dir = TempDir::new().unwrap();
    let inbox = Arc::new(inbox(&dir));
    let store = Arc::new(blob_store::MemoryStore::new("logs"));
    let put = blob_store::PutOptions { crc32c: crc32c::crc32c(b"x"), ..blob_store::PutOptions::default() };
    blob_store::BlobStore::put_if_absent(&*store, "a", blob_store::Body::from(b"x".to_vec()), &put)
        .await
        .unwrap();
    inbox.put(Notice::new("logs", "a"), "a".to_owned(), 0).await.unwrap();
    let config = config(&["--retry-base", "1ms", "--retry-attempts", "3"]);
    let workers = Arc::new(Workers {
        inbox: inbox.clone(),
        stores: Stores::from([("logs".to_owned(), store as Arc<dyn blob_store::BlobStore>)]),
        handler: Arc::new(Panics),
        fetch: config.fetch,
        retry: config.retry,
        live: Arc::new(Live::new(inbox.totals())),
        metrics: Arc::new(Metrics::new()),
    });
    let mut changes = inbox.changes();
    let stop = CancellationToken::new();
    let running = tokio::spawn(workers.run(stop.clone(), Duration::ZERO));
    let dead = loop {
        let row = changes.recv().await.unwrap();
        if row.state == crate::inbox::State::Dead {
            break row;
        }
    };
    assert_eq!(
        (dead.attempts, dead.last_error.as_deref()),
        (3, Some("the handler panicked: attempt 3 is too much"))
    );
    stop.cancel();
    running.await.unwrap();
}
