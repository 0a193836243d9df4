//! What a caller chooses about a local cloud.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything a [`LocalCloud`](crate::LocalCloud) is started with.
///
/// [`CloudOptions::new`] is right for tests: loopback, free ports, short retries. A program overrides
/// the fields that its flags name.
#[derive(Clone, Debug)]
pub struct CloudOptions {
    /// Where everything lives: objects in `<dir>/<bucket>/<key>`, the rest in `<dir>/.cloud`.
    pub dir: PathBuf,
    /// Where S3 listens; port 0 takes a free one.
    pub s3_addr: SocketAddr,
    /// Where the Lambda Runtime API and the invoke API listen; port 0 takes a free one.
    pub lambda_addr: SocketAddr,
    /// The one access key that S3 accepts; every request must be signed with it.
    pub access_key: String,
    /// The secret of [`access_key`](Self::access_key).
    pub secret_key: String,
    /// The region named in events and in bucket locations. Requests signed for another are accepted.
    pub region: String,
    /// How long a failed asynchronous invocation waits before its second and its third try.
    /// AWS waits [`AWS_RETRY_DELAYS`]; the default here is a local machine's: 1 s and 2 s.
    pub retry_delays: [Duration; 2],
    /// How long a runtime may hold one invocation before that try has failed (AWS: at most 15 minutes).
    pub function_timeout: Duration,
    /// The one function that is invoked; it stands in ARNs and in the path of the invoke API.
    pub function_name: String,
    /// Which new objects invoke the function.
    pub notify: Notify,
    /// A file that takes one JSON line a request, see [`RequestLine`](crate::RequestLine). It is appended to and never rotated.
    pub request_log: Option<PathBuf>,
    /// Whether what was answered survives a loss of power. `false` is for benches and throw-away
    /// tests: a killed process loses nothing even then.
    pub sync: bool,
    /// How the `ETag` of an object is made.
    pub etag: EtagKind,
}

/// AWS's own delays before the second and the third try of an asynchronous invocation.
pub const AWS_RETRY_DELAYS: [Duration; 2] = [Duration::from_mins(1), Duration::from_mins(2)];

/// Which new objects invoke the function: those of `bucket` (any, if `None`) whose key starts with `prefix`
/// and ends with `suffix`. The default is every object.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// The bucket whose objects are notified; `None` is every bucket.
    pub bucket: Option<String>,
    /// What a key must start with.
    pub prefix: String,
    /// What a key must end with.
    pub suffix: String,
}

/// How an `ETag` is made. S3 promises MD5 for plain objects only (not with KMS or multipart), so that no
/// client may rely on it; MD5 is the dearest part of storing a byte here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtagKind {
    /// The MD5 of the bytes; of the parts' MD5s and `-N` for a multipart upload. As S3 without KMS.
    #[default]
    Md5,
    /// An opaque value made of length and CRC32C, as little like an MD5 as S3's with KMS.
    Opaque,
}

impl CloudOptions {
    /// Options for `dir`: loopback, free ports, key `local` with secret `local-secret`, synced.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            dir: dir.into(),
            s3_addr: any_port,
            lambda_addr: any_port,
            access_key: "local".to_owned(),
            secret_key: "local-secret".to_owned(),
            region: "us-east-1".to_owned(),
            retry_delays: [Duration::from_secs(1), Duration::from_secs(2)],
            function_timeout: Duration::from_secs(30),
            function_name: "sluicegate-notifier".to_owned(),
            notify: Notify::default(),
            request_log: None,
            sync: true,
            etag: EtagKind::default(),
        }
    }
}

impl Notify {
    /// Whether a new object with this key in this bucket invokes the function.
    pub fn matches(&self, bucket: &str, key: &str) -> bool {
        self.bucket.as_deref().is_none_or(|only| only == bucket)
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
    }
}
