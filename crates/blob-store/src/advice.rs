//! What a person is to do about an answer that nothing but a person can change.

use crate::{ErrorKind, StoreError};

/// What to do about `error`, where that is known.
pub fn advice(error: &StoreError) -> Option<&'static str> {
    if let Some(advice) = error.code.as_deref().and_then(by_code) {
        return Some(advice);
    }
    let said = |words: &str| error.message.contains(words);
    Some(match error.kind {
        ErrorKind::Credentials if said("no credentials were found") => {
            "they were looked for in the environment (AWS_ACCESS_KEY_ID), in the profile files (~/.aws), in a web \
             identity, and at the container's and the instance's metadata service; name the right one in `credentials`"
        }
        ErrorKind::Credentials => "mend the credentials that `credentials` names",
        ErrorKind::CredentialsExpired => "renew the credentials",
        ErrorKind::NoSuchBucket if said("is in the region") => "write that into `region`",
        ErrorKind::NoSuchBucket => "create the bucket, or mend `bucket`, `region` or `endpoint`",
        ErrorKind::Rejected => {
            "the store gives no reason: it may be the bucket's name, the region, or credentials that have expired"
        }
        ErrorKind::NotS3 => {
            "something between here and the store has answered, or `endpoint` is not the store's: look at the address, \
             at proxies and gateways, and at a portal that wants a login"
        }
        ErrorKind::Connection if said("InvalidContentType") || said("corrupt message") => {
            "the port speaks no TLS: write http:// in `endpoint`, or the port for https"
        }
        ErrorKind::Connection if said("invalid HTTP version") || said("UnexpectedMessage") => {
            "the port speaks TLS, or no HTTP at all: write https:// in `endpoint`, or another port"
        }
        ErrorKind::Connection if said("certificate") || said("UnknownIssuer") => {
            "name the authority that vouches for the store's certificate in `ca_file`"
        }
        ErrorKind::Connection if said("onnection refused") => {
            "nothing listens there: mend `endpoint`, or start it"
        }
        ErrorKind::Connection if said("lookup") || said("dns") || said("resolve") => {
            "the host's name is not known: mend `endpoint` or `region`, or the name service"
        }
        ErrorKind::Timeout => "nothing answers there: mend `endpoint`, or let the connection through",
        _ => return None,
    })
}

fn by_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "InvalidBucketName" => {
            "the store calls the name invalid: 3 to 63 characters of a-z, 0-9, hyphens and dots, beginning and ending \
             with a letter or a digit"
        }
        "SignatureDoesNotMatch" => {
            "the secret is not that of this access key id, or something on the way changes the request"
        }
        "InvalidAccessKeyId" => "the store knows no such access key id",
        "RequestTimeTooSkewed" => "this machine's clock is more than 15 minutes off: synchronize it",
        "AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" => {
            "the bucket is in another region: mend `region`"
        }
        _ => return None,
    })
}
