//! What can go wrong, in the words of the decision a caller has to take.

use std::error::Error;
use std::fmt;

/// A call that failed.
///
/// Its text names the operation, the key and the store's own words; [`kind`](Self::kind) is what
/// to decide by.
#[derive(Debug)]
pub struct StoreError {
    /// What to decide by.
    pub kind: ErrorKind,
    /// The call that failed.
    pub operation: Operation,
    /// The key it was about; for calls about the bucket its name, for listings the prefix.
    pub subject: Box<str>,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The store's code, such as `SlowDown`, if the answer had one.
    pub code: Option<Box<str>>,
    /// The store's words or the transport's, with the request's id for its support people.
    pub message: Box<str>,
    /// What caused it.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// A call of [`BlobStore`](crate::BlobStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `check`: HeadBucket.
    Check,
    /// `put_if_absent`: PutObject.
    Put,
    /// `create_upload`: CreateMultipartUpload.
    CreateUpload,
    /// `upload_part`: UploadPart.
    UploadPart,
    /// `complete_upload`: CompleteMultipartUpload.
    CompleteUpload,
    /// `abort_upload`: AbortMultipartUpload.
    AbortUpload,
    /// `list_uploads`: ListMultipartUploads.
    ListUploads,
    /// `head`: HeadObject.
    Head,
    /// `get`: GetObject.
    Get,
    /// `list`: ListObjectsV2.
    List,
    /// `discard`: DeleteObject, of what tried the store out.
    Discard,
}

/// Why a call failed, and whether its effect may have taken place all the same.
///
/// "Not stored" means: not by this request. An earlier attempt of the same put may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 412: the key holds an object already. Not stored by this request; the object there may be
    /// an earlier attempt's, so look at it before concluding.
    PreconditionFailed,
    /// 409: another conditional request on this key was under way. Not stored; ask again.
    /// After a completion the upload may be gone: look before completing again.
    ConditionalConflict,
    /// 404: no object under this key, or no such version. Not stored.
    ///
    /// A head cannot tell it from a missing bucket, since its answer has no body.
    NoSuchKey,
    /// 404: the upload was completed, aborted or never was, or lacks a part that was named. Not
    /// stored by this request; an earlier completion of the same upload may have been.
    NoSuchUpload,
    /// The bucket does not exist, or is in another region than the one asked. Not stored.
    NoSuchBucket,
    /// 403: these credentials may not do this. Not stored. On a head it never means "absent":
    /// without the right to list, S3 answers 403 for a key that does not exist.
    AccessDenied,
    /// The credentials were valid once and are not any more. Not stored; the next request loads
    /// them anew.
    CredentialsExpired,
    /// No credentials could be had, or the store knows none like these (unknown key id, wrong
    /// signature, clock too far off). Not stored.
    Credentials,
    /// 429, or 503 with a code that asks to slow down. S3 has stored nothing, yet something
    /// between may say the same: treat it as possibly stored.
    Throttled,
    /// Another 5xx. May have been stored.
    Server,
    /// No connection in time, no progress for too long, or no answer within the time that the
    /// body's size allows. May have been stored.
    Timeout,
    /// The connection could not be made, or broke. May have been stored.
    Connection,
    /// 200 whose body says error, or lacks the result: a completion's headers leave before its
    /// outcome is known. May have been stored.
    ErrorIn200,
    /// An answer, but not S3's: something between us and the store has answered, such as a gateway with a page of its
    /// own. Nothing follows from it. May have been stored.
    NotS3,
    /// The bytes that arrived are not those of the checksum. Not stored. Sending again helps if
    /// they changed on the way; if not, the caller's checksum is wrong.
    ChecksumMismatch,
    /// Our own data could not be read, was shorter or longer than promised, or is not that of its checksum. Not
    /// stored, for the request was never whole.
    Body,
    /// The store has no such operation or header, or it refuses a write with an answer that is not known
    /// to be final. Not stored.
    Unsupported,
    /// 400: something in the request is not as this store wants it, and its code does not tell whether that is so
    /// for this object alone, or for a setting that all share. The answer to a head tells nothing more, even where the
    /// credentials have expired. Not stored.
    Rejected,
    /// Any other 4xx, or a request that cannot be built: the same request can never succeed. A write is so only for
    /// what is wrong with its very object: its key, its sizes, its metadata. Not stored.
    NeverValid,
}

/// Why no store could be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither the options nor the environment or profile name a region.
    #[error("no region is configured, and neither environment nor profile names one")]
    NoRegion,
    /// The endpoint is not an `http` or `https` URL.
    #[error("endpoint `{0}` is not an http or https URL")]
    Endpoint(String),
    /// The file of certificate authorities cannot be read or used.
    #[error("reading certificate authorities from {path}")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The connection's encryption cannot be set up.
    #[error("setting up TLS")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
}

