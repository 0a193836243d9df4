//! One JSON line a request, so that a test can assert what was never asked of S3: no copy, no delete,
//! no temporary key.

use serde::{Deserialize, Serialize};

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
    /// Whether a copy source was named (CopyObject, UploadPartCopy).
    pub copy: bool,
    /// The HTTP status; 0 when the client went away before the answer.
    pub status: u16,
    /// The body's length, as sent in `content-length`: the request's for a PUT or POST, otherwise the answer's.
    pub bytes: u64,
}
