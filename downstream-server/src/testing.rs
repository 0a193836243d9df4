//! What the unit tests share: a configuration, an inbox in a folder of its own, requests.

mod kept;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use contract::{ChannelId, CutId, CutKind, Notice, ObjectMetadata};
use http::{Request, Response, StatusCode};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::{App, AppState, Peer, router};
use crate::config::{Config, Start};
use crate::fetch::Stores;
use crate::handler::{Effect, NoEffect, Outcome};
use crate::inbox::{Database, DatabaseError, FILE, Finished, Identity, Inbox, Location, OpenError, Report};
use crate::live::Live;
use crate::reading::Reading;
use crate::telemetry::Metrics;

pub(crate) use kept::Kept;

/// The token of whoever asks in a test.
pub(crate) const TOKEN: &str = "the-token-of-a-test";

/// A configuration for bucket `logs`, with these flags in addition.
pub(crate) fn config(flags: &[&str]) -> Config {
    let args = ["downstream-server", "--notices-buckets", "logs", "--listen", "127.0.0.1:0"];
    match Start::from_args(args.iter().chain(flags), |_| None) {
        Ok(Start::Run(mut config)) => {
            config.tokens.add(&format!("test:{TOKEN}")).expect("it is a token");
            config.store_events.senders.add(&format!("store:{TOKEN}")).expect("it is a token");
            *config
        }
        other => panic!("not a configuration to run: {other:?}"),
    }
}

pub(crate) fn inbox(dir: &TempDir) -> Inbox {
    open(dir, &Location::File(None), &Arc::new(Metrics::new()))
}

fn open(dir: &TempDir, location: &Location, metrics: &Arc<Metrics>) -> Inbox {
    free(|| Inbox::open(dir.path(), location, Duration::from_secs(60), Arc::clone(metrics)))
}

/// Opens an inbox that nobody has open any more. A process that another test starts meanwhile has
/// our descriptors, and so the lock, between its fork and its exec.
fn free(open: impl Fn() -> Result<Inbox, OpenError>) -> Inbox {
    let began = Instant::now();
    loop {
        match open() {
            Err(OpenError::Locked(_)) if began.elapsed() < Duration::from_secs(10) => {
                std::thread::yield_now();
            }
            opened => return opened.expect("the inbox opens"),
        }
    }
}