impl ErrorKind {
    /// Whether the failed request itself may have had its effect.
    pub fn may_be_stored(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::Server
                | Self::Timeout
                | Self::Connection
                | Self::ErrorIn200
                | Self::NotS3
        )
    }

    /// Whether the same request can succeed later with nothing changed but time, load or
    /// credentials. The other kinds are answers, or need a person or another request.
    pub fn retry_can_help(self) -> bool {
        match self {
            Self::ConditionalConflict
            | Self::NoSuchBucket
            | Self::AccessDenied
            | Self::CredentialsExpired
            | Self::Credentials
            | Self::Throttled
            | Self::Server
            | Self::Timeout
            | Self::Connection
            | Self::ErrorIn200
            | Self::NotS3
            | Self::Rejected
            | Self::ChecksumMismatch => true,
            Self::PreconditionFailed
            | Self::NoSuchKey
            | Self::NoSuchUpload
            | Self::Body
            | Self::Unsupported
            | Self::NeverValid => false,
        }
    }

    /// Whether an operator has to act before it can go on: permission, credentials, bucket, settings, or what stands
    /// between us and the store.
    pub fn needs_an_operator(self) -> bool {
        matches!(
            self,
            Self::NoSuchBucket
                | Self::AccessDenied
                | Self::CredentialsExpired
                | Self::Credentials
                | Self::NotS3
                | Self::Unsupported
                | Self::Rejected
        )
    }

    /// A short stable name, as logs and metrics use it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreconditionFailed => "precondition_failed",
            Self::ConditionalConflict => "conditional_conflict",
            Self::NoSuchKey => "no_such_key",
            Self::NoSuchUpload => "no_such_upload",
            Self::NoSuchBucket => "no_such_bucket",
            Self::AccessDenied => "access_denied",
            Self::CredentialsExpired => "credentials_expired",
            Self::Credentials => "credentials",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::ErrorIn200 => "error_in_200",
            Self::NotS3 => "not_s3",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::Body => "body",
            Self::Unsupported => "unsupported",
            Self::Rejected => "rejected",
            Self::NeverValid => "never_valid",
        }
    }
}

impl Operation {
    /// Every operation, in the order of the trait.
    pub const ALL: [Self; 11] = [
        Self::Check,
        Self::Put,
        Self::CreateUpload,
        Self::UploadPart,
        Self::CompleteUpload,
        Self::AbortUpload,
        Self::ListUploads,
        Self::Head,
        Self::Get,
        Self::List,
        Self::Discard,
    ];

    /// What the call was doing, in gerund form, as error texts begin.
    pub fn gerund(self) -> &'static str {
        match self {
            Self::Check => "checking bucket",
            Self::Put => "putting object",
            Self::CreateUpload => "creating upload of",
            Self::UploadPart => "uploading part of",
            Self::CompleteUpload => "completing upload of",
            Self::AbortUpload => "aborting upload of",
            Self::ListUploads => "listing uploads below",
            Self::Head => "looking at object",
            Self::Get => "getting object",
            Self::List => "listing objects below",
            Self::Discard => "removing",
        }
    }

    /// The IAM action the call needs. Completing needs what putting needs; a head needs
    /// `s3:ListBucket` too, or S3 answers 403 instead of 404.
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::Check | Self::List => "s3:ListBucket",
            Self::Put | Self::CreateUpload | Self::UploadPart | Self::CompleteUpload => "s3:PutObject",
            Self::AbortUpload => "s3:AbortMultipartUpload",
            Self::ListUploads => "s3:ListBucketMultipartUploads",
            Self::Head | Self::Get => "s3:GetObject",
            Self::Discard => "s3:DeleteObject",
        }
    }
}

impl StoreError {
    /// An error without an answer from a store.
    pub fn new(operation: Operation, subject: &str, kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            operation,
            subject: subject.into(),
            status: None,
            code: None,
            message: message.into(),
            source: None,
        }
    }

    /// The same with a status and a code, as a store would have answered.
    #[must_use]
    pub fn answered(mut self, status: u16, code: &str) -> Self {
        self.status = Some(status);
        self.code = Some(code.into());
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// [`ErrorKind::may_be_stored`] of its kind.
    pub fn may_be_stored(&self) -> bool {
        self.kind.may_be_stored()
    }

    /// [`ErrorKind::retry_can_help`] of its kind.
    pub fn retry_can_help(&self) -> bool {
        self.kind.retry_can_help()
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation.gerund(), self.subject, self.message)?;
        match (self.status, &self.code) {
            (Some(status), Some(code)) => write!(f, " ({status} {code})"),
            (Some(status), None) => write!(f, " ({status})"),
            (None, _) => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
