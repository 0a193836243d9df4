//! Writes a channel of the present format into a new folder: `cargo run -p durable-channel --example make_fixture DIR`.
//!
//! `tests/fixtures/v1` was made by it once and is never made again: a later format gets a folder of its own. It is
//! left as a killed process leaves it, so that the last group is synced and nothing attests it.

use std::path::PathBuf;
use std::time::Duration;

use durable_channel::{Channel, DurableChannel, Journal, Options, Start};

#[path = "../tests/it/fixture.rs"]
mod fixture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::args().nth(1).ok_or("name a new folder")?);
    if dir.exists() {
        return Err(format!("{} is there already", dir.display()).into());
    }
    let options = Options {
        segment_bytes: 8 << 10,
        capacity_bytes: 64 << 10,
        free_disk_floor_bytes: 0,
        max_frame_bytes: 2 << 10,
        max_group_bytes: 1 << 10,
        group_delay: Duration::ZERO,
        keep_damaged_bytes: 0,
    };
    let (channel, _) = DurableChannel::open(&dir, &options)?;
    let first = channel.reader("first", Start::Oldest)?;
    drop(channel.reader("second", Start::Oldest)?);
    drop(channel.reader("third", Start::Oldest)?);
    channel.retire("third")?;
    let journals = first.dir().ok_or("a durable channel has a folder for each reader")?;
    let (mut journal, _) = Journal::open(journals, "cuts", 0)?;
    journal.append(b"before the snapshot")?;
    journal.snapshot(fixture::RECORDS[0])?;
    journal.append_all(&fixture::RECORDS[1..])?;
    for n in 0..fixture::FRAMES {
        let mut batch = channel.batch();
        for event in fixture::events(n) {
            batch.push(|bytes| bytes.extend_from_slice(&event));
        }
        let appended = channel.append(batch)?;
        while channel.synced_end() < appended.end() {
            std::thread::yield_now();
        }
    }
    first.release(5)?;
    // Not closed: a killed process closes nothing either.
    std::process::exit(0);
}
