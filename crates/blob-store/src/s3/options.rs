//! How to reach a bucket.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a header of tags escapes: all but what is unreserved in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where the bucket is, who we are there, and how long we wait.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// Its region. `None`: the environment's or the profile's; with an endpoint `us-east-1`.
    pub region: Option<String>,
    /// The URL of a server other than AWS, such as `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Whether the bucket is named in the path (`/bucket/key`) instead of the host.
    /// Most servers other than AWS want it.
    pub path_style: bool,
    /// Who we are.
    pub credentials: Credentials,
    /// Whether each request's signature covers its body (SHA-256 of every byte, and the whole
    /// body of one request in memory). Off, the checksum header covers the bytes, and over
    /// `https` the connection covers the header.
    pub payload_signing: bool,
    /// What vouches for the bytes of a multipart upload.
    pub multipart_checksum: MultipartChecksum,
    /// The storage class of what is put, as S3 names it; the bucket's own where there is none.
    pub storage_class: Option<String>,
    /// The tags of what is put: names with values. They ask for the permission `s3:PutObjectTagging`.
    pub tags: Vec<(String, String)>,
    /// PEM file of the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait without progress: no byte of our body taken, no byte of the answer come.
    pub read_timeout: Duration,
    /// The longest time for one call, to which `1 s` is added for each `min_bytes_per_second`
    /// of its body.
    pub operation_timeout: Duration,
    /// The longest time for completing an upload instead: S3 may take minutes to assemble one.
    pub complete_timeout: Duration,
    /// The slowest transfer that is still waited for; see `operation_timeout`.
    pub min_bytes_per_second: u64,
}

/// What vouches for the bytes of a multipart upload, and what a head of the object tells of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultipartChecksum {
    /// The CRC32C of the whole object, checked when the upload is completed and kept with it.
    #[default]
    FullObject,
    /// Only the parts' checksums, each checked as it arrives: for servers that know no other.
    /// A head of the object then gives no checksum; the one in our metadata remains.
    Composite,
}

/// Where credentials come from. Whatever expires is renewed before it does.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The chain of the AWS tools: environment, profile, web identity, container, instance.
    #[default]
    Default,
    /// A named profile of the AWS configuration files.
    Profile(String),
    /// A fixed key.
    Static {
        /// Its id.
        access_key_id: String,
        /// Its secret; never shown.
        secret_access_key: String,
        /// The token of temporary credentials; never shown.
        session_token: Option<String>,
    },
    /// A role, assumed with the credentials of the default chain.
    AssumeRole {
        /// The role, such as `arn:aws:iam::123456789012:role/shipper`.
        role_arn: String,
        /// What the role's trust policy may ask for.
        external_id: Option<String>,
        /// How the session is named in the audit log.
        session_name: String,
    },
}

impl S3Options {
    /// A bucket on AWS with the default chain of credentials and the default time-outs.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            path_style: false,
            credentials: Credentials::Default,
            payload_signing: false,
            multipart_checksum: MultipartChecksum::FullObject,
            storage_class: None,
            tags: Vec::new(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(60),
            complete_timeout: Duration::from_secs(300),
            min_bytes_per_second: 64 << 10,
        }
    }
}

impl S3Options {
    /// The tags as a header carries them: `name=value&name=value`.
    pub(super) fn tagging(&self) -> Option<String> {
        let escaped = |text| utf8_percent_encode(text, ESCAPED);
        let tags = self.tags.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        let tags: Vec<_> = tags.collect();
        (!tags.is_empty()).then(|| tags.join("&"))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::Profile(name) => f.debug_tuple("Profile").field(name).finish(),
            Self::Static { access_key_id, .. } => {
                f.debug_struct("Static").field("access_key_id", access_key_id).finish_non_exhaustive()
            }
            Self::AssumeRole { role_arn, session_name, .. } => f
                .debug_struct("AssumeRole")
                .field("role_arn", role_arn)
                .field("session_name", session_name)
                .finish_non_exhaustive(),
        }
    }
}
