//! The listener: HTTP/1.1, plain or over TLS, with bounds on whatever a client may keep waiting.
//!
//! At most so many connections are served at once; more wait in the queue of the operating
//! system. A client gets `client_timeout` to shake hands, to send a request's head, and to take
//! each next piece of an answer; what bodies get is up to the routes.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use entrance::http::{HeadLimits, Http, Refusal};
use http::{HeaderValue, Request, Response, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::app::Peer;
use crate::config::ServeConfig;
use crate::error::ApiError;

/// The most that is read of a connection at once.
const READ_BYTES: usize = 32 << 10;

/// Serves until `stopping`, then waits for the connections, each of which ends with its answer.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    config: ServeConfig,
    stopping: CancellationToken,
) {
    let limits = HeadLimits {
        bytes: config.max_head_bytes,
        headers: config.max_headers,
        timeout: config.client_timeout,
        idle_timeout: config.idle_timeout,
    };
    let http = Http::new(limits, READ_BYTES, config.tls, Arc::new(refused));
    let token = stopping.clone();
    let serve = |stream, peer| {
        let (http, routes, stopping) = (http.clone(), routes.clone(), token.clone());
        async move {
            let answer = |request: Request<_>| {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(Peer(peer)));
                let answered = routes.clone().oneshot(request);
                async { answered.await.unwrap_or_else(|never| match never {}) }
            };
            if let Err(error) = http.serve(stream, &stopping, answer).await {
                tracing::debug!(%error, %peer, "a connection broke");
            }
        }
    };
    entrance::listen::serve_each(listener, config.max_connections, stopping, serve).await;
}

/// A refusal in the one shape of all errors.
fn refused(refusal: &Refusal) -> Response<Bytes> {
    let error = ApiError::new(refusal.status(), code(refusal), refusal.to_string());
    let mut response = Response::new(error.json().to_string().into());
    *response.status_mut() = error.status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "malformed",
        Refusal::TooSlow(_) => "too_slow",
        Refusal::HeadTooLarge { .. } | Refusal::TooManyHeaders { .. } => "head_too_large",
        Refusal::TargetTooLong => "target_too_long",
        Refusal::NoHost | Refusal::SeveralHosts | Refusal::BadHost | Refusal::AbsoluteForm => "host",
        Refusal::TransferCoding(_) => "transfer_coding",
    }
}

#[cfg(test)]
mod tests;