/// Makes each promise, a function of this module that is given a [`Home`], a test of its own on each database.
macro_rules! on_each_database {
    ($($promise:ident,)*) => {
        mod sqlite {
            use crate::testing::Home;
            $(#[tokio::test] async fn $promise() { super::$promise(Home::sqlite()).await; })*
        }

        #[cfg(feature = "foreign-postgres")]
        mod postgres {
            use crate::testing::Home;
            $(#[tokio::test] async fn $promise() { super::$promise(Home::postgres()).await; })*
        }
    };
}
pub(crate) use on_each_database;

/// A server's folder, and where its inbox is.
pub(crate) struct Home {
    dir: TempDir,
    location: Location,
}

impl Home {
    /// An inbox in an SQLite file.
    pub(crate) fn sqlite() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder"), location: Location::File(None) }
    }

    /// An inbox of its own in the PostgreSQL server that `SLUICEGATE_TEST_POSTGRES` names.
    #[cfg(feature = "foreign-postgres")]
    pub(crate) fn postgres() -> Self {
        let server =
            std::env::var("SLUICEGATE_TEST_POSTGRES").expect("cargo xtask test --only inbox sets it");
        let dir = TempDir::new().expect("a temporary folder");
        let schema = format!(
            "t{}_{}",
            std::process::id(),
            dir.path().file_name().expect("a name").to_string_lossy().replace('.', "").to_lowercase()
        );
        let made = std::process::Command::new("psql")
            .args([&server, "-q", "-c", &format!("CREATE SCHEMA {schema}")])
            .status()
            .expect("psql is installed with PostgreSQL");
        assert!(made.success());
        // The name keeps a test that ends connections from ending those of others.
        let url = format!("{server}?options=-csearch_path%3D{schema}&application_name={schema}");
        Self { dir, location: Location::Postgres { url, ca_file: None } }
    }

    /// The same, on connections with this setting of the database.
    #[cfg(feature = "foreign-postgres")]
    pub(crate) fn set(self, setting: &str) -> Self {
        let Location::Postgres { url, ca_file } = self.location else { panic!("an inbox in a file") };
        let setting = format!("options=-c{}%20", setting.replace('=', "%3D"));
        Self {
            dir: self.dir,
            location: Location::Postgres { url: url.replace("options=", &setting), ca_file },
        }
    }

    /// The same, reached by way of another port of this machine.
    #[cfg(feature = "foreign-postgres")]
    pub(crate) fn by_way_of(self, port: u16) -> Self {
        let Location::Postgres { url, ca_file } = self.location else { panic!("an inbox in a file") };
        let server = std::env::var("SLUICEGATE_TEST_POSTGRES").expect("it was asked before");
        let address =
            server.rsplit('@').next().and_then(|rest| rest.split('/').next()).expect("it has a host");
        let url = url.replace(address, &format!("127.0.0.1:{port}"));
        Self { dir: self.dir, location: Location::Postgres { url, ca_file } }
    }

    /// Another server's folder over the same inbox.
    #[cfg(feature = "foreign-postgres")]
    pub(crate) fn beside(&self) -> Self {
        Self { dir: TempDir::new().expect("a temporary folder"), location: self.location.clone() }
    }

    /// The same with what a server of inbox version 3 left there, and what it streamed of it.
    pub(crate) fn of_version_3(self) -> (Self, String) {
        let fixture = |name: &str| std::path::Path::new("tests/fixtures/v3").join(name);
        let streamed = match &self.location {
            Location::File(_) => {
                std::fs::copy(fixture("inbox.sqlite"), self.dir.path().join(FILE)).expect("the fixture");
                "feed.ndjson"
            }
            Location::Postgres { url, .. } => {
                let loaded = std::process::Command::new("psql")
                    .args([url, "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"])
                    .arg(fixture("inbox-postgres.sql"))
                    .status();
                assert!(loaded.expect("psql is installed with PostgreSQL").success());
                // The name of the server whose output is in it.
                std::fs::write(self.dir.path().join("instance"), "207002cc6b8424bc944a88d8245660d8\n")
                    .expect("a file");
                "feed-postgres.ndjson"
            }
        };
        let streamed = std::fs::read_to_string(fixture(streamed)).expect("the fixture");
        (self, streamed)
    }

    /// Opens the inbox, or opens it again.
    pub(crate) async fn open(&self) -> Inbox {
        self.open_with(Duration::from_secs(60)).await
    }

    pub(crate) async fn open_with(&self, lease: Duration) -> Inbox {
        let (dir, location) = (self.dir.path().to_owned(), self.location.clone());
        let opening = move || Inbox::open(&dir, &location, lease, Arc::new(Metrics::new()));
        tokio::task::spawn_blocking(move || free(opening)).await.expect("no panic")
    }
}

/// Asks for what no message tells, until it is so or there is no hope.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// An effect that holds the inbox's writer, within its transaction, until it is let go.
pub(crate) struct Hold {
    begun: Option<oneshot::Sender<()>>,
    until: mpsc::Receiver<()>,
}

impl Hold {
    /// The effect, what tells that it holds, and what lets go.
    pub(crate) fn new() -> (Self, oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (begun, holding) = oneshot::channel();
        let (let_go, until) = mpsc::channel();
        (Self { begun: Some(begun), until }, holding, let_go)
    }
}

impl Effect for Hold {
    fn apply(&mut self, _: &Database) -> Result<(), DatabaseError> {
        let begun = self.begun.take().expect("it is applied once");
        begun.send(()).expect("somebody waits for it");
        self.until.recv().expect("somebody lets go");
        Ok(())
    }

    fn settle(self: Box<Self>, _: Outcome) {}
}

/// The routes over an inbox, without a listener.
pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) dir: TempDir,
}

