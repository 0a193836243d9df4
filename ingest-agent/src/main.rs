//! The `ingest-agent` program.

fn main() {}
