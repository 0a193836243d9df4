//! One JSON line a request, so that a test can assert what was never asked of S3: no copy, no delete,
//! no temporary key.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::store::now_ms;

/// One S3 request, as logged when its answer was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLine {
    /// When it was answered, milliseconds since 1970.
    pub time_ms: u64,
    /// The HTTP method.
    pub method: String,
    /// The bucket; empty when the path names none.
    pub bucket: String,
    /// The decoded key; empty when the path names none.
    pub key: String,
    /// The query as sent, without `?`; empty if there was none.
    pub query: String,
    /// Whether a copy source was named (`CopyObject`, `UploadPartCopy`).
    pub copy: bool,
    /// The HTTP status; 0 when the client went away before the answer.
    pub status: u16,
    /// The body's length: what a PUT or POST stored or sent, otherwise the answer's.
    pub bytes: u64,
}

/// The file that takes the lines.
#[derive(Debug)]
pub(crate) struct RequestLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl RequestLog {
    pub(crate) fn open(path: &Path) -> io::Result<Arc<Self>> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Arc::new(Self { path: path.to_owned(), file: Mutex::new(file) }))
    }

    /// All that was logged, in this run and before.
    pub(crate) fn read(&self) -> io::Result<Vec<RequestLine>> {
        BufReader::new(File::open(&self.path)?)
            .lines()
            .map(|line| serde_json::from_str(&line?).map_err(io::Error::from))
            .collect()
    }

    fn write(&self, line: &RequestLine) {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text)
        });
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "writing to the request log failed");
        }
    }
}

/// The middleware: the line is in the file before the answer leaves.
pub(crate) async fn record(State(log): State<Arc<RequestLog>>, request: Request, next: Next) -> Response {
    let mut entry = Entry { line: line_of(&request), log };
    let response = next.run(request).await;
    entry.line.status = response.status().as_u16();
    if matches!(entry.line.method.as_str(), "GET" | "HEAD" | "DELETE") {
        entry.line.bytes = response.size_hint().exact().unwrap_or(0);
    }
    response
}

/// Written when dropped, so that a request whose client went away is logged too.
struct Entry {
    line: RequestLine,
    log: Arc<RequestLog>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.line.time_ms = now_ms();
        self.log.write(&self.line);
    }
}

fn line_of(request: &Request) -> RequestLine {
    let path = request.uri().path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    RequestLine {
        time_ms: 0,
        method: request.method().to_string(),
        bucket: decode(bucket),
        key: decode(key),
        query: request.uri().query().unwrap_or_default().to_owned(),
        copy: request.headers().contains_key("x-amz-copy-source"),
        status: 0,
        bytes: if matches!(*request.method(), Method::PUT | Method::POST) {
            body_length(request.headers())
        } else {
            0
        },
    }
}

/// The length of what is stored: of a chunked body that is not what travels.
fn body_length(headers: &HeaderMap) -> u64 {
    let number = |name| headers.get(name)?.to_str().ok()?.parse().ok();
    number("x-amz-decoded-content-length").or_else(|| number(header::CONTENT_LENGTH.as_str())).unwrap_or(0)
}
