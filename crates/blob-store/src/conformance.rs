//! What every [`BlobStore`] must do, as one suite for all of them.
//!
//! A promise is a sentence and a check. [`run`] tries each on a store and reports the ones that
//! do not hold as [`Departure`]s, by name: a store of ours has none, one that is not ours has
//! those its users were told of. Nothing is deleted, so a run takes a prefix nobody used before.

mod objects;
mod uploads;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::{BlobStore, Body, ErrorKind, PutOptions, StoreError, Stored};

/// A promise that a store did not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The promise's short name, such as `one-winner`.
    pub promise: &'static str,
    /// The promise.
    pub sentence: &'static str,
    /// What happened instead.
    pub instead: String,
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Names of the promises kept.
    pub kept: Vec<&'static str>,
    /// The others.
    pub departures: Vec<Departure>,
}

/// A promise's check: `Err` says what happened instead.
type Outcome = Result<(), String>;
type Check = fn(Site) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A promise: its name, its sentence, its check.
struct Promise(&'static str, &'static str, Check);

/// Where one check works: its own keys in the store under test.
#[derive(Clone)]
struct Site {
    store: Arc<dyn BlobStore>,
    prefix: String,
}

/// Tries every promise on `store`, with keys below `prefix`, where no object may be.
pub async fn run(store: Arc<dyn BlobStore>, prefix: &str) -> Report {
    let mut report = Report::default();
    for Promise(name, sentence, check) in objects::PROMISES.iter().chain(uploads::PROMISES) {
        let site = Site { store: Arc::clone(&store), prefix: format!("{prefix}/{name}") };
        match check(site).await {
            Ok(()) => report.kept.push(name),
            Err(instead) => report.departures.push(Departure { promise: name, sentence, instead }),
        }
    }
    report
}

impl Report {
    /// The names of the promises not kept, in the suite's order.
    pub fn departed(&self) -> Vec<&'static str> {
        self.departures.iter().map(|departure| departure.promise).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} promises kept, {} departures", self.kept.len(), self.departures.len())?;
        for Departure { promise, sentence, instead } in &self.departures {
            writeln!(f, "  {promise}: {sentence}; instead: {instead}")?;
        }
        Ok(())
    }
}

impl Site {
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    async fn put(&self, name: &str, bytes: &Bytes, put: &PutOptions) -> Result<Stored, StoreError> {
        self.store.put_if_absent(&self.key(name), Body::from(bytes.clone()), put).await
    }

    async fn read(&self, name: &str) -> Result<Bytes, String> {
        let object = self.store.get(&self.key(name), None, None).await.map_err(text)?;
        let length = object.info.length.ok_or("the answer tells no length")?;
        Body::from_stream(length, object.body).collect().await.map_err(text)
    }
}

/// Put options as this project uses them, for these bytes.
fn options(bytes: &[u8]) -> PutOptions {
    PutOptions {
        content_type: "text/plain; charset=utf-8".into(),
        content_encoding: None,
        metadata: vec![("sluicegate-cut".into(), "7".into())],
        crc32c: crc32c::crc32c(bytes),
        conditional: true,
        composite: false,
    }
}

/// `len` bytes that differ by `seed` and do not repeat soon.
fn bytes(len: usize, seed: u32) -> Bytes {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(next).collect()
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

fn ensure(holds: bool, instead: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(instead()) }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, is: &T, wanted: &T) -> Outcome {
    ensure(is == wanted, || format!("{what} is {is:?} and not {wanted:?}"))
}

/// That a call fails with one of these kinds.
fn fails<T>(what: &str, result: Result<T, StoreError>, kinds: &[ErrorKind]) -> Outcome {
    match result {
        Ok(_) => Err(format!("{what} succeeded")),
        Err(error) if kinds.contains(&error.kind) => Ok(()),
        Err(error) => Err(format!("{what} failed as {}: {error}", error.kind)),
    }
}
