//! What an answer that is not a success means: from status, code and transport to a kind.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::genuine::{self, NotS3};
use crate::{ErrorKind, Operation, StoreError};

/// The SDK's error in our words.
pub(super) fn read<E>(operation: Operation, subject: &str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.raw_response().and_then(|response| code_of(operation, response, error.code()));
    let kind = match error.raw_response() {
        Some(_) if chain(&error).any(<dyn Error>::is::<NotS3>) => ErrorKind::NotS3,
        Some(response) => kind_of_answer(operation, response, code.as_deref()),
        None => kind_of_failure(&error),
    };
    // A success that cannot be read comes as a refusal, too; what is wrong with it is inside.
    let refused = matches!(error, SdkError::ServiceError(_)) && kind != ErrorKind::ErrorIn200;
    let mut message = match (error.message(), error.raw_response()) {
        (Some(words), _) => words.to_owned(),
        (None, Some(response)) if refused => unsaid(kind, response),
        (None, _) if kind == ErrorKind::ErrorIn200 => {
            format!("the answer cannot be read: {}", innermost(&error))
        }
        (None, _) if kind == ErrorKind::Credentials => no_credentials(&error),
        (None, _) => innermost(&error),
    };
    if let Some(region) =
        error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"))
        && kind == ErrorKind::NoSuchBucket
        && status.is_some_and(|status| (300..400).contains(&status))
    {
        message = format!("the bucket is in the region {region}");
    }
    if let Some(id) = error.request_id() {
        message = format!("{message} [request {id}]");
    }
    let source = (!refused).then(|| Box::new(error) as Box<dyn Error + Send + Sync>);
    StoreError {
        kind,
        operation,
        subject: subject.into(),
        status,
        code: code.map(Into::into),
        message: message.into(),
        source,
    }
}

/// S3's own code: the SDK makes up one for an answer without any, and takes a word of anybody's XML for one.
fn code_of(operation: Operation, response: &HttpResponse, read: Option<&str>) -> Option<String> {
    if matches!(operation, Operation::Head | Operation::Check) {
        // One server tells it where S3 has no place for it.
        return response.headers().get("x-minio-error-code").map(str::to_owned);
    }
    let said = response.body().bytes().and_then(genuine::root_of) == Some("Error");
    read.filter(|_| said).map(str::to_owned)
}

/// A failure without an answer.
fn kind_of_failure<E>(error: &SdkError<E, HttpResponse>) -> ErrorKind
where
    E: Error + Send + Sync + 'static,
{
    if chain(error).any(<dyn Error>::is::<CredentialsError>) {
        return ErrorKind::Credentials;
    }
    match error {
        SdkError::ConstructionFailure(_) => ErrorKind::NeverValid,
        SdkError::TimeoutError(_) => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::Timeout,
        _ => ErrorKind::Connection,
    }
}

/// The code says more than the status, and is S3's own word; where there is none (a head's answer has no body, a
/// proxy knows no codes), the status and the operation decide.
fn kind_of_answer(operation: Operation, response: &HttpResponse, code: Option<&str>) -> ErrorKind {
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return ErrorKind::ErrorIn200;
    }
    if let Some(kind) = code.and_then(kind_of_code) {
        return kind;
    }
    if matches!(operation, Operation::Head | Operation::Check) {
        return kind_of_head(operation, status, |name| response.headers().contains_key(name));
    }
    match code {
        Some(code) => kind_of_refusal(operation, status, code),
        None => kind_of_status(status, |name| response.headers().contains_key(name)),
    }
}

fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "PreconditionFailed" => ErrorKind::PreconditionFailed,
        "ConditionalRequestConflict" | "OperationAborted" => ErrorKind::ConditionalConflict,
        "NoSuchKey" | "NoSuchVersion" => ErrorKind::NoSuchKey,
        "NoSuchUpload" | "InvalidPart" => ErrorKind::NoSuchUpload,
        "NoSuchBucket"
        | "InvalidBucketName"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed" => ErrorKind::NoSuchBucket,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired" => {
            ErrorKind::CredentialsExpired
        }
        "InvalidAccessKeyId" | "InvalidToken" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
            ErrorKind::Credentials
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => ErrorKind::AccessDenied,
        "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded" => ErrorKind::Throttled,
        "RequestTimeout" => ErrorKind::Timeout,
        "IncompleteBody" => ErrorKind::Connection,
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" => {
            ErrorKind::ChecksumMismatch
        }
        "NotImplemented" => ErrorKind::Unsupported,
        // Keys of the encryption service: disabled, deleted, not ours.
        code if code.starts_with("KMS") => ErrorKind::AccessDenied,
        _ => return None,
    })
}

