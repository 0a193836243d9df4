//! The simple way to a handler of one's own whose effect is exactly once: it is called with an
//! object's events inside the transaction that marks the object done.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::batches::{Batch, BatchLimits, Batches};
use super::{Delivery, Effect, Handler, HandlerError, NoEffect, Outcome};
use crate::fetch::Content;
use crate::inbox::{Database, DatabaseError};

/// What a program does with events, in tables of its own beside the inbox's.
///
/// What `apply` writes is committed together with the object's being done, or not at all: so
/// each event has its effect exactly once, over crashes, retries and repeated notices. The
/// object was found right before the first call. Whatever `apply` does beside the transaction may
/// happen again. Objects of set-aside events are left out.
pub trait Transactional: Send + Sync + 'static {
    /// A short name for logs, metrics and the page.
    fn name(&self) -> &'static str;

    /// Takes a batch of an object's events, in their order. An error or a panic undoes the whole
    /// object, and it is tried again until its attempts are used up. The inbox takes no notice
    /// meanwhile: keep it short.
    fn apply(&self, at: &Database, delivery: &Delivery, batch: &Batch) -> Result<(), DatabaseError>;

    /// How large a batch is: [`BatchLimits::ONE_BY_ONE`], some, or [`BatchLimits::WHOLE`].
    fn limits(&self) -> BatchLimits {
        BatchLimits::SOME
    }
}

/// Makes a [`Handler`] of a [`Transactional`]. An object waits for its transaction in a file
/// without a name in the system's folder for temporary files, so a large one takes no memory.
#[derive(Debug)]
pub struct InTransaction<T>(Arc<T>);

impl<T: Transactional> InTransaction<T> {
    /// A handler that calls `inner`.
    pub fn new(inner: T) -> Self {
        Self(Arc::new(inner))
    }
}

#[async_trait]
impl<T: Transactional> Handler for InTransaction<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        if delivery.is_set_aside() {
            return Ok(Box::new(NoEffect));
        }
        let mut file = tempfile::tempfile().map_err(HandlerError::later)?;
        let mut parts = Vec::new();
        let mut batches = Batches::new(content, self.0.limits())?;
        while let Some(batch) = batches.next().await? {
            let bytes = batch.bytes.clone();
            parts.push(Part { length: bytes.len(), batch: Batch { bytes: Bytes::new(), ..batch } });
            let written = tokio::task::spawn_blocking(move || file.write_all(&bytes).map(|()| file)).await;
            file = written.map_err(HandlerError::later)?.map_err(HandlerError::later)?;
        }
        Ok(Box::new(Waiting { inner: self.0.clone(), delivery: delivery.clone(), file, parts }))
    }
}

/// An object whose batches wait in a file.
struct Waiting<T> {
    inner: Arc<T>,
    delivery: Delivery,
    file: File,
    parts: Vec<Part>,
}

/// A batch whose bytes are in the file.
struct Part {
    batch: Batch,
    length: usize,
}

impl<T: Transactional> Effect for Waiting<T> {
    fn apply(&mut self, transaction: &Database) -> Result<(), DatabaseError> {
        self.file.rewind().map_err(DatabaseError::input)?;
        for Part { batch, length } in &self.parts {
            let mut bytes = vec![0; *length];
            self.file.read_exact(&mut bytes).map_err(DatabaseError::input)?;
            let batch = Batch { bytes: Bytes::from(bytes), ..batch.clone() };
            self.inner.apply(transaction, &self.delivery, &batch)?;
        }
        Ok(())
    }

    fn settle(self: Box<Self>, _: Outcome) {}
}
