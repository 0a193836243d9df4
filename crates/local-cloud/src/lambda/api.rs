//! Lambda's HTTP interfaces, and ours to the failure queue:
//!
//! | route | for |
//! |---|---|
//! | `GET /2018-06-01/runtime/invocation/next` | a runtime: wait for an invocation |
//! | `POST /2018-06-01/runtime/invocation/{id}/response` | a runtime: it succeeded |
//! | `POST /2018-06-01/runtime/invocation/{id}/error` | a runtime: it failed |
//! | `POST /2018-06-01/runtime/init/error` | a runtime: it could not start |
//! | `POST /2015-03-31/functions/{name}/invocations` | anybody: invoke (`X-Amz-Invocation-Type`) |
//! | `GET /failed-invocations` | people: the failure queue, JSON lines |
//! | `POST /failed-invocations/redrive` | people: try all of it again |

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::runs::{Connection, Outcome};
use super::{FailedInvocation, Lambda};
use crate::store::{StoreError, now_ms, random_name};

/// Lambda's limit of a synchronous payload and answer, with the room that it leaves for JSON's escapes.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024 + 100 * 1024;

/// What axum carries from a connection to its requests.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeConnection(Arc<Connection>);

impl Connected<IncomingStream<'_, TcpListener>> for RuntimeConnection {
    fn connect_info(_: IncomingStream<'_, TcpListener>) -> Self {
        Self(Arc::default())
    }
}

/// The routes; to be served with [`RuntimeConnection`] as connect info.
pub(crate) fn router(lambda: Arc<Lambda>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(respond))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(fail))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/failed-invocations", get(failed))
        .route("/failed-invocations/redrive", post(redrive))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(lambda)
}

/// An answer that is an error, in Lambda's shape.
struct ApiError(StatusCode, &'static str, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(status, kind, message) = self;
        (status, axum::Json(json!({ "errorType": kind, "errorMessage": message }))).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the invocation queue failed");
        Self(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", error.to_string())
    }
}

async fn next(
    State(lambda): State<Arc<Lambda>>,
    ConnectInfo(RuntimeConnection(connection)): ConnectInfo<RuntimeConnection>,
) -> Result<Response, ApiError> {
    let Some(invocation) = lambda.next(&connection).await? else {
        return Err(ApiError(
            StatusCode::SERVICE_UNAVAILABLE,
            "Shutdown",
            "the cloud is shutting down".to_owned(),
        ));
    };
    let options = &lambda.options;
    let arn = format!("arn:aws:lambda:{}:000000000000:function:{}", options.region, options.name);
    let trace = format!("Root=1-{:08x}-{};Sampled=0", now_ms() / 1000, &random_name()[..24]);
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", invocation.request_id),
        ("lambda-runtime-deadline-ms", invocation.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
        ("lambda-runtime-trace-id", trace),
    ];
    Ok((headers, invocation.payload).into_response())
}

async fn respond(
    State(lambda): State<Arc<Lambda>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    end(&lambda, id, Outcome::Success(body)).await
}

async fn fail(
    State(lambda): State<Arc<Lambda>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let error = error_text(&headers, &body);
    end(&lambda, id, Outcome::Failure { error, body }).await
}

async fn end(lambda: &Arc<Lambda>, id: String, outcome: Outcome) -> Result<Response, ApiError> {
    if lambda.end(id.clone(), outcome).await? {
        Ok((StatusCode::ACCEPTED, axum::Json(json!({ "status": "OK" }))).into_response())
    } else {
        let message = format!("no invocation {id} is running; its time may be over");
        Err(ApiError(StatusCode::BAD_REQUEST, "InvalidRequestID", message))
    }
}

async fn init_error(headers: HeaderMap, body: Bytes) -> Response {
    // What was queued stays queued for the runtime's next start.
    tracing::error!(error = error_text(&headers, &body), "the function's runtime could not start");
    (StatusCode::ACCEPTED, axum::Json(json!({ "status": "OK" }))).into_response()
}

async fn invoke(
    State(lambda): State<Arc<Lambda>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if name != lambda.options.name {
        let message = format!("the only function here is {}", lambda.options.name);
        return Err(ApiError(StatusCode::NOT_FOUND, "ResourceNotFoundException", message));
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    let text = String::from_utf8(payload.to_vec()).ok();
    let Some(text) = text.filter(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok())
    else {
        let message = "the payload is not JSON".to_owned();
        return Err(ApiError(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message));
    };
    match headers.get("x-amz-invocation-type").map_or(b"RequestResponse".as_slice(), |kind| kind.as_bytes()) {
        b"Event" => {
            let request_id = lambda.queue(text).await?;
            Ok((StatusCode::ACCEPTED, [("x-amzn-requestid", request_id)]).into_response())
        }
        b"RequestResponse" => {
            let Some((request_id, outcome)) = lambda.invoke(payload).await else {
                let message = "too many invocations wait for a runtime".to_owned();
                return Err(ApiError(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", message));
            };
            let request_id = [("x-amzn-requestid", request_id)];
            Ok(match outcome {
                Outcome::Success(body) => (request_id, body).into_response(),
                Outcome::Failure { body, .. } => {
                    (request_id, [("x-amz-function-error", "Unhandled")], body).into_response()
                }
            })
        }
        b"DryRun" => Ok(StatusCode::NO_CONTENT.into_response()),
        _ => {
            let message = "the invocation type is not Event, RequestResponse or DryRun".to_owned();
            Err(ApiError(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message))
        }
    }
}

async fn failed(State(lambda): State<Arc<Lambda>>) -> Result<Response, ApiError> {
    let lines = lambda.failed().await?.iter().map(line).collect::<Result<String, StoreError>>()?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

async fn redrive(State(lambda): State<Arc<Lambda>>) -> Result<Response, ApiError> {
    let redriven = lambda.redrive().await?;
    Ok(axum::Json(json!({ "redriven": redriven })).into_response())
}

fn line(failed: &FailedInvocation) -> Result<String, StoreError> {
    Ok(serde_json::to_string(failed)? + "\n")
}

/// What a runtime says is wrong: type and message, from the body or the header.
fn error_text(headers: &HeaderMap, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = body["errorType"]
        .as_str()
        .or_else(|| headers.get("lambda-runtime-function-error-type").and_then(|value| value.to_str().ok()));
    match (kind, body["errorMessage"].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "the runtime said no more".to_owned(),
    }
}
