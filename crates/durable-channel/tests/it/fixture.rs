//! What the channel of `tests/fixtures/v1` holds; `examples/make_fixture.rs` wrote it, and no later format may lose it.

/// The events of frame `n`: one to three of them.
pub(crate) fn events(n: u64) -> Vec<Vec<u8>> {
    (0..=n % 3).map(|index| format!("event {index} of frame {n} ").repeat(20).into_bytes()).collect()
}

/// How many frames were appended.
pub(crate) const FRAMES: u64 = 24;

/// The record that the journal's snapshot holds, and those behind it.
pub(crate) const RECORDS: [&[u8]; 3] = [b"snapshot", b"one", b"two"];