/// The answer to a head has no body, hence no code: what it may conclude is little.
fn kind_of_head(operation: Operation, status: u16, has: impl Fn(&str) -> bool) -> ErrorKind {
    match (operation, status) {
        (Operation::Head, 404) => ErrorKind::NoSuchKey,
        (_, 404) => ErrorKind::NoSuchBucket,
        // A version that marks a deletion has nothing to look at.
        (Operation::Head, 405) if has("x-amz-delete-marker") => ErrorKind::NoSuchKey,
        // Expired credentials, another region, a name or a header that the store does not take: it cannot say.
        (_, 400) => ErrorKind::Rejected,
        _ => kind_of_status(status, has),
    }
}

/// Without S3's word for it: whoever answered, no more is concluded than what does no harm if it is wrong.
fn kind_of_status(status: u16, has: impl Fn(&str) -> bool) -> ErrorKind {
    match status {
        301 | 302 | 307 | 308 if has("x-amz-bucket-region") => ErrorKind::NoSuchBucket,
        // To a put that asks for absence some servers say "not modified" where S3 says 412.
        304 | 412 => ErrorKind::PreconditionFailed,
        401 | 403 => ErrorKind::AccessDenied,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::ConditionalConflict,
        429 => ErrorKind::Throttled,
        501 => ErrorKind::NotS3,
        500..=599 => ErrorKind::Server,
        _ => ErrorKind::NotS3,
    }
}

/// By a code that alone does not decide.
fn kind_of_refusal(operation: Operation, status: u16, code: &str) -> ErrorKind {
    match status {
        301 | 302 | 307 | 308 => ErrorKind::NoSuchBucket,
        401 | 403 => ErrorKind::AccessDenied,
        404 => match operation {
            Operation::Get | Operation::Discard => ErrorKind::NoSuchKey,
            Operation::UploadPart | Operation::CompleteUpload | Operation::AbortUpload => {
                ErrorKind::NoSuchUpload
            }
            _ => ErrorKind::NoSuchBucket,
        },
        405 if operation == Operation::Get => ErrorKind::NoSuchKey,
        405 | 501 => ErrorKind::Unsupported,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::ConditionalConflict,
        304 | 412 => ErrorKind::PreconditionFailed,
        429 => ErrorKind::Throttled,
        500.. => ErrorKind::Server,
        // A write that is given up for good costs its bytes their place: only for what is wrong with this very object.
        _ if is_write(operation) && !is_of_this_object(code) => {
            if is_rejection(code) {
                ErrorKind::Rejected
            } else {
                ErrorKind::Unsupported
            }
        }
        _ => ErrorKind::NeverValid,
    }
}

fn is_write(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Put | Operation::CreateUpload | Operation::UploadPart | Operation::CompleteUpload
    )
}

/// Codes that say that this very object can never be accepted: by its key, its sizes or its metadata.
fn is_of_this_object(code: &str) -> bool {
    matches!(
        code,
        "EntityTooLarge"
            | "EntityTooSmall"
            | "InvalidURI"
            | "KeyTooLongError"
            | "MetadataTooLarge"
            | "UserKeyMustBeSpecified"
            | "XMinioInvalidObjectName"
    )
}

/// Codes that may be about this object, or about a setting that is the same for all of them.
fn is_rejection(code: &str) -> bool {
    matches!(
        code,
        "InvalidArgument"
            | "InvalidDigest"
            | "InvalidPartOrder"
            | "InvalidRequest"
            | "InvalidStorageClass"
            | "InvalidTag"
            | "MalformedXML"
    )
}

/// A refusal without a word.
fn unsaid(kind: ErrorKind, response: &HttpResponse) -> String {
    if kind == ErrorKind::NotS3 {
        return NotS3(format!("it has no error code of S3's{}", genuine::whose(response))).to_string();
    }
    "refused without a reason".to_owned()
}

/// Where credentials were looked for is what a person has to know who has none.
fn no_credentials(error: &(dyn Error + 'static)) -> String {
    let none = chain(error).find_map(|cause| cause.downcast_ref::<CredentialsError>());
    match none {
        Some(CredentialsError::CredentialsNotLoaded(_)) => {
            format!("no credentials were found: {}", innermost(error))
        }
        _ => format!("the credentials could not be loaded: {}", innermost(error)),
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The SDK's outer errors say "dispatch failure"; the cause is at the bottom.
fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