impl Site {
    pub(crate) fn new(config: &Config) -> Self {
        Self::over(config, Stores::new())
    }

    pub(crate) fn over(config: &Config, stores: Stores) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let inbox = inbox(&dir);
        Self::with(config, stores, dir, inbox)
    }

    /// Over an inbox in any database.
    pub(crate) async fn at(home: Home, config: &Config, stores: Stores) -> Self {
        let inbox = home.open().await;
        Self::with(config, stores, home.dir, inbox)
    }

    fn with(config: &Config, stores: Stores, dir: TempDir, inbox: Inbox) -> Self {
        let (inbox, metrics) = (Arc::new(inbox), Arc::new(Metrics::new()));
        let live = Arc::new(Live::new(inbox.totals()));
        let app = AppState::new(config, inbox, stores, live, metrics, "log", CancellationToken::new())
            .expect("the token file");
        Self { app, dir }
    }

    /// Works on the inbox's file beside the inbox.
    pub(crate) fn beside(&self, statements: &str) {
        let connection = rusqlite::Connection::open(self.dir.path().join(FILE)).expect("the file opens");
        connection.execute_batch(statements).expect("the statements are right");
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let mut request = request;
        let peer = Peer("127.0.0.1:5000".parse().expect("an address"));
        if request.extensions().get::<ConnectInfo<Peer>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        router(self.app.clone()).oneshot(request).await.expect("the routes never fail")
    }

    /// Sends a request and reads the whole answer as text.
    pub(crate) async fn ask(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.send(request).await;
        (answer.status(), text(answer).await)
    }
}

pub(crate) async fn text(answer: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(answer.into_body(), 16 << 20).await.expect("a whole body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A notice as JSON in a request.
pub(crate) fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/notices")
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a request")
}

/// A request to do something, as JSON, from this machine and with a token.
pub(crate) fn post_to(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path)
        .header("host", "localhost:8090")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {TOKEN}"));
    request.body(body.into()).expect("a request")
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost:8090").body(Body::empty()).expect("a request")
}

/// What one of our objects would say about itself: cut `number` of channel 7, with 10 events and
/// running totals as if each cut before it held as many.
pub(crate) fn metadata_of(number: u64) -> ObjectMetadata {
    ObjectMetadata {
        version: ObjectMetadata::VERSION,
        cut: CutId { channel: ChannelId([7; 16]), sink: "s3".parse().expect("a name"), number },
        kind: CutKind::Events,
        events: 10,
        first: number * 10,
        last: number * 10 + 9,
        set_aside: 0,
        total_events: number * 10,
        total_dead_lettered: 0,
        total_damaged: 0,
        length: 100,
        crc32c: 7,
        format: "text".to_owned(),
        format_version: 1,
        rows: Some("events".to_owned()),
        codec: "none".to_owned(),
    }
}

/// Tells the inbox of the object and makes it done, as a worker would, at `now_ms`.
pub(crate) async fn handled(inbox: &Inbox, metadata: ObjectMetadata, now_ms: i64) -> Finished {
    let key = format!("events/{}.txt", metadata.cut);
    let notice = Notice::new("logs", key);
    inbox.put(notice, "n".to_owned(), now_ms).await.expect("a notice is taken");
    let claim = inbox.claim(1, now_ms).await.expect("a claim").claims.pop().expect("the object is owed");
    let (events, bytes) = (metadata.events, metadata.length);
    let reader = Reading::of(Some(&metadata));
    let report = Report { identity: Identity::of_metadata(metadata), reader, events, bytes, now_ms };
    inbox.finish(&claim, report, Box::new(NoEffect)).await.expect("it is done")
}
