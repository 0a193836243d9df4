//! The handlers under test, each with a way to see what it was given and to break it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blob_store::{
    BlobStore, Body, ErrorKind, Object, ObjectInfo, Operation, Page, Part, PutOptions, StoreError, Stored,
    Upload, UploadId,
};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

use super::super::{
    Batch, Command, Delivery, Form, Handler, Http, InTransaction, Log, Ndjson, OutputConfig, Rotation,
    Transactional,
};
use super::Site;
use crate::config::HandlerConfig;
use crate::inbox::{Database, DatabaseError};
use crate::testing::config;

/// One handler: how it is started on an inbox, and where its traces are.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// What the reason of its failure holds.
    pub(super) reason: &'static str,
    /// Whether rows come out as JSON values.
    as_json: bool,
    kind: Kind,
    dir: TempDir,
    /// Where the present site's output is.
    folder: Mutex<PathBuf>,
}

enum Kind {
    Log,
    File(Form),
    Command(Box<crate::config::CommandConfig>),
    Http(Box<crate::config::HttpConfig>, Traces),
    InTransaction(Traces),
}

/// Bytes that are remembered: all of the mix, and not all of the large object.
const REMEMBERED: usize = 16 << 20;

#[derive(Clone, Default)]
struct Traces {
    seen: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
}

impl Traces {
    fn take(&self, bytes: &[u8]) -> bool {
        if self.broken.load(Ordering::SeqCst) {
            return false;
        }
        let mut seen = self.seen.lock().unwrap();
        if seen.len() + bytes.len() < REMEMBERED {
            seen.extend_from_slice(bytes);
        }
        true
    }
}

impl Transactional for Traces {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn apply(&self, _: &Database, _: &Delivery, batch: &Batch) -> Result<(), DatabaseError> {
        let taken = self.take(&batch.bytes);
        if taken { Ok(()) } else { Err(DatabaseError::Refused("broken on purpose".to_owned())) }
    }
}

fn subject(name: &'static str, reason: &'static str, kind: Kind) -> Subject {
    let dir = TempDir::new().unwrap();
    Subject { name, reason, as_json: false, kind, dir, folder: Mutex::default() }
}

pub(super) fn log() -> Subject {
    subject("log", "", Kind::Log)
}

pub(super) fn ndjson() -> Subject {
    Subject { as_json: true, ..subject("ndjson", "move it away", Kind::File(Form::Json)) }
}

pub(super) fn lines() -> Subject {
    subject("lines", "move it away", Kind::File(Form::Lines))
}

pub(super) fn command(feed: &str) -> Subject {
    let dir = TempDir::new().unwrap();
    // Whatever ends an input, the next one begins on a line of its own.
    let line = format!(
        "cd {} && [ ! -e broken ] && head -c 4000000 >> seen && {{ [ -z \"$(tail -c 1 seen)\" ] || echo >> seen; }}",
        dir.path().display()
    );
    let argv = serde_json::json!(["sh", "-c", line]).to_string();
    let flags = ["--handler-kind", "command", "--handler-command", &argv, "--handler-feed", feed];
    let HandlerConfig::Command(command) = config(&flags).handler else { panic!("no command") };
    Subject { dir, ..subject("command", "exit code 1", Kind::Command(Box::new(command))) }
}

