//! A running server and the few requests that the tests make.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blob_store::{BlobStore, Body, PutOptions};
use downstream_server::config::Start;
use downstream_server::fetch::Stores;
use downstream_server::handler::Handler;
use downstream_server::{Config, Parts, RunError, run_with};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for anything; far beyond what is needed, so that it only ends a hopeless wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server in this process.
pub(crate) struct Site {
    pub(crate) address: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), RunError>>,
}

/// The configuration of these flags, with a folder and a free port.
pub(crate) fn config(dir: &Path, flags: &[&str]) -> Config {
    let folder = dir.to_str().unwrap();
    let ready = dir.join("ready.json");
    let args = [
        "downstream-server",
        "--listen",
        "127.0.0.1:0",
        "--dir",
        folder,
        "--ready-file",
        ready.to_str().unwrap(),
        "--retry-base",
        "1ms",
        "--retry-max",
        "20ms",
    ];
    let buckets = if flags.contains(&"--notices-buckets") { &[][..] } else { &["--notices-buckets", "logs"] };
    match Start::from_args(args.iter().chain(buckets).chain(flags), |_| None).unwrap() {
        Start::Run(config) => *config,
        other => panic!("{other:?}"),
    }
}

impl Site {
    pub(crate) async fn start(
        dir: &Path,
        store: Arc<dyn BlobStore>,
        handler: Option<Arc<dyn Handler>>,
        flags: &[&str],
    ) -> Self {
        Self::over(dir, Stores::from([("logs".to_owned(), store)]), handler, flags).await
    }

    /// Over buckets of which the flags name those beside `logs`.
    pub(crate) async fn over(
        dir: &Path,
        stores: Stores,
        handler: Option<Arc<dyn Handler>>,
        flags: &[&str],
    ) -> Self {
        let config = config(dir, flags);
        let ready = dir.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let (stop, stopped) = oneshot::channel();
        let mut running =
            tokio::spawn(run_with(config, Parts { stores, handler }, async { drop(stopped.await) }));
        let ready = tokio::select! {
            ready = eventually("the server is ready", async || std::fs::read(&ready).ok()) => ready,
            ended = &mut running => panic!("the server ended: {ended:?}"),
        };
        let ready: Value = serde_json::from_slice(&ready).unwrap();
        Self { address: ready["address"].as_str().unwrap().to_owned(), stop, running }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }

    pub(crate) async fn notify(&self, key: &str) -> u16 {
        self.tell(&serde_json::json!({ "bucket": "logs", "key": key })).await.0
    }

    /// Posts a notice: the status, and whether it was new or a repeat.
    pub(crate) async fn tell(&self, notice: &Value) -> (u16, String) {
        let (status, body) = request(&self.address, "POST", "/v1/notices", &notice.to_string()).await;
        let said: Value = serde_json::from_str(&body).unwrap();
        (status, said["status"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = request(&self.address, "GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until so many objects are done.
    pub(crate) async fn until_done(&self, count: u64) {
        let what = format!("{count} objects are done");
        let done = async || (self.get("/v1/summary").await["totals"]["done"] == count).then_some(());
        self.eventually(&what, done).await;
    }

    /// Asks at each message of the server's own stream until there is an answer.
    pub(crate) async fn eventually<T>(&self, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET /v1/stream HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let asking = async {
            let mut messages = [0; 4096];
            loop {
                // The first are the head: from there on nothing is missed.
                assert!(stream.read(&mut messages).await.unwrap() > 0, "the server hung up");
                if let Some(answer) = ask().await {
                    return answer;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, asking).await;
        waited.unwrap_or_else(|_| panic!("waited in vain until {what}"))
    }
}

/// Asks for what no message tells, a file or an exit, until there is an answer or no hope.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn request(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

pub(crate) async fn store(store: &dyn BlobStore, key: &str, content: &str) {
    let put = PutOptions { crc32c: crc32c::crc32c(content.as_bytes()), ..PutOptions::default() };
    store.put_if_absent(key, Body::from(content.as_bytes().to_vec()), &put).await.unwrap();
}
