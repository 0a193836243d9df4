//! One request, from its head to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Response, request};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};

use super::HttpConfig;
use super::answer::{self, Answered, Refusal};
use super::body::Receiving;
use super::inflate::Encoding;
use crate::decode::{Shape, media_type};
use crate::source::intake::{Intake, KeyedError};
use crate::source::key::{Keyed, Principal};
use crate::telemetry::SourceMetrics;

/// Answers the requests of one source.
pub(super) struct Handler {
    /// The source's name.
    name: String,
    config: HttpConfig,
    intake: Intake,
    metrics: Arc<SourceMetrics>,
}

/// Which of the two interfaces a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Events,
    Flume,
}

// === impl Route ===

impl Route {
    fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Flume => "flume",
        }
    }
}

// === impl Handler ===

impl Handler {
    pub(super) fn new(name: String, config: HttpConfig, intake: Intake, metrics: Arc<SourceMetrics>) -> Self {
        Self { name, config, intake, metrics }
    }

    /// Stores the request's events and says so, or says why not.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, mut body) = request.into_parts();
        match self.store(&head, &mut body).await {
            Ok((Route::Events, stored)) => answer::accepted(&stored),
            Ok((Route::Flume, stored)) => answer::stored(&stored),
            Err(refusal) => {
                self.count(&refusal);
                self.discard(&refusal, &head, body).await;
                refusal.response(self.config.retry_after)
            }
        }
    }

    async fn store(&self, head: &request::Parts, body: &mut Incoming) -> Result<(Route, Answered), Refusal> {
        let principal = self.principal(&head.headers)?;
        let route = route(head)?;
        if !head.headers.contains_key(CONTENT_LENGTH) && !head.headers.contains_key(TRANSFER_ENCODING) {
            return Err(Refusal::NoLength);
        }
        let mut keyed = Keyed::of(&head.headers, self.config.max_key_bytes, &principal, &self.name)?;
        if let Some(keyed) = &mut keyed {
            keyed.begin(route.name(), content_type(head).unwrap_or_default());
        }
        let receiving = Receiving {
            intake: &self.intake,
            shape: self.shape(route, head)?,
            encoding: Encoding::of(&head.headers)?,
            max_zstd_window_bytes: self.config.max_zstd_window_bytes,
            limit: self.config.max_body_bytes,
            request_timeout: self.config.request_timeout,
            room_timeout: self.config.room_timeout,
        };
        let (draft, _room) = receiving.receive(body, keyed.as_mut()).await?;
        let answered = match keyed {
            _ if draft.is_empty() => Answered::Events(0),
            None => Answered::Events(self.intake.append(draft)?.synced().await?),
            Some(keyed) => {
                let unsynced = self.intake.append_keyed(draft, keyed.stamp()).await?;
                Answered::Keyed(unsynced.stored().await?)
            }
        };
        Ok((route, answered))
    }

    /// Who sends this, by the token that it says.
    fn principal(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        let tokens = &self.config.tokens;
        if tokens.is_empty() {
            return Ok(Principal::Anonymous);
        }
        let said = entrance::said(headers).ok_or(Refusal::NoToken)?;
        tokens.holder(&said).map(|name| Principal::Named(name.to_owned())).ok_or(Refusal::WrongToken)
    }

    fn shape(&self, route: Route, head: &request::Parts) -> Result<Shape, Refusal> {
        let content_type = content_type(head);
        match route {
            Route::Events => Ok(media_type::shape(content_type, self.config.validate_ndjson)?),
            Route::Flume => {
                let charset = media_type::charset(content_type)?;
                Ok(Shape::Flume { charset, normalise: self.config.normalise_to_utf8 })
            }
        }
    }

    fn count(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Append(error) | Refusal::Keyed(KeyedError::Append(error)) => {
                self.intake.count_refused(error, 1);
            }
            Refusal::BodyTooLarge { .. } | Refusal::Window { .. } => {
                self.metrics.refused_too_large.inc();
            }
            Refusal::NoRoom => drop(self.metrics.refused_full.inc()),
            Refusal::Keyed(KeyedError::OtherRequest) => drop(self.metrics.refused_key.inc()),
            Refusal::Keyed(KeyedError::Unkept(_)) => drop(self.metrics.failed.inc()),
            _ => drop(self.metrics.refused_invalid.inc()),
        }
    }

    /// Reads what is left of a refused body, within its limits: closing the connection on a sender that still sends
    /// may reset it before the answer is read.
    async fn discard(&self, refusal: &Refusal, head: &request::Parts, mut body: Incoming) {
        // Nor are strangers' bodies worth reading.
        let stranger = matches!(refusal, Refusal::NoToken | Refusal::WrongToken);
        let hopeless = stranger || matches!(refusal, Refusal::TooSlow(_) | Refusal::BrokeOff);
        // Who expects leave to send has sent nothing yet.
        if hopeless || head.headers.contains_key(EXPECT) || body.is_end_stream() {
            return;
        }
        let discard = async {
            let mut left = self.config.max_body_bytes;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        let _ = tokio::time::timeout(self.config.request_timeout, discard).await;
    }
}

fn content_type(head: &request::Parts) -> Option<&str> {
    head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn route(head: &request::Parts) -> Result<Route, Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::Method(head.method.clone()));
    }
    match head.uri.path() {
        "/v1/events" => Ok(Route::Events),
        path if path == "/v1" || path.starts_with("/v1/") => Err(Refusal::Path(path.to_owned())),
        // Flume's source takes events at any path.
        _ => Ok(Route::Flume),
    }
}