pub(super) async fn http(format: &str, feed: &str) -> Subject {
    let traces = Traces::default();
    let receiver = traces.clone();
    let as_json = format == "json";
    let app = Router::new().fallback(async move |body: Bytes| {
        let rows = if as_json { elements(&body) } else { body.to_vec() };
        if receiver.take(&rows) { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A runtime of its own, as a receiver has: what it holds is small, and what it does is not ours.
    tokio::spawn(async move {
        axum::serve(listener, app.layer(axum::extract::DefaultBodyLimit::disable())).await
    });
    let flags =
        ["--handler-kind", "http", "--handler-url", &url, "--handler-format", format, "--handler-feed", feed];
    let HandlerConfig::Http(http) = config(&flags).handler else { panic!("no http") };
    Subject { as_json, ..subject("http", "500", Kind::Http(Box::new(http), traces)) }
}

/// The elements of a JSON array, one a line.
fn elements(array: &[u8]) -> Vec<u8> {
    let elements: Vec<Value> = serde_json::from_slice(array).unwrap();
    elements.iter().flat_map(|element| format!("{element}\n").into_bytes()).collect()
}

/// What README and the operator's manual say that a row is as JSON.
fn as_json(row: &[u8]) -> Value {
    match (serde_json::from_slice(row), std::str::from_utf8(row)) {
        (Ok(value), Ok(_)) => value,
        (_, Ok(text)) => Value::from(text),
        (_, Err(_)) => serde_json::json!({ "data_base64": STANDARD.encode(row) }),
    }
}

pub(super) fn in_transaction() -> Subject {
    subject("in transaction", "broken on purpose", Kind::InTransaction(Traces::default()))
}

impl Subject {
    /// The handler as a start of the server makes it.
    pub(super) async fn start(&self, site: &Site) -> Arc<dyn Handler> {
        match &self.kind {
            Kind::Log => Arc::new(Log),
            Kind::File(form) => {
                // Each site has an inbox of its own, and so an output of its own.
                let folder = self.dir.path().join(site.dir.path().file_name().unwrap());
                std::fs::create_dir_all(&folder).unwrap();
                self.folder.lock().unwrap().clone_from(&folder);
                let config = OutputConfig {
                    path: folder.join("out.ndjson"),
                    rotation: Rotation { bytes: Some(1), age: None },
                    form: *form,
                    max_event_bytes: 16 << 20,
                };
                Arc::new(Ndjson::open(&config, &site.inbox).await.unwrap())
            }
            Kind::Command(config) => Arc::new(Command::new((**config).clone(), site.inbox.dir().to_owned())),
            Kind::Http(config, _) => Arc::new(Http::new((**config).clone()).unwrap()),
            Kind::InTransaction(traces) => Arc::new(InTransaction::new(traces.clone())),
        }
    }

    /// The rows that came out of the handler, as it shows them; `None` if it shows none.
    pub(super) fn seen(&self) -> Option<Vec<Vec<u8>>> {
        let seen: Vec<u8> = match &self.kind {
            Kind::Log => return None,
            Kind::File(_) => self.outputs().iter().flat_map(|path| std::fs::read(path).unwrap()).collect(),
            Kind::Command(_) => std::fs::read(self.path("seen")).unwrap_or_default(),
            Kind::Http(_, traces) | Kind::InTransaction(traces) => traces.seen.lock().unwrap().clone(),
        };
        let rows = seen.split_inclusive(|byte| *byte == b'\n').map(|row| row.strip_suffix(b"\n").unwrap());
        let shown = |row: &[u8]| {
            let value =
                self.as_json.then(|| serde_json::from_slice::<Value>(row).expect("JSON on each line"));
            value.map_or_else(|| row.to_vec(), |value| value.to_string().into_bytes())
        };
        Some(rows.map(shown).collect())
    }

    /// How a row is to come out.
    pub(super) fn shows(&self, row: &[u8]) -> Vec<u8> {
        if self.as_json { as_json(row).to_string().into_bytes() } else { row.to_vec() }
    }

    /// Breaks or mends the handler; `false` if nothing can break it.
    pub(super) fn set_broken(&self, broken: bool) -> bool {
        match &self.kind {
            Kind::Log => return false,
            Kind::File(_) => {
                // Somebody else's lines where the next file would be.
                let next = self.folder.lock().unwrap().join("out-000001.ndjson");
                if broken {
                    std::fs::write(next, "theirs\n").unwrap();
                } else {
                    std::fs::remove_file(next).unwrap();
                }
            }
            Kind::Command(_) if broken => std::fs::write(self.path("broken"), "").unwrap(),
            Kind::Command(_) => std::fs::remove_file(self.path("broken")).unwrap(),
            Kind::Http(_, traces) | Kind::InTransaction(traces) => {
                traces.broken.store(broken, Ordering::SeqCst);
            }
        }
        true
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn outputs(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(&*self.folder.lock().unwrap()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        files
    }
}

/// A store that holds one large object of short lines, and makes it while it is read.
pub(super) struct Zeros;

impl Zeros {
    /// Bytes of the object.
    pub(super) const LENGTH: u64 = 256 << 20;

    const PIECE: u64 = 64 << 10;

    fn info() -> ObjectInfo {
        ObjectInfo { length: Some(Self::LENGTH), etag: Some("zeros".to_owned()), ..ObjectInfo::default() }
    }

    fn refuse<T>(operation: Operation) -> Result<T, StoreError> {
        Err(StoreError::new(operation, "large", ErrorKind::Unsupported, "this store is read only"))
    }
}

#[async_trait::async_trait]
impl BlobStore for Zeros {
    fn bucket(&self) -> &'static str {
        "logs"
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn put_if_absent(&self, _: &str, _: Body, _: &PutOptions) -> Result<Stored, StoreError> {
        Self::refuse(Operation::Put)
    }

    async fn create_upload(&self, _: &str, _: &PutOptions) -> Result<UploadId, StoreError> {
        Self::refuse(Operation::CreateUpload)
    }

    async fn upload_part(&self, _: &str, _: &UploadId, _: i32, _: Body, _: u32) -> Result<Part, StoreError> {
        Self::refuse(Operation::UploadPart)
    }

    async fn complete_upload(
        &self,
        _: &str,
        _: &UploadId,
        _: &[Part],
        _: &PutOptions,
    ) -> Result<Stored, StoreError> {
        Self::refuse(Operation::CompleteUpload)
    }

    async fn abort_upload(&self, _: &str, _: &UploadId) -> Result<(), StoreError> {
        Self::refuse(Operation::AbortUpload)
    }

    async fn list_uploads(&self, _: &str) -> Result<Vec<Upload>, StoreError> {
        Self::refuse(Operation::ListUploads)
    }

    async fn head(&self, _: &str, _: Option<&str>) -> Result<ObjectInfo, StoreError> {
        Ok(Self::info())
    }

    async fn get(&self, _: &str, _: Option<&str>, _: Option<Range<u64>>) -> Result<Object, StoreError> {
        let piece = Bytes::from([&[b'0'; 1023][..], b"\n"].concat().repeat(Self::PIECE as usize / 1024));
        let pieces = (0..Self::LENGTH / Self::PIECE).map(move |_| Ok(piece.clone()));
        Ok(Object { info: Self::info(), body: Box::pin(futures_util::stream::iter(pieces)) })
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page, StoreError> {
        Self::refuse(Operation::List)
    }
}
