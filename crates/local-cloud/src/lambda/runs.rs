//! Running invocations: taking the next one, ending it, and noticing that nobody will end it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{FailedInvocation, FailureFile};
use crate::store::{self, AfterFailure, Queued, Store, StoreError, now_ms, request_id};

/// How many synchronous invocations wait for a runtime before more are refused.
const MAX_WAITING_DIRECT: usize = 1000;

/// What is fixed about the function.
#[derive(Clone, Debug)]
pub(crate) struct LambdaOptions {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) timeout: Duration,
    pub(crate) retry_delays: [Duration; 2],
}

/// The function and its invocations.
#[derive(Debug)]
pub(crate) struct Lambda {
    store: Arc<Store>,
    pub(super) options: LambdaOptions,
    failures: FailureFile,
    /// By request id. Locked while the next one is chosen, so that two runtimes never get the same.
    running: Mutex<HashMap<String, Running>>,
    /// Synchronous invocations that wait for a runtime.
    direct: std::sync::Mutex<VecDeque<Direct>>,
    /// Told of whenever an asynchronous invocation succeeded or a try of it failed.
    progress: Notify,
    closing: CancellationToken,
}

/// One connection to the Runtime API; as long as it is open, somebody holds the `Arc`.
#[derive(Debug, Default)]
pub(super) struct Connection {
    has_polled: AtomicBool,
}

/// What a runtime is given.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    pub(super) deadline_ms: u64,
}

/// How a try ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// What the function answered.
    Success(Bytes),
    /// What is wrong, in words, and the JSON that says so.
    Failure { error: String, body: Bytes },
}

#[derive(Debug)]
struct Running {
    /// The queue's id; `None` for a synchronous invocation.
    id: Option<i64>,
    /// `None` once its end is being written down.
    source: Option<Source>,
    connection: Weak<Connection>,
    /// Ends the timer of its deadline.
    _timer: DropGuard,
}

#[derive(Debug)]
enum Source {
    Queued(Queued),
    Direct(oneshot::Sender<Outcome>),
}

#[derive(Debug)]
struct Direct {
    request_id: String,
    payload: Bytes,
    reply: oneshot::Sender<Outcome>,
}

impl Lambda {
    pub(crate) fn new(
        store: Arc<Store>,
        options: LambdaOptions,
        closing: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let failures = FailureFile::open(&store)?;
        Ok(Arc::new(Self {
            store,
            options,
            failures,
            running: Mutex::default(),
            direct: std::sync::Mutex::default(),
            progress: Notify::new(),
            closing,
        }))
    }

    /// Waits for an invocation and gives it to this connection; `None` when the cloud shuts down.
    pub(super) async fn next(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
    ) -> Result<Option<Invocation>, StoreError> {
        self.fail_abandoned(connection).await?;
        loop {
            let queued = self.store.queued().notified();
            tokio::pin!(queued);
            // From here on no wake-up is missed, so that looking first and waiting then is right.
            queued.as_mut().enable();
            // One moment for both looks: what becomes due between two moments would be seen by neither.
            let now = now_ms();
            if let Some(invocation) = self.take(connection, now).await? {
                return Ok(Some(invocation));
            }
            let next_due = self.store.read(move |rows| store::next_due_ms(rows, now)).await?;
            let [first, second] = self.options.retry_delays;
            let latest = now.saturating_add(first.max(second).as_millis() as u64);
            if next_due.is_some_and(|due_ms| due_ms > latest) {
                // The clock was set back since the try failed.
                self.store.write(move |rows, _| store::clamp_due(rows, latest)).await?;
                continue;
            }
            let due = async {
                match next_due {
                    Some(due_ms) => tokio::time::sleep(Duration::from_millis(due_ms - now)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = queued => {}
                () = due => {}
                () = self.closing.cancelled() => return Ok(None),
            }
        }
    }

    /// Ends a try; `false` if nothing is running under this id. Goes on if the caller is dropped: a runtime that
    /// dies after its answer has still answered.
    pub(super) async fn end(
        self: &Arc<Self>,
        request_id: String,
        outcome: Outcome,
    ) -> Result<bool, StoreError> {
        let lambda = Arc::clone(self);
        let ending = tokio::spawn(async move { lambda.write_down_end(&request_id, outcome).await });
        ending.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs the function now and waits for its answer; `None` if too many wait already.
    pub(super) async fn invoke(&self, payload: Bytes) -> Option<(String, Outcome)> {
        let (reply, answer) = oneshot::channel();
        let request_id = request_id();
        {
            let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
            direct.retain(|waiting| !waiting.reply.is_closed());
            if direct.len() >= MAX_WAITING_DIRECT {
                return None;
            }
            direct.push_back(Direct { request_id: request_id.clone(), payload, reply });
        }
        self.store.queued().notify_waiters();
        let outcome = answer.await.unwrap_or_else(|_| failure("the function was stopped"));
        Some((request_id, outcome))
    }

    /// Queues an asynchronous invocation; answers its request id once it is durable.
    pub(super) async fn queue(&self, payload: String) -> Result<String, StoreError> {
        self.store.write(move |rows, after| store::enqueue(rows, after, &payload)).await
    }

    /// How many asynchronous invocations are neither done nor failed for good.
    pub(crate) async fn owed(&self) -> Result<u64, StoreError> {
        self.store.read(store::owed).await
    }

    /// Returns when none is owed.
    pub(crate) async fn settled(&self) -> Result<(), StoreError> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.owed().await? == 0 {
                return Ok(());
            }
            progress.await;
        }
    }

    /// The failure queue.
    pub(crate) async fn failed(&self) -> Result<Vec<FailedInvocation>, StoreError> {
        self.store
            .read(|rows| {
                let mut all = Vec::new();
                store::failed(rows, |one| {
                    all.push(one);
                    Ok(())
                })?;
                Ok(all)
            })
            .await
    }

    /// Gives all of the failure queue its three tries again; answers how many.
    pub(crate) async fn redrive(&self) -> Result<u64, StoreError> {
        let changing = self.failures.lock().await;
        let moved = self.store.write(store::redrive).await?;
        changing.rewrite(&self.store)?;
        Ok(moved)
    }

    /// Chooses the next invocation that is due at `now` and notes that this connection holds it. Does not wait
    /// for one.
    async fn take(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        now: u64,
    ) -> Result<Option<Invocation>, StoreError> {
        let mut running = self.running.lock().await;
        let (request_id, payload, id, source) = if let Some(direct) = self.next_direct() {
            (direct.request_id, direct.payload, None, Source::Direct(direct.reply))
        } else {
            let ids: HashSet<i64> = running.values().filter_map(|running| running.id).collect();
            let Some(queued) = self.store.read(move |rows| store::due(rows, now, &ids)).await? else {
                return Ok(None);
            };
            let payload = Bytes::from(queued.payload.clone());
            (queued.request_id.clone(), payload, Some(queued.id), Source::Queued(queued))
        };
        let timer = CancellationToken::new();
        tokio::spawn(Arc::clone(self).expire(request_id.clone(), timer.clone()));
        let held = Running {
            id,
            source: Some(source),
            connection: Arc::downgrade(connection),
            _timer: timer.drop_guard(),
        };
        running.insert(request_id.clone(), held);
        let timeout_ms = u64::try_from(self.options.timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Invocation { request_id, payload, deadline_ms: now_ms().saturating_add(timeout_ms) }))
    }

