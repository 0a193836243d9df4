//! Why a request is refused before anybody looks at what it is about.

use std::time::Duration;

use ::http::header::{HOST, TRANSFER_ENCODING};
use ::http::uri::Authority;
use ::http::{HeaderMap, Request, StatusCode};

/// Why a request is refused, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not HTTP.
    #[error("this is no HTTP request: its first line or a header is malformed")]
    Malformed,
    /// Its head took too long.
    #[error("the head of the request did not arrive within {} seconds", .0.as_secs_f64())]
    TooSlow(Duration),
    /// Its head has too many bytes.
    #[error("the head of the request is larger than the limit of {limit} bytes")]
    HeadTooLarge {
        /// Bytes of the first line and the headers.
        limit: usize,
    },
    /// Its head has too many lines.
    #[error("the request has more than {limit} header lines")]
    TooManyHeaders {
        /// Header lines.
        limit: usize,
    },
    /// Its target is longer than the protocol's library takes.
    #[error("the target of the request is too long")]
    TargetTooLong,
    /// HTTP/1.1 asks for a `Host`.
    #[error("the request has no Host header")]
    NoHost,
    /// Two say different things, or the same: nobody could tell which one a proxy in front went by.
    #[error("the request has more than one Host header")]
    SeveralHosts,
    /// It is no host and port.
    #[error("the Host header holds no host")]
    BadHost,
    /// The target names a scheme and a host, as requests to a proxy do.
    #[error("the target of the request names a host; this is no proxy, so send the path alone")]
    AbsoluteForm,
    /// The body is encoded for its way in a form that is not taken off again here.
    #[error(
        "transfer coding {0:?} is not supported: send chunked alone, and what is compressed with Content-Encoding"
    )]
    TransferCoding(String),
}

impl Refusal {
    /// What is wrong with the head of a request, if anything is.
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if request.uri().authority().is_some() {
            return Some(Self::AbsoluteForm);
        }
        let mut hosts = headers.get_all(HOST).iter();
        match (hosts.next(), hosts.next()) {
            (_, Some(_)) => return Some(Self::SeveralHosts),
            (None, None) if request.version() >= http::Version::HTTP_11 => return Some(Self::NoHost),
            (Some(host), None) if !is_host(host.as_bytes()) => return Some(Self::BadHost),
            _ => {}
        }
        let coding = transfer_coding(headers)?;
        (!coding.eq_ignore_ascii_case("chunked")).then_some(Self::TransferCoding(coding))
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed | Self::NoHost | Self::SeveralHosts | Self::BadHost | Self::AbsoluteForm => {
                StatusCode::BAD_REQUEST
            }
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::HeadTooLarge { .. } | Self::TooManyHeaders { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TransferCoding(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Host and perhaps port; nothing at all is what a client sends that knows no name.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || Authority::try_from(value).is_ok_and(|host| !host.as_str().contains('@'))
}

/// The transfer codings of all lines, in their order.
fn transfer_coding(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter().peekable();
    lines.peek()?;
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or("?").trim()).collect();
    Some(lines.join(", "))
}
