//! What a synced write costs by the kind of file it goes to: `cargo bench -p bench --bench segments`.
//!
//! The question behind how the channel makes its segments. One group of 64 KiB is written and synced (`fdatasync`):
//!
//! - `append`: to the end of a file that grows, whose size has to be synced too;
//! - `fallocate`: to blocks allocated ahead, which the file system still has to mark as written;
//! - `recycled`: over an old segment, at whose blocks nothing changes but the bytes;
//! - `zero_filled`: as recycled, after the zeros were written and synced ahead, which is not timed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustix::fs::{FallocateFlags, fallocate};

/// One group of the channel.
const GROUP_BYTES: usize = 64 << 10;

/// One segment; after it the file is made anew.
const SEGMENT_BYTES: u64 = 16 << 20;

/// How a file is made ready for its writes.
type Make = fn(&File) -> std::io::Result<()>;

fn segments(criterion: &mut Criterion) {
    let kinds: [(&str, Make); 4] = [
        ("append", |_| Ok(())),
        ("fallocate", |file| Ok(fallocate(file, FallocateFlags::empty(), 0, SEGMENT_BYTES)?)),
        ("recycled", |file| fill(file, b'x')),
        ("zero_filled", |file| fill(file, 0)),
    ];
    let mut group = criterion.benchmark_group("segment");
    group.throughput(Throughput::Bytes(GROUP_BYTES as u64));
    for (kind, make) in kinds {
        group.bench_function(kind, |bencher| {
            bencher.iter_custom(|groups| write(groups, make).expect("the disk takes it"));
        });
    }
    group.finish();
}

/// The time that `groups` synced writes take; making the files is not in it.
fn write(groups: u64, make: Make) -> std::io::Result<Duration> {
    let bytes = vec![b'e'; GROUP_BYTES];
    let mut taken = Duration::ZERO;
    let mut segment = new(make)?;
    let mut offset = 0;
    for _ in 0..groups {
        if offset == SEGMENT_BYTES {
            (segment, offset) = (new(make)?, 0);
        }
        let started = std::time::Instant::now();
        segment.write_all_at(&bytes, offset)?;
        segment.sync_data()?;
        taken += started.elapsed();
        offset += GROUP_BYTES as u64;
    }
    Ok(taken)
}

/// A file without a name on the disk of the target folder, made ready and synced.
fn new(make: Make) -> std::io::Result<File> {
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR"))?;
    make(&file)?;
    file.sync_all()?;
    Ok(file)
}

fn fill(file: &File, byte: u8) -> std::io::Result<()> {
    file.write_all_at(&vec![byte; SEGMENT_BYTES as usize], 0)
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(2))
}

criterion_group!(name = kinds; config = short(); targets = segments);
criterion_main!(kinds);