    fn next_direct(&self) -> Option<Direct> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| direct.pop_front()).find(|waiting| !waiting.reply.is_closed())
    }

    /// Fails a try that is still running when its time is over.
    async fn expire(self: Arc<Self>, request_id: String, ended: CancellationToken) {
        tokio::select! {
            () = tokio::time::sleep(self.options.timeout) => {}
            () = ended.cancelled() => return,
            () = self.closing.cancelled() => return,
        }
        let seconds = self.options.timeout.as_secs_f64();
        let error = format!("Task timed out after {seconds:.2} seconds");
        if let Err(error) = self.end(request_id, failure(&error)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "writing down a timeout failed");
        }
    }

    /// Fails what this connection holds (it polls again without having answered), and, if this is its first poll
    /// and so a runtime's start, what runtimes hold whose connection is closed.
    async fn fail_abandoned(self: &Arc<Self>, connection: &Arc<Connection>) -> Result<(), StoreError> {
        let is_start = !connection.has_polled.swap(true, Ordering::Relaxed);
        let this = Arc::downgrade(connection);
        let is_abandoned = |running: &Running| {
            running.connection.ptr_eq(&this) || (is_start && running.connection.strong_count() == 0)
        };
        let abandoned: Vec<String> = {
            let running = self.running.lock().await;
            running.iter().filter(|(_, one)| is_abandoned(one)).map(|(id, _)| id.clone()).collect()
        };
        for request_id in abandoned {
            self.end(request_id, failure("the runtime ended without an answer")).await?;
        }
        Ok(())
    }

    async fn write_down_end(&self, request_id: &str, outcome: Outcome) -> Result<bool, StoreError> {
        // It stays in the table until its end is committed, or another runtime would be given it.
        let source = self.running.lock().await.get_mut(request_id).and_then(|running| running.source.take());
        let result = match source {
            None => return Ok(false),
            Some(Source::Direct(reply)) => {
                // Whoever asked may have gone away.
                drop(reply.send(outcome));
                Ok(true)
            }
            Some(Source::Queued(queued)) => self.end_queued(queued, outcome).await.map(|()| true),
        };
        self.running.lock().await.remove(request_id);
        self.progress.notify_waiters();
        // There may be another try to wait for, or one that a failed write left due.
        self.store.queued().notify_waiters();
        result
    }

    async fn end_queued(&self, queued: Queued, outcome: Outcome) -> Result<(), StoreError> {
        let id = queued.id;
        let error = match outcome {
            Outcome::Success(_) => {
                return self.store.write(move |rows, _| store::succeeded(rows, id)).await;
            }
            Outcome::Failure { error, .. } => error,
        };
        let tries = queued.tries + 1;
        let request_id = &queued.request_id;
        if let Some(delay) = self.options.retry_delays.get(queued.tries as usize) {
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(request_id, tries, error, retry_in_ms = delay_ms, "an invocation failed");
            let then = AfterFailure::Again { due_ms: now_ms().saturating_add(delay_ms) };
            return self.store.write(move |rows, _| store::try_failed(rows, id, &error, then)).await;
        }
        tracing::error!(
            request_id,
            tries,
            error,
            "an invocation failed for good and is in the failure queue"
        );
        let changing = self.failures.lock().await;
        self.store.write(move |rows, _| store::try_failed(rows, id, &error, AfterFailure::Failed)).await?;
        let failed = self.store.read(move |rows| store::failed_one(rows, id)).await?;
        if let Some(failed) = failed {
            changing.append(&failed)?;
        }
        Ok(())
    }
}

/// A failure that the runtime did not report itself.
fn failure(error: &str) -> Outcome {
    let body = serde_json::json!({ "errorMessage": error, "errorType": "Runtime.ExitError" });
    Outcome::Failure { error: error.to_owned(), body: Bytes::from(body.to_string()) }
}
