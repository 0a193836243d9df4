//! Between two programs: a proxy that passes requests on, or does to them what networks and
//! servers do, as it is told for each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

type Anything = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Anything>>;

/// What becomes of one request.
pub enum Fault {
    /// Nothing special.
    Pass,
    /// Answered with this status; the server never hears of it.
    Refuse(StatusCode),
    /// The connection breaks; the server never hears of it.
    Break,
    /// The server does it, and the connection breaks instead of an answer.
    LoseAnswer,
    /// The server does it, and this status is answered.
    SpoilAnswer(StatusCode),
    /// Passed on later.
    Slow(Duration),
    /// The server does it, and its answer comes this much later.
    Late(Duration),
    /// The server does it, and the answer's body breaks off in the middle.
    CutBody,
    /// The server does it, then this happens, then the connection breaks.
    Then(Box<dyn FnOnce() + Send>),
}

/// A proxy; it ends when dropped.
pub struct Front {
    /// Where it listens.
    pub addr: SocketAddr,
    serving: JoinHandle<()>,
}

impl Front {
    /// Before the server at `upstream`; `decide` is asked for each request.
    pub async fn start(
        upstream: SocketAddr,
        decide: impl Fn(&Parts) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let decide = Arc::new(decide);
        Self::serve(move |request| {
            let decide = decide.clone();
            async move {
                let (parts, body) = request.into_parts();
                let fault = decide(&parts);
                meddle(upstream, Request::from_parts(parts, body), fault).await
            }
        })
        .await
    }

    /// Before several servers: each request goes to all of them, and is answered 2xx only if all did.
    pub async fn fan_out(
        upstreams: Vec<SocketAddr>,
        decide: impl Fn(&Parts) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let (decide, upstreams) = (Arc::new(decide), Arc::new(upstreams));
        Self::serve(move |request| {
            let (decide, upstreams) = (decide.clone(), upstreams.clone());
            async move {
                let (parts, body) = request.into_parts();
                let fault = decide(&parts);
                let body = body.collect().await?.to_bytes();
                let mut answer = empty(StatusCode::SERVICE_UNAVAILABLE);
                for upstream in upstreams.iter() {
                    let request = Request::from_parts(parts.clone(), Full::new(body.clone()));
                    answer = pass(*upstream, request).await;
                    if !answer.status().is_success() {
                        return Ok(answer);
                    }
                }
                match fault {
                    Fault::LoseAnswer => Err("the answer is lost".into()),
                    Fault::SpoilAnswer(status) => Ok(empty(status)),
                    _ => Ok(answer),
                }
            }
        })
        .await
    }

    /// The URL of the front.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    async fn serve<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static) -> Self
    where
        F: Future<Output = Result<Answer, Anything>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a listener has an address");
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer.clone()));
                // A connection that a fault breaks ends with an error; that is its purpose.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        Self { addr, serving }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn meddle(upstream: SocketAddr, request: Request<Incoming>, fault: Fault) -> Result<Answer, Anything> {
    match fault {
        Fault::Pass => Ok(pass(upstream, request).await),
        Fault::Refuse(status) => {
            // Read to its end, or the sender would see a reset instead of the answer.
            let _ = request.into_body().collect().await;
            Ok(empty(status))
        }
        Fault::Break => Err("the connection breaks".into()),
        Fault::LoseAnswer => {
            drop(whole(upstream, request).await);
            Err("the answer is lost".into())
        }
        Fault::SpoilAnswer(status) => {
            drop(whole(upstream, request).await);
            Ok(empty(status))
        }
        Fault::Slow(pause) => {
            tokio::time::sleep(pause).await;
            Ok(pass(upstream, request).await)
        }
        Fault::Late(pause) => {
            let answer = pass(upstream, request).await;
            tokio::time::sleep(pause).await;
            Ok(answer)
        }
        Fault::CutBody => {
            let (parts, body) = whole(upstream, request).await?;
            let half = Frame::data(body.slice(..body.len() / 2));
            let broken = StreamBody::new(stream::iter([Ok(half), Err(Anything::from("cut off"))]));
            Ok(Response::from_parts(parts, broken.boxed_unsync()))
        }
        Fault::Then(then) => {
            drop(whole(upstream, request).await);
            then();
            Err("the connection breaks".into())
        }
    }
}

/// The server's answer once all of it is there: then the server has done what was asked.
async fn whole<B>(
    upstream: SocketAddr,
    request: Request<B>,
) -> Result<(hyper::http::response::Parts, Bytes), Anything>
where
    B: Body<Data = Bytes, Error: Into<Anything>> + Send + 'static,
{
    let (parts, body) = send(upstream, request).await?.into_parts();
    Ok((parts, body.collect().await?.to_bytes()))
}

/// The server's answer; 503 while it is away, as a balancer before it would say.
async fn pass<B>(upstream: SocketAddr, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes, Error: Into<Anything>> + Send + 'static,
{
    match send(upstream, request).await {
        Ok(answer) => answer.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    }
}

async fn send<B>(upstream: SocketAddr, request: Request<B>) -> Result<Response<Incoming>, Anything>
where
    B: Body<Data = Bytes, Error: Into<Anything>> + Send + 'static,
{
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    // A request that its sender gave up may be cut off here in the middle of its body.
    let body = |request: Request<B>| request.map(|body| body.map_err(io::Error::other).boxed_unsync());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender.send_request(body(request)).await?)
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}
