//! The store's refusals as S3's error codes.

use s3s::{S3Error, S3ErrorCode, s3_error};

use crate::store::StoreError;

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::BucketNotEmpty => S3ErrorCode::BucketNotEmpty,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            StoreError::InvalidPart(_) => S3ErrorCode::InvalidPart,
            StoreError::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            StoreError::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            StoreError::Body(source) => return body_error(source.to_string()),
            StoreError::Closed => S3ErrorCode::ServiceUnavailable,
            StoreError::Io { .. } | StoreError::Catalog(_) | StoreError::Record(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
                S3ErrorCode::InternalError
            }
        };
        let mut answer = S3Error::with_message(code, error.to_string());
        answer.set_source(Box::new(error));
        answer
    }
}

/// A body that ended early, or whose bytes are not what the signature promised. `s3s` keeps its error types to
/// itself, so their texts tell them apart.
fn body_error(text: String) -> S3Error {
    if text.contains("Sha256Mismatch") {
        let mut error = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "the body is not what x-amz-content-sha256 says",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "a chunk's signature does not match")
    } else {
        S3Error::with_message(S3ErrorCode::IncompleteBody, text)
    }
}
