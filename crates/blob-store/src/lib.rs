//! The only place that names the S3 SDK: conditional puts, multipart, get, head, list.
//!
//! [`BlobStore`] is the seam: what the agent and the server ask of an object store, and what
//! each answer allows them to conclude. [`S3Store`] is the real one, [`MemoryStore`] its twin
//! for tests, [`FaultyStore`] a wrapper that makes any store misbehave on purpose. One suite,
//! `conformance` (feature `test-util`), runs on all of them and on servers that are not ours; `LyingStore` (the
//! same feature) answers wrongly on the wire.
//!
//! What is absent, on purpose:
//!
//! - No copy, and no delete of an object that holds events: `discard` is for what was put to try a store out.
//! - No retry: a retry below the caller would turn its own success into a 412, so one call is
//!   one request (reading pages of a listing aside), and the caller decides by [`ErrorKind`].
//! - No checksum of its own: the caller hands over the CRC32C it has computed in its one pass,
//!   and it travels with the request, so that the store refuses bytes that changed on the way.

mod advice;
mod body;
mod checksum;
#[cfg(feature = "test-util")]
pub mod conformance;
mod error;
mod faulty;
#[cfg(feature = "test-util")]
mod lying;
mod memory;
mod probe;
mod promises;
mod s3;
mod store;

pub use advice::advice;
pub use body::{Body, ByteStream};
pub use error::{ConnectError, ErrorKind, Operation, StoreError};
pub use faulty::{Fault, FaultPlan, FaultyStore};
#[cfg(feature = "test-util")]
pub use lying::{Lie, LyingStore, Wrong, lies};
pub use memory::{Lacks, MemoryStore};
pub use probe::{Finding, Outcome, Probe, Step, Wanted, probe};
pub use promises::{Once, Patience, Promises, promises};
pub use s3::{Credentials, MultipartChecksum, S3Options, S3Store};
pub use store::{BlobStore, Listed, Object, ObjectInfo, Page, Part, PutOptions, Stored, Upload, UploadId};

/// The user metadata of an object that is no object of events: what it is for. Whoever is told of such an object passes
/// over it.
pub const CONTROL: &str = "sluicegate-control";
