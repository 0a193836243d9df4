//! What an answer that is not a success means: from status, code and transport to a kind.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::{ErrorKind, Operation, StoreError};

/// The SDK's error in our words.
pub(super) fn read<E>(operation: Operation, subject: &str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let kind = match status {
        Some(status) => kind_of_answer(operation, status, code.as_deref()),
        None => kind_of_failure(&error),
    };
    // A success that cannot be read comes as a refusal, too; what is wrong with it is inside.
    let refused = matches!(error, SdkError::ServiceError(_)) && kind != ErrorKind::ErrorIn200;
    let mut message = match error.message() {
        Some(words) => words.to_owned(),
        None if refused => "refused without a reason".to_owned(),
        None => innermost(&error),
    };
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

/// The code says more than the status; where there is none (a head's answer has no body, a proxy
/// knows no codes), the status and the operation decide.
fn kind_of_answer(operation: Operation, status: u16, code: Option<&str>) -> ErrorKind {
    if (200..300).contains(&status) {
        return ErrorKind::ErrorIn200;
    }
    code.and_then(kind_of_code).unwrap_or_else(|| kind_of_status(operation, status, code))
}

fn kind_of_code(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "PreconditionFailed" => ErrorKind::PreconditionFailed,
        "ConditionalRequestConflict" | "OperationAborted" => ErrorKind::ConditionalConflict,
        "NoSuchKey" | "NoSuchVersion" => ErrorKind::NoSuchKey,
        "NoSuchUpload" | "InvalidPart" => ErrorKind::NoSuchUpload,
        "NoSuchBucket" | "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" => {
            ErrorKind::NoSuchBucket
        }
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

fn kind_of_status(operation: Operation, status: u16, code: Option<&str>) -> ErrorKind {
    let head = matches!(operation, Operation::Head | Operation::Check);
    match status {
        // An expired token and a wrong region are 400, and a head's answer cannot say which.
        400 if head => ErrorKind::CredentialsExpired,
        301 | 302 | 307 | 308 => ErrorKind::NoSuchBucket,
        401 | 403 => ErrorKind::AccessDenied,
        404 => match operation {
            Operation::Head | Operation::Get => ErrorKind::NoSuchKey,
            Operation::UploadPart | Operation::CompleteUpload | Operation::AbortUpload => {
                ErrorKind::NoSuchUpload
            }
            _ => ErrorKind::NoSuchBucket,
        },
        // A version that marks a deletion has nothing to look at.
        405 if matches!(operation, Operation::Head | Operation::Get) => ErrorKind::NoSuchKey,
        405 | 501 => ErrorKind::Unsupported,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::ConditionalConflict,
        412 => ErrorKind::PreconditionFailed,
        429 => ErrorKind::Throttled,
        500.. => ErrorKind::Server,
        // A write that is given up for good costs its bytes their place, so a proxy's or an unknown word is
        // not enough for it.
        _ if is_write(operation) && !code.is_some_and(is_final) => ErrorKind::Unsupported,
        _ => ErrorKind::NeverValid,
    }
}

fn is_write(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Put | Operation::CreateUpload | Operation::UploadPart | Operation::CompleteUpload
    )
}

/// Codes that say that this very request can never be accepted: by its key, headers, sizes or form.
fn is_final(code: &str) -> bool {
    matches!(
        code,
        "EntityTooLarge"
            | "EntityTooSmall"
            | "InvalidArgument"
            | "InvalidDigest"
            | "InvalidPartOrder"
            | "InvalidRequest"
            | "InvalidStorageClass"
            | "InvalidTag"
            | "InvalidURI"
            | "KeyTooLongError"
            | "MalformedXML"
            | "MetadataTooLarge"
            | "UserKeyMustBeSpecified"
            | "XMinioInvalidObjectName"
    )
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The SDK's outer errors say "dispatch failure"; the cause is at the bottom.
fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
