//! The sources over real sockets, on channels that the tests can hold, fill and read.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic where it stands")]

mod access;
mod conformance;
mod http;
mod http_refusals;
mod keys;
mod netcat;
mod secrecy;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use durable_channel::{
    AppendError, Appended, Batch, Channel, ChannelFailure, CloseError, Item, MemoryChannel, OpenError,
    Reader, ReaderStatus, Reservation, RetireError, Start, Stats,
};
use ingest_agent::channel::ChannelHandle;
use ingest_agent::event::decode_all;
use ingest_agent::source::{self, SourceContext, SourceKind};
use ingest_agent::telemetry::SourceMetrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Nothing here takes so long, unless it never happens.
const DEADLINE: Duration = Duration::from_secs(30);

/// Room between socket and sync.
const QUEUE_BYTES: u32 = 8 << 20;

/// One event as read back from a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    timestamp_ms: Option<i64>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A source at work.
struct Running {
    address: SocketAddr,
    channel: Arc<dyn Channel>,
    metrics: Arc<SourceMetrics>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// A channel whose syncs happen when a test says so.
struct Held {
    inner: MemoryChannel,
    released: AtomicBool,
    hooks: Mutex<Vec<Arc<dyn Fn() + Send + Sync>>>,
}

impl Running {
    fn start(kind: SourceKind) -> Self {
        Self::start_on(kind, Arc::new(memory_channel()))
    }

    fn start_on(kind: SourceKind, channel: Arc<dyn Channel>) -> Self {
        let handle = ChannelHandle::new("c", Arc::clone(&channel), QUEUE_BYTES);
        Self::start_with(kind, channel, vec![handle])
    }

    fn start_with(kind: SourceKind, channel: Arc<dyn Channel>, channels: Vec<ChannelHandle>) -> Self {
        let bound = source::bind(kind).unwrap();
        let (address, metrics) = (bound.address(), Arc::new(SourceMetrics::default()));
        let shutdown = CancellationToken::new();
        let context = SourceContext {
            name: "s".into(),
            channels,
            metrics: Arc::clone(&metrics),
            shutdown: shutdown.clone(),
        };
        let task = tokio::spawn(source::run(bound, context));
        Self { address, channel, metrics, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.address)).await.unwrap()
    }

    /// Sends `bytes`, closes the sending side and reads to the end.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        soon(async {
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        read_to_end(&mut stream).await
    }

    fn stored(&self) -> Vec<Stored> {
        stored(&*self.channel)
    }

    /// The bodies of the stored events, which must have nothing else.
    fn bodies(&self) -> Vec<String> {
        let plain = self.stored().into_iter().map(|event| {
            assert_eq!((event.timestamp_ms, event.headers.len()), (None, 0));
            String::from_utf8(event.body).unwrap()
        });
        plain.collect()
    }

    /// Waits until `events` have got their positions.
    async fn appended(&self, events: u64) {
        soon(async {
            while self.channel.stats().next < events {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(self.channel.stats().next, events);
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon(self.task).await.unwrap();
    }
}

fn memory_channel() -> MemoryChannel {
    MemoryChannel::new(10_000_000, 10_000_000, 1 << 30).unwrap()
}

fn stored(channel: &dyn Channel) -> Vec<Stored> {
    let mut reader = channel.reader("test", Start::Oldest).unwrap();
    let (mut events, mut from) = (Vec::new(), 0);
    while let Some(item) = reader.read(from).unwrap() {
        let Item::Frame { first, count, payload, .. } = item else { panic!("damage in a new channel") };
        assert_eq!(first, from, "I2: positions are dense");
        events.extend(decode_all(payload, count).map(|event| {
            let event = event.unwrap();
            let headers = event.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            Stored { timestamp_ms: event.timestamp_ms, headers: headers.collect(), body: event.body.to_vec() }
        }));
        from = first + u64::from(count);
    }
    events
}

/// Waits for what must happen.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it did not happen")
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// Reads exactly as much as `expected` is long, and compares.
async fn expect(stream: &mut TcpStream, expected: &str) {
    let mut answer = vec![0; expected.len()];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

/// Writes the pieces one after the other, so that each is a segment of its own as far as the system lets it.
async fn write_pieces(stream: &mut TcpStream, bytes: &[u8], cuts: &[usize]) {
    stream.set_nodelay(true).unwrap();
    let mut cuts = cuts.to_vec();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        soon(stream.write_all(&bytes[pair[0]..pair[1]])).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// A runtime for a property's cases.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

// === impl Held ===

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: memory_channel(), released: AtomicBool::new(false), hooks: Mutex::default() })
    }

    /// From now on everything appended is synced.
    fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
        let hooks = self.hooks.lock().unwrap().clone();
        for hook in hooks {
            hook();
        }
    }
}

impl Channel for Held {
    fn id(&self) -> [u8; 16] {
        self.inner.id()
    }

    fn incarnation(&self) -> u64 {
        self.inner.incarnation()
    }

    fn batch(&self) -> Batch {
        self.inner.batch()
    }

    fn max_batch_events(&self) -> u64 {
        self.inner.max_batch_events()
    }

    fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.inner.append(batch)
    }

    fn reserve(&self, batch: Batch) -> Result<Reservation, AppendError> {
        self.inner.reserve(batch)
    }

    fn synced_end(&self) -> u64 {
        if self.released.load(Ordering::SeqCst) { self.inner.synced_end() } else { 0 }
    }

    fn failure(&self) -> Option<Arc<ChannelFailure>> {
        self.inner.failure()
    }

    fn on_progress(&self, hook: Box<dyn Fn() + Send + Sync>) {
        let hook: Arc<dyn Fn() + Send + Sync> = hook.into();
        self.hooks.lock().unwrap().push(Arc::clone(&hook));
        self.inner.on_progress(Box::new(move || hook()));
    }

    fn reader(&self, name: &str, start: Start) -> Result<Reader, OpenError> {
        self.inner.reader(name, start)
    }

    fn readers(&self) -> Vec<ReaderStatus> {
        self.inner.readers()
    }

    fn retire(&self, name: &str) -> Result<(), RetireError> {
        self.inner.retire(name)
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> Result<(), CloseError> {
        self.inner.close()
    }
}
