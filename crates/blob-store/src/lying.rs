//! [`LyingStore`]: a server between us and a store that tells the truth, and that answers wrongly on purpose.
//!
//! [`FaultyStore`](crate::FaultyStore) fails in the words of the seam. This one lies on the wire, below the SDK:
//! any request may get any status, headers, body or silence, whether the store has heard of it or not, as from a
//! gateway's maintenance page, a captive portal, or a cache. What the seam makes of it is then what it makes of
//! it in life. [`lies`] is the catalogue that the suites go through.

mod lies;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Operation;
use wire::{Answer, Request};

pub use lies::lies;

/// A wrong answer to one request.
#[derive(Clone, Debug)]
pub struct Lie {
    /// Its name, for whoever reads a failed test.
    pub name: &'static str,
    /// Whether the store hears of the request, and does what it asks.
    pub heard: bool,
    /// What is answered.
    pub answer: Wrong,
}

/// What is answered instead of the truth. What changes the truth needs a store that has heard.
#[derive(Clone, Debug)]
pub enum Wrong {
    /// This status, these headers and this body.
    Instead(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// The truth, with another status.
    Status(u16),
    /// The truth without these headers.
    Without(&'static [&'static str]),
    /// The truth, with this header so.
    With(&'static str, &'static str),
    /// The truth's head, with this body.
    Body(&'static str),
    /// The truth, ending after so many bytes of its body.
    Short(usize),
    /// The truth, so much later.
    Late(Duration),
    /// Bytes that are no HTTP.
    Noise,
    /// The connection is closed.
    Nothing,
    /// The connection stays open, and nothing comes.
    Silence,
}

/// The server. Its lies end, and it with them, when it is dropped.
#[derive(Debug)]
pub struct LyingStore {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// Host and port of the store.
    truth: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    planned: VecDeque<Planned>,
    requests: Vec<(Operation, String)>,
    told: u64,
}

#[derive(Debug)]
struct Planned {
    operation: Operation,
    prefix: String,
    lie: Lie,
    times: u64,
}

impl LyingStore {
    /// A server on a free port of loopback, before the store at `truth`, such as `http://127.0.0.1:9000`.
    /// Without TLS, and for requests that name the bucket in their path.
    pub async fn before(truth: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let truth = truth.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let shared = Arc::new(Shared { truth, state: Mutex::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { url, shared, server })
    }

    /// Where it listens: the endpoint to configure.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers the next `times` requests of `operation` about keys that begin with `prefix` by `lie`. Of several
    /// plans the first that fits is told, until it is used up.
    pub fn tell(&self, operation: Operation, prefix: &str, lie: Lie, times: u64) {
        let planned = Planned { operation, prefix: prefix.to_owned(), lie, times };
        self.shared.state().planned.push_back(planned);
    }

    /// Tells nothing but the truth from now on.
    pub fn repent(&self) {
        self.shared.state().planned.clear();
    }

    /// How many lies were told.
    pub fn told(&self) -> u64 {
        self.shared.state().told
    }

    /// Every request so far with its key (or prefix), in order.
    pub fn requests(&self) -> Vec<(Operation, String)> {
        self.shared.state().requests.clone()
    }
}

impl Drop for LyingStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the request, and says how it is lied to.
    fn plan(&self, operation: Operation, key: &str) -> Option<Lie> {
        let mut state = self.state();
        state.requests.push((operation, key.to_owned()));
        let fits = |planned: &Planned| planned.operation == operation && key.starts_with(&planned.prefix);
        let at = state.planned.iter().position(fits)?;
        let planned = state.planned.get_mut(at)?;
        planned.times -= 1;
        let lie = planned.lie.clone();
        if planned.times == 0 {
            state.planned.remove(at);
        }
        state.told += 1;
        Some(lie)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that goes away wants no answer.
            let _ = answer(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One request a connection.
async fn answer(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let request = Request::read(&mut client).await?;
    let lie = request.asks().and_then(|(operation, key)| shared.plan(operation, &key));
    let Some(lie) = lie else {
        let truth = request.ask(&shared.truth).await?;
        return truth.send(&mut client).await;
    };
    let truth = if lie.heard { Some(request.ask(&shared.truth).await?) } else { None };
    let mut truth = truth.unwrap_or_default();
    match lie.answer {
        Wrong::Instead(status, headers, body) => {
            let answer = Answer::new(status, &headers, body.as_bytes());
            return if request.is_head() {
                answer.send_head(&mut client).await
            } else {
                answer.send(&mut client).await
            };
        }
        Wrong::Status(status) => truth.status = status,
        Wrong::Without(names) => names.iter().for_each(|name| truth.remove(name)),
        Wrong::With(name, value) => truth.set(name, value),
        Wrong::Body(body) => truth.replace_body(body.as_bytes()),
        Wrong::Short(bytes) => return truth.send_short(&mut client, bytes).await,
        Wrong::Late(wait) => tokio::time::sleep(wait).await,
        Wrong::Noise => return wire::send_noise(&mut client).await,
        Wrong::Nothing => return Ok(()),
        Wrong::Silence => std::future::pending().await,
    }
    truth.send(&mut client).await
}

#[cfg(test)]
mod tests;
