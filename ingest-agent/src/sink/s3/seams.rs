//! Where the sink meets the world: the stores, the disk, the compression libraries, and crashes. Tests put their own there.

use std::io;
use std::sync::Arc;

use blob_store::BlobStore;
use durable_channel::disk::{Disk, OsDisk};

use super::points::FailPoints;
use object_format::{Codec, Compressor};

/// The store of a bucket, by the bucket's name: cuts that were sealed for another bucket go there.
pub type Buckets = Arc<dyn Fn(&str) -> Arc<dyn BlobStore> + Send + Sync>;

/// What the sink works with.
#[derive(Clone)]
pub struct Seams {
    /// Where objects go.
    pub buckets: Buckets,
    /// Where journal, staging log and kept objects lie: the disk of the channel.
    pub disk: Arc<dyn Disk>,
    /// What compresses. Two versions of a library need not make the same bytes of the same events.
    pub compressors: fn(Codec) -> io::Result<Compressor>,
    /// Where a test stops the sink.
    pub points: FailPoints,
}

impl Seams {
    /// The machine's own disk and libraries, and no crash.
    pub fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            disk: Arc::new(OsDisk),
            compressors: Codec::compressor,
            points: FailPoints::default(),
        }
    }
}
